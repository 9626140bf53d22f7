"""`pqclock queues|tasks|labels pause|resume`: the verbs that all three have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from pqclock.cli.coming import Instant
from pqclock.cli.options import TEXT, Asked, asking
from pqclock.cli.output import print_json, say
from pqclock.cli.root import EXIT_CODES
from pqclock.cli.scheduling import Length
from pqclock.rules.moments import moment

if TYPE_CHECKING:
    from pqclock.store.listing_rows import Page
    from pqclock.store.pauses import Kind


def add_verbs(group: click.Group, kind: Kind, look: Callable[..., Page[Any]]) -> None:
    """Give the group `pause` and `resume`; `look` is the listing that finds the row that `--json` shows."""
    _add_pause(group, kind, look)
    _add_resume(group, kind, look)


def _add_pause(group: click.Group, kind: Kind, look: Callable[..., Page[Any]]) -> None:
    @group.command("pause", help=_PAUSE.format(kind=kind), epilog=EXIT_CODES)
    @click.argument("name", type=TEXT)
    @click.option("--until", type=Instant(), metavar="T", help="The end; without an offset it is in UTC.")
    @click.option("--for", "length", type=Length(), metavar="D", help="How long, from now on.")
    @click.option("--note", type=TEXT, metavar="TEXT", help="Why, for those who look.")
    @asking("database_url", "schema")
    def pause(asked: Asked, name: str, until: datetime | None, length: timedelta | None, note: str | None) -> None:
        from pqclock.cli.connection import connected
        from pqclock.rules.files.findings import hint
        from pqclock.store import listings, pauses, tasks

        if until is not None and length is not None:
            raise click.UsageError("--until and --for both say when the pause ends: give one of them.")
        end = length if length is not None else until
        with connected(asked.settings) as session:
            pauses.pause(session, kind, name, end, note)
            rows = look(session, only=name).rows
            now = listings.now(session)
            published = tasks.names(session) if kind == "task" else []
        if asked.json:
            print_json(f"{kind}s", rows)
        else:
            ending = "" if end else f"; `pqclock {kind}s resume` ends it"
            until_when = f" until {moment(rows[0].paused_until, now)}" if end and rows else ""
            # Any name can be paused, before there is anything: a slip of the pen should show.
            unknown = "" if any(row.scheduled or row.ready or row.running for row in rows) else " (no live job has it)"
            if unknown and kind == "task" and name not in published:
                unknown = f" (no such task is published{hint(name, published)})"
            say(f"{kind} {name}: paused{until_when}{unknown}{ending}")


def _add_resume(group: click.Group, kind: Kind, look: Callable[..., Page[Any]]) -> None:
    @group.command("resume", help=_RESUME.format(kind=kind), epilog=EXIT_CODES)
    @click.argument("name", type=TEXT)
    @asking("database_url", "schema")
    def resume(asked: Asked, name: str) -> None:
        from pqclock.cli.connection import connected
        from pqclock.store import pauses

        with connected(asked.settings) as session:
            was_paused = pauses.resume(session, kind, name)
            rows = look(session, only=name).rows
        if asked.json:
            print_json(f"{kind}s", rows)
        else:
            say(f"{kind} {name}: " + ("resumed" if was_paused else "it was not paused, nothing changed"))


_PAUSE = """Let no job of a {kind} start until an instant, for a time, or until it is resumed.

What runs goes on; what waits is kept, and costs no attempt.

\b
Examples:
  pqclock {kind}s pause NAME --for 2h --note "warehouse is moved"
  pqclock {kind}s pause NAME
"""
_RESUME = """End the pause of a {kind} now.

\b
Example:
  pqclock {kind}s resume NAME
"""
