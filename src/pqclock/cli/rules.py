"""`pqclock rules`: the throttles and fuses that the database has, and those that are put at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pqclock.cli.lazy import DefaultGroup
from pqclock.cli.options import TEXT, Asked, asking, paging
from pqclock.cli.output import details, plain, print_json, print_table, say, show
from pqclock.cli.root import EXIT_CODES
from pqclock.cli.rule_options import defining, definition
from pqclock.rules.moments import moment
from pqclock.store import listings
from pqclock.store import rules as store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pqclock.store.database import Session

_COLUMNS = ("rule", "limits", "source", "set", "version", "changed")
_rule = click.argument("rule", type=TEXT)


@click.group(cls=DefaultGroup, default="list", epilog=EXIT_CODES)
def rules() -> None:
    """Throttles and fuses in the database; without a verb they are listed."""


@rules.command("list", epilog=EXIT_CODES)
@click.option("--kind", type=click.Choice(("throttle", "fuse")), help="Only these.")
@click.option("--removed", is_flag=True, help="Only those that were removed: their gates are open.")
@paging
@asking("database_url", "schema")
def list_rules(asked: Asked, kind: str | None, removed: bool, limit: int, cursor: str | None) -> None:
    """List rules in the order of their names, with what they limit.

    \b
    Examples:
      pqclock rules
      pqclock rules list --kind fuse --json
    """
    from pqclock.cli.connection import connected

    with connected(asked.settings) as session, listings.reading(session):
        found = store.rows(session, kind=kind, removed=removed, after=cursor or "", limit=limit + 1)
        now = listings.now(session)
    page, more = found[:limit], found[limit - 1].rule if len(found) > limit else None
    if asked.json:
        print_json("rules", page, more)
    elif page:
        shown = [
            (row.rule, limits(row.definition), row.source, row.set, row.version, moment(row.updated_at, now))
            for row in page
        ]
        print_table(_COLUMNS, shown, more, optional=("version", "set", "changed"))
    else:
        say("no rules: declare them in schedule files, or by `pqclock rules put`")


@rules.command("show", epilog=EXIT_CODES)
@_rule
@asking("database_url", "schema")
def show_rule(asked: Asked, rule: str) -> None:
    """Show a rule, RULE being throttle.NAME or fuse.NAME, and how many gates it has.

    \b
    Example:
      pqclock rules show throttle.stripe
    """
    from pqclock.cli.connection import connected

    with connected(asked.settings) as session, listings.reading(session):
        row, gates, waited = store.show_rule(session, rule)
        now = listings.now(session)
    if asked.json:
        print_json("rules", [plain(row) | {"gates": gates, "gates_waited_for": waited}])
        return
    many = f"{gates:,}{' or more' if gates >= store.MOST_GATES else ''}"
    pairs: list[tuple[str, object]] = [("rule", row.rule), ("state", row.state)]
    pairs += [(name, value) for name, value in row.definition.items()]
    pairs += [
        ("source", row.source),
        ("set", row.set),
        ("version", row.version),
        ("changed", moment(row.updated_at, now)),
    ]
    show(details([*pairs, ("gates", f"{many}, {waited:,} of them waited for")]))


@rules.command("put", epilog=EXIT_CODES)
@_rule
@defining
@asking("database_url", "schema")
def put(asked: Asked, rule: str, **given: Any) -> None:
    """Add a rule, or change it in place, RULE being throttle.NAME or fuse.NAME; it holds at the next claim.

    What is not given is as the default says, also where the rule said otherwise before. Those that files declare are
    changed there.

    \b
    Examples:
      pqclock rules put throttle.stripe --rate 25/1s --concurrency 10
      pqclock rules put fuse.warehouse --failures 5 --within 1m --cool-down 5m --only ConnectionError
    """
    from pqclock.cli.connection import connected
    from pqclock.rules.files import rule_from_fields

    wanted = rule_from_fields(rule, definition(given))
    with connected(asked.settings) as session:
        written = store.put(session, [wanted])
        _tell(asked, session, rule, "put" if written else "it is so already, nothing changed")


@rules.command("remove", epilog=EXIT_CODES)
@_rule
@asking("database_url", "schema")
def remove(asked: Asked, rule: str) -> None:
    """Remove a rule that was put at run time: its gates are open from then on.

    \b
    Example:
      pqclock rules remove throttle.stripe
    """
    from pqclock.cli.connection import connected

    with connected(asked.settings) as session:
        store.remove(session, rule)
        waiting = store.waiting(session, [rule]).get(rule)
        _tell(asked, session, rule, "removed" + (f"; {waiting_words(waiting)}" if waiting else ""))


def limits(definition: Mapping[str, object]) -> str:
    """A definition on one line."""
    return ", ".join(
        f"{name} {'/'.join(value) if isinstance(value, list) else value}" for name, value in definition.items()
    )


def waiting_words(waiting: store.Waiting) -> str:
    """How many jobs go on without a rule."""
    least = "" if waiting.all_seen else "at least "
    one = waiting.jobs == 1
    return f"{least}{waiting.jobs:,} waiting job{'' if one else 's'} pass{'es' if one else ''} it: its gates are open"


def _tell(asked: Asked, session: Session, rule: str, text: str) -> None:
    if asked.json:
        print_json("rules", [store.show_rule(session, rule)[0]])
    else:
        say(f"rule {rule}: {text}")
