"""Pauses of queues, tasks and labels: nothing of them starts until the pause ends; what runs is left alone.

A paused queue is left out by claims. A paused task or label is a gate, `pause:task:NAME` or `pause:label:NAME`: jobs
that get in have it from the beginning, those that wait already get it in slices, and claims leave out the rest until
then. When the pause ends the gate is open, and jobs keep its name.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Literal

from pqclock.errors import ArgumentError
from pqclock.rules.files.findings import show
from pqclock.rules.files.kinds import BadValue, Text
from pqclock.store import gating
from pqclock.store.changing import ENDLESS
from pqclock.store.database import Session
from pqclock.store.schedules import database_now

Kind = Literal["queue", "task", "label"]

# Of one slice: how many live jobs it walks over, and how many of them it moves behind the gate.
SEEN_AT_ONCE = 5_000
HELD_AT_ONCE = 500
# Slices that whoever pauses does, before it leaves the rest to the leader.
SLICES_AT_ONCE = 200
# What came back from a run, or was in other hands, is looked for again so long after.
WALK_AGAIN = timedelta(minutes=1)

_NOTE = Text("a text", 1000, lines=True)
_NAMES = {
    "queue": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII), "up to 100 of A-Z, a-z, 0-9, _, . and -"),
    "task": (re.compile(r"[^\s\x00-\x1f\x7f]{1,200}"), "up to 200 characters without spaces"),
    "label": (re.compile(r"[^\x00-\x1f\x7f]{1,64}"), "up to 64 characters on one line"),
}


def pause(
    session: Session,
    kind: Kind,
    name: str,
    until: datetime | timedelta | None = None,
    note: str | None = None,
    now: datetime | None = None,
) -> None:
    """Let nothing of it start from now on and before `until`, or until it is resumed; a second pause replaces the first.

    Raises ArgumentError.
    """
    what = _checked(kind, name)
    note = checked_note(what, note)
    with session.transaction():
        moment = database_now(session, now)
        end = None if until is None else end_of_pause(what, until, moment)
        values = {"name": name, "until": None if end == ENDLESS else end, "note": note}
        if kind == "queue":
            session.run("pauses.pause_queue", **values)
            return
        session.run("pauses.pause", kind=kind, now=now, **values)
        _look_again(session, [gate_name(kind, name)], now)
    _hold_at_once(session)


def resume(session: Session, kind: Kind, name: str, now: datetime | None = None) -> bool:
    """End a pause; False when there was none. Raises ArgumentError."""
    _checked(kind, name)
    if kind == "queue":
        row = session.run("pauses.resume_queue", name=name, now=now).fetchone()
        return bool(row and row[0])
    with session.transaction():
        row = session.run("pauses.resume", kind=kind, name=name, now=now).fetchone()
        if row is not None:
            _look_again(session, [gate_name(kind, name)], now)
            gating.rouse(session)
            session.run("pauses.wake", names=[gate_name(kind, name)])
    return bool(row and row[0])


def gate_name(kind: Kind, name: str) -> str:
    """The name of the gate that a paused task or label is."""
    return f"pause:{kind}:{name}"


def tidy(session: Session, now: datetime | None = None) -> bool:
    """Forget the pauses that are over, and do one slice for those that hold; True when there is more to do at once."""
    with session.transaction():
        row = session.run("pauses.end", now=now).fetchone()
        if row and row[0]:
            _look_again(session, row[0], now)
            gating.rouse(session)
            session.run("pauses.wake", names=row[0])
    return hold(session, now)


def hold(session: Session, now: datetime | None = None) -> bool:
    """Move one slice of waiting jobs behind the gate of their pause; False when there was nothing to do."""
    row = session.run(
        "pauses.hold", again_after=WALK_AGAIN, most_seen=SEEN_AT_ONCE, most_held=HELD_AT_ONCE, now=now
    ).fetchone()
    return row is not None


def checked_note(what: str, note: str | None) -> str | None:
    """The note of a pause; raises ArgumentError."""
    try:
        return None if note is None else _NOTE.read(note)
    except BadValue as error:
        raise ArgumentError(f"{what}: note {error}") from None


def end_of_pause(what: str, until: datetime | timedelta | None, now: datetime) -> datetime:
    """The instant at which a pause ends, ENDLESS for none; raises ArgumentError."""
    if isinstance(until, datetime) and until.utcoffset() is None:
        raise ArgumentError(f"{what}: until {until} must be a datetime with a timezone: add tzinfo")
    try:
        end = now + until if isinstance(until, timedelta) else until or ENDLESS
    except OverflowError:
        end = ENDLESS
    if end <= now:
        raise ArgumentError(f"{what}: a pause until {end.isoformat()} is over already: give a later end")
    return end


def _checked(kind: Kind, name: str) -> str:
    pattern, allowed = _NAMES[kind]
    if not isinstance(name, str) or not pattern.fullmatch(name) or re.search("[\ud800-\udfff]", name):
        raise ArgumentError(f"{show(name)} is not the name of a {kind}: use {allowed}")
    return f"{kind} {show(name)}"


def _look_again(session: Session, gates: list[str], now: datetime | None) -> None:
    # The gates are made first: a claim that parks a lane on one just now would not be seen, and nobody would wake it.
    session.run("pauses.make_gates", names=gates)
    session.run("pauses.look_again", names=gates, now=now)


def _hold_at_once(session: Session) -> None:
    for _ in range(SLICES_AT_ONCE):
        if not hold(session):
            return
