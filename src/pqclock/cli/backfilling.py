"""`pqclock schedules backfill`: jobs for the ticks of a range that have none, paced, with a progress bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pqclock.cli.coming import Instant
from pqclock.cli.options import TEXT, Asked, asking
from pqclock.cli.output import print_json, say
from pqclock.cli.root import EXIT_CODES
from pqclock.rules.moments import absolute

if TYPE_CHECKING:
    from pqclock.store.backfilling import Backfill, Backfilled
    from pqclock.store.database import Session

# More jobs than this are not inserted without being asked for twice.
_MANY = 1_000
_AT_ONCE = 10
# Seconds without an end of a job until it is told that nobody seems to work.
_PATIENCE = 10.0


@click.command(epilog=EXIT_CODES)
@click.argument("key", type=TEXT)
@click.option("--from", "since", type=Instant(), required=True, metavar="T", help="Ticks at or after this instant ...")
@click.option("--to", "until", type=Instant(), required=True, metavar="T", help="... and before this one.")
@click.option(
    "--at-once",
    type=click.IntRange(1, 10_000),
    default=_AT_ONCE,
    show_default=True,
    help="How many of the jobs may be unfinished at one time.",
)
@click.option("--priority", type=click.IntRange(-32768, 32767), help="Lower runs first; else that of the schedule.")
@click.option("--newest-first", is_flag=True, help="Begin with the newest tick instead of the oldest.")
@click.option("--plan", "plan_only", is_flag=True, help="Only tell what would be inserted.")
@click.option("--yes", is_flag=True, help=f"Do not ask before more than {_MANY} jobs.")
@click.option(
    "--wait", "to_the_end", is_flag=True, help="Wait until the last job has ended; exit code 1 if any did not succeed."
)
@click.option("--force", is_flag=True, help="Also ticks older than the ledger: if they have run, they run again.")
@asking("database_url", "schema")
def backfill(
    asked: Asked,
    *,
    key: str,
    since: datetime,
    until: datetime,
    at_once: int,
    priority: int | None,
    newest_first: bool,
    plan_only: bool,
    yes: bool,
    to_the_end: bool,
    force: bool,
) -> int:
    """Insert a job for each tick of a range that has none: before the schedule was there, while it was paused, missed.

    Ticks that have a job, or had one, are left alone, so what was interrupted is simply run again. An instant without
    an offset is in UTC. Also of a schedule that is paused or disabled; no clock is needed, but workers are.

    \b
    Examples:
      pqclock schedules backfill nightly-report --from 2026-11-01 --to 2026-11-15 --plan
      pqclock schedules backfill nightly-report --from 2026-11-01 --to 2026-11-15 --at-once 2 --wait
    """
    from pqclock.cli.connection import connected
    from pqclock.store import backfilling

    wanted = backfilling.Backfill(key, since, until, at_once, priority, newest_first, force)
    with connected(asked.settings) as session:
        found = backfilling.preview(session, wanted)
        if not asked.json:
            _tell_the_plan(found, until)
        if found.missing and not plan_only:
            if found.missing > _MANY and not yes and not _confirmed(found):
                say("nothing was inserted")
                return 1
            found = _run(asked, session, wanted, found, to_the_end)
    if asked.json:
        print_json("backfills", [found])
    return 1 if to_the_end and found.failed else 0


def _run(asked: Asked, session: Session, wanted: Backfill, seen: Backfilled, wait: bool) -> Backfilled:
    from pqclock.store import backfilling

    last, waited = seen, 0.0

    def tell(progress: Backfilled) -> None:
        nonlocal last, waited
        last, waited = progress, 0.0
        draw(progress)

    def sleep(seconds: float) -> None:
        nonlocal waited
        if waited < _PATIENCE <= waited + seconds:
            say(
                f"schedule {seen.key}: no job of it has ended for {_PATIENCE:.0f} s: see `pqclock processes` for workers"
            )
        waited += seconds
        time.sleep(seconds)

    try:
        with _bar(seen.missing, wait, shown=sys.stderr.isatty() and not asked.json) as draw:
            found = backfilling.run(
                lambda: nullcontext(session), wanted, seen, wait=wait, on_progress=tell, sleep=sleep
            )
    except KeyboardInterrupt:
        say(f"schedule {seen.key}: {last.inserted} of {seen.missing} jobs inserted; run it again to go on")
        raise
    if not asked.json:
        ended = f"{found.finished} finished, {found.failed} of them failed" if found.finished else "none finished yet"
        say(
            f"schedule {found.key}: {found.inserted} of {found.missing} jobs inserted, {ended}; "
            f"see `pqclock jobs list --schedule {found.key}`"
        )
    return found


def _tell_the_plan(found: Backfilled, until: datetime) -> None:
    if found.first is None or found.last is None:
        say(f"schedule {found.key}: the range has no ticks{_left_out(found)}")
    else:
        say(
            f"schedule {found.key}: {_number(found.ticks, 'tick')} from {absolute(found.first, UTC)} to "
            f"{absolute(found.last, UTC)}: {found.missing} without a job, {found.already_there} with one"
            f"{_left_out(found)}"
        )
    if found.until < until:
        say(f"ticks from {absolute(found.until, UTC)} on are left to the clock: they lie ahead, or are not planned yet")


def _left_out(found: Backfilled) -> str:
    return f"; calendars leave out or move {found.excluded} more" if found.excluded else ""


def _number(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _confirmed(found: Backfilled) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError(
            f"{found.missing} jobs would be inserted, and nobody is there to be asked: give --yes if that is meant."
        )
    return click.confirm(f"Insert {found.missing} jobs?", err=True)


@contextmanager
def _bar(total: int, wait: bool, *, shown: bool) -> Iterator[Callable[[Backfilled], None]]:
    """What draws the progress on stderr, where somebody looks on: of what has ended if that is waited for."""
    if not shown:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    counts = (
        "{task.fields[inserted]}/{task.total} inserted, {task.fields[finished]} finished, {task.fields[failed]} failed"
    )
    columns = (BarColumn(), TextColumn(counts), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total, inserted=0, finished=0, failed=0)

        def draw(now: Backfilled) -> None:
            done = now.finished if wait else now.inserted
            progress.update(task, completed=done, inserted=now.inserted, finished=now.finished, failed=now.failed)

        yield draw
