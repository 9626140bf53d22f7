"""`pqclock gates blow|reset|cool`: gates closed and opened by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from pqclock.cli.options import TEXT, Asked, asking
from pqclock.cli.output import print_json, say
from pqclock.cli.root import EXIT_CODES
from pqclock.cli.scheduling import Length
from pqclock.rules.durations import format_duration
from pqclock.rules.keys import split_kind

if TYPE_CHECKING:
    from pqclock.store.database import Session
    from pqclock.store.gate_rows import GateRow

_SHOWN = 5

_gate = click.argument("gate", type=TEXT, metavar="RULE[:KEY]")
_note = click.option("--note", type=TEXT, metavar="TEXT", help="Why, for those who look.")
_all_keys = click.option("--all-keys", is_flag=True, help="All gates that the rule has by now.")


@click.command(epilog=EXIT_CODES)
@_gate
@click.option("--for", "length", type=Length(), metavar="D", help="How long; else until it is reset.")
@_note
@_all_keys
@asking("database_url", "schema")
def blow(asked: Asked, gate: str, length: timedelta | None, note: str | None, all_keys: bool) -> None:
    """Blow a fuse by hand: nothing behind it starts; what runs goes on. After --for it is half open, and probes.

    RULE alone is the gate without a key; with --all-keys, every gate that the rule has.

    \b
    Examples:
      pqclock gates blow stripe:acct_42 --for 10m --note "asked us to stop"
      pqclock gates blow stripe --all-keys
    """
    from pqclock.cli.connection import connected
    from pqclock.store import gates

    with connected(asked.settings) as session:
        names = gates.blow(session, gate, length, note, all_keys=all_keys)
        end = f"for {format_duration(length)}" if length else "until `pqclock gates reset`"
        _tell(asked, session, names, f"blown {end}")


@click.command(epilog=EXIT_CODES)
@_gate
@_all_keys
@asking("database_url", "schema")
def reset(asked: Asked, gate: str, all_keys: bool) -> None:
    """Make a fuse whole, its failures forgotten, and end a `cool`. What a throttle let through still counts.

    \b
    Example:
      pqclock gates reset stripe:acct_42
    """
    from pqclock.cli.connection import connected
    from pqclock.store import gates

    with connected(asked.settings) as session:
        names = gates.reset(session, gate, all_keys=all_keys)
        _tell(asked, session, names, "reset")


@click.command(epilog=EXIT_CODES)
@_gate
@click.argument("length", type=Length(), metavar="DURATION")
@_note
@asking("database_url", "schema")
def cool(asked: Asked, gate: str, length: timedelta, note: str | None) -> None:
    """Close the throttle and the fuse of a reference for a while, as a handler does with Cooldown.

    \b
    Example:
      pqclock gates cool stripe:acct_42 60s
    """
    from pqclock.cli.connection import connected
    from pqclock.store import gates, listings

    with connected(asked.settings) as session:
        gates.cool(session, gate, length, note)
        with listings.reading(session):
            # Both are closed, also where one of them was named.
            names = [row.gate for row in gates.one(session, split_kind(gate)[1]).gates]
        _tell(asked, session, names, f"closed for {format_duration(length)}")


def _tell(asked: Asked, session: Session, names: Sequence[str], done: str) -> None:
    """Say what became of which gates; with --json, the rows of the first thousand as they are then go to stdout."""
    from pqclock.store import gates, listings

    if asked.json:
        rows: list[GateRow] = []
        with listings.reading(session):
            rows = gates.named(session, names[: listings.MAX_LIMIT])
        print_json("gates", rows)
    elif not names:
        say("no such gates: no job has met one yet, nothing changed")
    else:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        say(f"{', '.join(names[:_SHOWN])}{more}: {done}")
