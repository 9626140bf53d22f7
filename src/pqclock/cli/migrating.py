"""`pqclock migrate`: the database's schema, from nothing or an older version to this one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from pqclock.cli.options import Asked, asking
from pqclock.cli.output import print_json, say
from pqclock.cli.root import EXIT_CODES

if TYPE_CHECKING:
    from pqclock.store.migrate import Migration


@click.command(epilog=EXIT_CODES)
@click.option("--sql", "as_sql", is_flag=True, help="Print the SQL instead, without a connection.")
@click.option("--check", is_flag=True, help="Change nothing; the code is 1 if something is to be done.")
@asking("database_url", "schema")
def migrate(asked: Asked, as_sql: bool, check: bool) -> int:
    """Bring the schema to this version of pqclock; safe to run twice, and at the same time from two places.

    \b
    Examples:
      pqclock migrate
      pqclock migrate --check
      pqclock migrate --sql | psql
    """
    if as_sql and check:
        raise click.UsageError("--sql and --check do not go together: one prints everything, the other looks.")
    if as_sql:
        from pqclock.store.migrate import script

        click.echo(script(asked.settings.schema))
        return 0
    return _check(asked) if check else _apply(asked)


def _check(asked: Asked) -> int:
    from pqclock.cli.connection import connected
    from pqclock.store import migrate as store

    with connected(asked.settings, migrated=False) as session:
        todo = store.pending(session)
        if not todo:
            # Nothing is missing, but there may be more than this code knows.
            store.check_schema(session)
    _tell(asked, [(one.number, one.name) for one in todo], "to be applied")
    return 1 if todo else 0


def _apply(asked: Asked) -> int:
    from pqclock.cli.connection import connected
    from pqclock.store import migrate as store

    with connected(asked.settings, migrated=False) as session:
        with _bar(shown=sys.stderr.isatty() and not asked.json) as draw:
            done = store.migrate(session, draw)
        store.check_schema(session)
    _tell(asked, [(one.number, one.name) for one in done], "applied")
    return 0


@contextmanager
def _bar(*, shown: bool) -> Iterator[Callable[[Migration, int, int], None] | None]:
    """What draws the progress on stderr, where somebody looks on; until the first step another migration may be waited for."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} {task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("waiting for the lock", total=None)
        yield lambda migration, number, total: progress.update(
            task, completed=number, total=total, description=f"{migration.number:04} {migration.name}"
        )


def _tell(asked: Asked, migrations: list[tuple[int, str]], outcome: str) -> None:
    if asked.json:
        rows = [{"number": number, "name": name, "applied": outcome == "applied"} for number, name in migrations]
        print_json("migrations", rows)
        return
    for number, name in migrations:
        click.echo(f"{number:04} {name}: {outcome}")
    if not migrations:
        say(f"schema {asked.settings.schema!r} is up to date")
