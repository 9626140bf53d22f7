"""`pqclock alarms`: what is wrong and what was, and whether those who are to be told can be."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from pqclock.cli.lazy import DefaultGroup
from pqclock.cli.options import MAX_LIMIT, Asked, asking
from pqclock.cli.output import print_json, print_table, say
from pqclock.cli.root import EXIT_CODES
from pqclock.errors import SettingsError
from pqclock.rules.moments import relative
from pqclock.store import alarms as store
from pqclock.store import listings
from pqclock.store.listing_rows import AlarmRow

if TYPE_CHECKING:
    from pqclock.alarm_hooks import Hook
    from pqclock.store.database import Session

_COLUMNS = ("kind", "of", "since", "until", "what is wrong")


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of a piece of news for one of those who are told: `fault` is None where it was told."""

    hook: str
    state: str
    fault: str | None


@click.group(cls=DefaultGroup, default="list", epilog=EXIT_CODES)
def alarms() -> None:
    """Broken promises of schedules and queues, and clocks that do not beat; without a verb they are listed."""


@alarms.command("list", epilog=EXIT_CODES)
@click.option("--open", "only_open", is_flag=True, help="Only those that are not over.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_LIMIT), default=50, show_default=True, help="The most rows to show."
)
@asking("database_url", "schema")
def list_alarms(asked: Asked, only_open: bool, limit: int) -> None:
    """List the alarms that are open, the oldest first, and below them those that were over last.

    \b
    Examples:
      pqclock alarms
      pqclock alarms list --open --json
    """
    from pqclock.cli.connection import connected

    with connected(asked.settings) as session, listings.reading(session):
        found = store.open_alarms(session, limit=limit)
        if not only_open and len(found) < limit:
            found += store.ended_alarms(session, limit - len(found))
        now = listings.now(session)
    if asked.json:
        print_json("alarms", found)
    elif found:
        print_table(_COLUMNS, [_row(one, now) for one in found])
    else:
        say("nothing is wrong" if only_open else "nothing is wrong, and nothing was for as long as that is kept")


def _row(one: AlarmRow, now: datetime) -> list[object]:
    until = None if one.ended_at is None else relative(one.ended_at, now)
    return [one.kind, one.subject, relative(one.raised_at, now), until, told_words(one)]


def told_words(one: AlarmRow) -> str:
    """What is wrong, and why somebody does not know of it."""
    return one.message if one.untold is None else f"{one.message} (not told: {one.untold})"


@alarms.command("test", epilog=EXIT_CODES)
@asking("database_url", "schema", "alarm_task", "alarm_command", "alarm_ping", "alarm_sentry")
def test_hooks(asked: Asked) -> int:
    """Tell everybody whom the settings name of an alarm that is none, and then that it is over; 1 when one did not hear.

    \b
    Examples:
      pqclock alarms test
      pqclock alarms test --alarm-command "notify-send pqclock"
    """
    from pqclock.alarm_hooks import hooks_of
    from pqclock.cli.connection import connected

    hooks = hooks_of(asked.settings)
    if not hooks:
        raise SettingsError(
            ["nobody is named who hears of alarms: set alarm_command, alarm_task, alarm_ping or alarm_sentry"]
        )
    with connected(asked.settings) as session:
        found = [heard for name, hook in hooks.items() for heard in _told(name, hook, session)]
    if asked.json:
        print_json("heard", found)
    else:
        print_table(("who", "of", "outcome"), [(one.hook, one.state, one.fault or "heard") for one in found])
    return 1 if any(one.fault is not None for one in found) else 0


def _told(name: str, hook: Hook, session: Session) -> Iterator[Heard]:
    from pqclock.alarm_hooks import NotTold

    began = listings.now(session)
    message = f"a test of alarms by `pqclock alarms test` on {socket.gethostname()}: nothing is wrong"
    for state in ("raised", "over"):
        ended = None if state == "raised" else listings.now(session)
        fault = None
        try:
            hook.tell(store.Untold(0, "test", "", message, began, ended, 1), session)
        except NotTold as error:
            fault = " ".join(str(error).split())
        yield Heard(name, state, fault)
