"""A change of schedules at run time: lock the rows, bring the ledger up to now, write a new version.

A change holds the rows, takes back the ticks inserted ahead, and raises the version, so that what the leader planned
from the one before is not written any more. What passed while a schedule was disabled or paused is written down as
skipped, and what came due and was not planned is owed, under the definition that held.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import psycopg

from pqclock.errors import UnknownSchedule
from pqclock.rules import ticks
from pqclock.rules.applying import state_of
from pqclock.rules.files.fields import SECTIONS
from pqclock.rules.files.findings import hint, show
from pqclock.rules.json_values import storable_text
from pqclock.rules.schedule import Schedule
from pqclock.store import schedules
from pqclock.store.ahead import AHEAD
from pqclock.store.database import Session
from pqclock.store.schedules import KnownSchedule, Reach, TickRow

log = logging.getLogger("pqclock.schedules")

# The end of a pause that has none.
ENDLESS = datetime(9999, 12, 31, tzinfo=UTC)

_ATTEMPTS = 6
_BACKOFF = 0.02
_SUGGESTED_FROM = 250
_INSTANT = timedelta(microseconds=1)
# Before this instant there is none for planning to begin at.
_FIRST_AT = datetime.min.replace(tzinfo=UTC) + timedelta(minutes=5)
# What nobody can tell yet is looked at before those whose ticks are not due.
_AT_ONCE = timedelta(minutes=1)
# A deadlock, or another session that put the same new key: the same transaction succeeds a moment later.
_AGAIN = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.UniqueViolation,
)

Result = TypeVar("Result")


def new_row(schedule: Schedule, source: str, now: datetime) -> dict[str, Any]:
    """The row of a new schedule, which has missed nothing and is looked at when it is first due.

    Only an `at` in the past is planned from before itself, to be written down.
    """
    first = ticks.first_of(schedule)
    planned_to = now if first is None else min(now, max(first, _FIRST_AT) - timedelta(seconds=1))
    row = {"key": schedule.key, "source": source, "state": state_of(schedule), "definition": schedule.to_definition()}
    return {**row, "planned_to": planned_to, **_looks(schedule, planned_to)}


def _looks(schedule: Schedule, planned_to: datetime) -> dict[str, datetime | None]:
    look_at = ticks.look_at(schedule, planned_to)
    return {"next_tick": ticks.next_tick(schedule, planned_to), "plan_at": AHEAD.first_plan_at(schedule, look_at)}


def repeated(session: Session, change: Callable[[], Result]) -> Result:
    """Run a change in a transaction; once more when somebody else was in its way."""
    for attempt in range(_ATTEMPTS - 1):
        try:
            return _in_transaction(session, change)
        except _AGAIN as error:
            log.info("a change of schedules is repeated: %s", " ".join(str(error).split()))
            time.sleep(_BACKOFF * 2**attempt)
    return _in_transaction(session, change)


def _in_transaction(session: Session, change: Callable[[], Result]) -> Result:
    with session.transaction():
        session.run("schedules.allow_time")
        return change()


def lock(session: Session, keys: Sequence[str]) -> list[KnownSchedule]:
    """The rows of these keys, also removed ones, locked in one order."""
    return session.fetch(KnownSchedule, "runtime.lock", keys=list(keys))


def lock_one(session: Session, key: str) -> KnownSchedule:
    """The row of a schedule, locked; raises UnknownSchedule, also for a removed one."""
    for row in lock(session, [key]) if SECTIONS["schedule"].accepts(key) else ():
        if row.state != "removed":
            return row
    raise unknown(session, key)


def find(session: Session, key: str) -> tuple[int, dict[str, Any]]:
    """Id and definition of a schedule, not locked; raises UnknownSchedule."""
    if SECTIONS["schedule"].accepts(key):
        found = session.run("runtime.find", key=key).fetchone()
        if found is not None:
            return found[0], found[1]
    raise unknown(session, key)


def unknown(session: Session, key: str) -> UnknownSchedule:
    """The error for a key that the database does not have, with the nearest one."""
    near = session.run("runtime.keys_near", key=storable_text(str(key), 200), limit=_SUGGESTED_FROM)
    meant = hint(str(key), [name for (name,) in near])
    return UnknownSchedule(f"the database has no schedule {show(key)}{meant}; see `pqclock schedules list`")


@dataclass(frozen=True, slots=True)
class _Account:
    """What is written down of a row's ticks up to now, and since when its ticks are owed, if any are."""

    entries: tuple[ticks.Entry, ...] = ()
    owed_after: datetime | None = None


def account(
    session: Session, rows: Sequence[KnownSchedule], now: datetime, left_out: str | None = None
) -> list[KnownSchedule]:
    """Account for all ticks up to now before the rows change; gives them with where their planning stands then.

    Ticks that came due and that nobody has planned yet are skipped for the reason `left_out`, or else left to the
    leader, which catches them up under the definition that the row has now.
    """
    reaches: list[Reach] = []
    entries: list[TickRow] = []
    for row in rows:
        if row.state == "removed" or row.planned_to >= now:
            continue
        found = _account(row, now, left_out)
        reach = Reach(row.id, row.version, row.planned_to, now, plan_at=now)
        if found.owed_after is not None:
            reach = replace(reach, owed_after=found.owed_after, owed_upto=now, noticed_at=now)
        reaches.append(reach)
        entries += [entry_row(row.id, entry) for entry in found.entries]
    if left_out is not None:
        _leave_out_owed(session, rows, left_out, now)
    if reaches:
        schedules.insert_ticks(session, None, reaches, entries, now)
    return [replace(row, planned_to=max(row.planned_to, now)) for row in rows]


def _leave_out_owed(session: Session, rows: Sequence[KnownSchedule], reason: str, now: datetime) -> None:
    """What was missed before and is still to be decided on is skipped too."""
    spans = schedules.owed_by(session, [row.id for row in rows]) if rows else []
    reaches, entries = [], list[TickRow]()
    for span in spans:
        try:
            schedule = Schedule.from_definition(span.key, span.definition)
            found = ticks.plan_skip(schedule, span.after, span.upto, reason)
        except Exception as error:
            log.error("schedule %s: the missed ticks of a broken definition are not accounted for: %s", span.key, error)
            continue
        reaches.append(Reach(span.schedule_id, span.version, span.after, span.upto, owed_id=span.id))
        entries += [replace(entry_row(span.schedule_id, entry), owed_id=span.id) for entry in found]
    if reaches:
        schedules.insert_ticks(session, None, reaches, entries, now)


def entry_row(schedule_id: int, entry: ticks.Entry) -> TickRow:
    """The ledger's row of an entry without a job."""
    values = (entry.tick, entry.through, entry.count, entry.outcome, entry.reason, entry.origin, entry.nominal)
    return TickRow(schedule_id, *values)


def _account(row: KnownSchedule, now: datetime, left_out: str | None) -> _Account:
    try:
        schedule = Schedule.from_definition(row.key, row.definition)
        schedule.ticking()
    except Exception as error:
        # It could not be planned either; a broken definition must not stand in the way of its mend.
        log.error("schedule %s: the ticks of a broken definition are not accounted for: %s", row.key, error)
        return _Account()
    if row.state == "disabled":
        return _Account(ticks.plan_skip(schedule, row.planned_to, now, "disabled"))
    reached, entries = row.planned_to, tuple[ticks.Entry, ...]()
    if row.paused_until is not None and row.paused_until - _INSTANT > reached:
        reached = min(now, row.paused_until - _INSTANT)
        entries = ticks.plan_skip(schedule, row.planned_to, reached, "paused")
    if left_out is not None:
        return _Account((*entries, *ticks.plan_skip(schedule, reached, now, left_out)))
    owes = reached < now and ticks.leaves_rows(schedule, reached, now)
    return _Account(entries, reached if owes else None)


def rewrite(session: Session, rows: Sequence[KnownSchedule], now: datetime) -> int:
    """Give the rows a new version with these values, and take back what was inserted ahead; gives how many ticks.

    Planning goes on from now, or from before where it did not get so far.
    """
    if not rows:
        return 0
    ids = [row.id for row in rows]
    withdrawn = session.run("runtime.withdraw", ids=ids, now=now).rowcount
    # What became ready in the meantime stays, and must not be planned again.
    kept: dict[int, datetime] = dict(session.run("runtime.kept", ids=ids, now=now).fetchall())
    _begin_to_watch(session, rows)
    written = [_written(row, row.planned_to if row.planned_to < now else kept.get(row.id, now)) for row in rows]
    session.run("runtime.rewrite", rows=json.dumps(written), now=now)
    return withdrawn


def _looks_again(row: KnownSchedule, planned_to: datetime) -> dict[str, datetime | None]:
    """When a changed row is to be planned; at once where a pause or a broken definition has to be looked at first."""
    at_once = {"next_tick": None, "plan_at": planned_to - _AT_ONCE}
    if row.paused_until is not None or row.state != "active":
        return at_once
    try:
        return _looks(Schedule.from_definition(row.key, row.definition), planned_to)
    except Exception:
        return at_once


def _begin_to_watch(session: Session, rows: Sequence[KnownSchedule]) -> None:
    """Where jobs must not overlap any more, those that are there already count as unfinished too."""
    ids = [row.id for row in rows if row.definition.get("overlap", "allow") != "allow"]
    if not ids:
        return
    new = [schedule_id for (schedule_id,) in session.run("runtime.begin_to_watch", ids=ids)]
    if new:
        session.run("runtime.watch", ids=new)


def _written(row: KnownSchedule, planned_to: datetime) -> dict[str, Any]:
    end = row.paused_until
    looks = _looks_again(row, planned_to)
    return {
        "id": row.id,
        "key": row.key,
        "set_name": row.set_name,
        "source": row.source,
        "state": row.state,
        "definition": row.definition,
        "planned_to": planned_to.isoformat(),
        **{name: None if instant is None else instant.isoformat() for name, instant in looks.items()},
        "paused_until": None if end is None else "infinity" if end >= ENDLESS else end.isoformat(),
        "note": row.note,
    }
