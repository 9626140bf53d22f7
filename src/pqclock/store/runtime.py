"""Schedules at run time: put, remove, pause, resume, trigger; each is one transaction.

They are in the same table as those of files, without a set and with the source `api`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pqclock.errors import ArgumentError
from pqclock.rules import ticks
from pqclock.rules.applying import renamings, state_of
from pqclock.rules.cron import Cron
from pqclock.rules.files.findings import show
from pqclock.rules.json_values import check_object
from pqclock.rules.schedule import Schedule
from pqclock.rules.templates import compile_args, render
from pqclock.store import jobs, schedules
from pqclock.store.changing import account, find, lock, lock_one, new_row, repeated, rewrite
from pqclock.store.database import Session
from pqclock.store.fitting import unfillable
from pqclock.store.jobs import Entered, NewJob
from pqclock.store.pauses import checked_note, end_of_pause
from pqclock.store.planning import job_options
from pqclock.store.schedules import DueSchedule, KnownSchedule

# The source of what no file declares.
SOURCE = "api"


def put(session: Session, wanted: Sequence[Schedule], now: datetime | None = None) -> list[str]:
    """Add schedules and change those that differ; gives the keys of what was written. One that is paused stays paused.

    A changed schedule is planned anew from now on; ticks that came due and that nobody has planned yet, since no clock
    ran, are caught up under the old definition. Raises ArgumentError for keys that files declare.
    """
    by_key = {schedule.key: schedule for schedule in wanted}
    return repeated(session, lambda: _put(session, by_key, now))


def remove(session: Session, key: str, now: datetime | None = None) -> None:
    """Leave a tombstone: no more ticks, and the history stays. Ticks that came due and were not planned are skipped.

    Raises UnknownSchedule, and ArgumentError for a key that files declare.
    """
    repeated(session, lambda: _remove(session, key, now))


def pause(
    session: Session,
    key: str,
    until: datetime | timedelta | None = None,
    note: str | None = None,
    now: datetime | None = None,
) -> None:
    """Skip the ticks from now on and before `until` (None: until `resume`; a timedelta counts from now).

    So are those that came due before, and were not planned yet since no clock ran. Of a schedule that is paused
    already, end and note are replaced. Raises UnknownSchedule.
    """
    checked = checked_note(f"schedule {show(key)}", note)
    repeated(session, lambda: _pause(session, key, until, checked, now))


def resume(session: Session, key: str, now: datetime | None = None) -> bool:
    """End a pause; False when there was none. Raises UnknownSchedule."""
    return repeated(session, lambda: _resume(session, key, now))


def trigger(
    session: Session,
    key: str,
    args: Mapping[str, object] | None = None,
    code_defaults: Mapping[str, Mapping[str, Any]] | None = None,
    now: datetime | None = None,
) -> Entered:
    """Insert a job of the schedule that has no tick, also of one that is paused or disabled.

    `args` go before the schedule's, name by name; templates are filled as for a tick now. Raises UnknownSchedule, and
    as `jobs.entered` does; where its unique key is taken, it is the job that has it.
    """
    with session.transaction():
        schedule_id, definition = find(session, key)
        schedule = Schedule.from_definition(key, definition)
        moment = schedules.database_now(session, now)
        merged = {**_arguments(schedule, moment.replace(microsecond=0)), **(args or {})}
        job = _job(schedule, check_object(merged, f"schedule {key!r}: args"))
        (entered,) = jobs.enter(session, [job], code_defaults, moment)
        if entered.inserted:
            adoption = {"watched": schedule.watches, "expires_in": schedule.expires_in}
            session.run("runtime.adopt", id=entered.id, schedule_id=schedule_id, **adoption)
    return entered


def pauses(session: Session, due: Sequence[DueSchedule]) -> dict[int, datetime]:
    """The ends of those pauses that the planning of these schedules has not passed yet, by id."""
    return dict(session.run("runtime.pauses", ids=[row.id for row in due]).fetchall()) if due else {}


def _put(session: Session, wanted: Mapping[str, Schedule], now: datetime | None) -> list[str]:
    former = [key for schedule in wanted.values() for key in schedule.was]
    known = {row.key: row for row in lock(session, sorted({*wanted, *former}))}
    moment = schedules.database_now(session, now)
    own = {key for key, row in known.items() if row.set_name is None}
    old_keys = renamings(wanted.values(), own, known)
    rows = {key: known[old_keys.get(key, key)] for key in wanted if old_keys.get(key, key) in known}
    _refuse_declared([row for row in rows.values() if row.state != "removed"])
    changed = {key: row for key, row in rows.items() if key in old_keys or _differs(row, wanted[key])}
    _refuse_unfillable(session, [schedule for key, schedule in wanted.items() if key in changed or key not in rows])
    accounted = account(session, list(changed.values()), moment)
    rewrite(session, [_redefined(row, wanted[key]) for key, row in zip(changed, accounted, strict=True)], moment)
    added = [key for key in sorted(wanted) if key not in rows]
    schedules.add(session, None, [new_row(wanted[key], SOURCE, moment) for key in added], moment)
    if added or changed:
        schedules.wake_clock(session)
    return sorted([*added, *changed])


def _refuse_declared(rows: Sequence[KnownSchedule]) -> None:
    faults = [
        f"schedule {show(row.key)} is declared in {row.source} (set {show(row.set_name)}): change it there, and run "
        f"`pqclock apply`"
        for row in rows
        if row.set_name is not None
    ]
    if faults:
        raise ArgumentError("\n".join(faults))


def _refuse_unfillable(session: Session, written: Sequence[Schedule]) -> None:
    faults = unfillable(session, written)
    if faults:
        raise ArgumentError("\n".join(f"schedule {show(key)}: {fault}" for key, fault in faults.items()))


def _differs(row: KnownSchedule, schedule: Schedule) -> bool:
    return row.state != state_of(schedule) or row.definition != _definition(schedule)


def _redefined(row: KnownSchedule, schedule: Schedule) -> KnownSchedule:
    """The row with a new definition; one that comes back begins without its old pause."""
    if row.state == "removed":
        row = replace(row, paused_until=None, note=None)
    state, definition = state_of(schedule), _definition(schedule)
    return replace(row, key=schedule.key, set_name=None, source=SOURCE, state=state, definition=definition)


def _definition(schedule: Schedule) -> dict[str, Any]:
    """The definition as it will come back from the database."""
    result: dict[str, Any] = json.loads(json.dumps(schedule.to_definition(), default=dict))
    return result


def _remove(session: Session, key: str, now: datetime | None) -> None:
    row = lock_one(session, key)
    moment = schedules.database_now(session, now)
    _refuse_declared([row])
    accounted = account(session, [row], moment, left_out="removed")
    rewrite(session, [replace(row, state="removed", paused_until=None, note=None) for row in accounted], moment)


def _pause(
    session: Session, key: str, until: datetime | timedelta | None, note: str | None, now: datetime | None
) -> None:
    row = lock_one(session, key)
    moment = schedules.database_now(session, now)
    rewrite(
        session, [replace(row, paused_until=end_of_pause(f"schedule {show(key)}", until, moment), note=note)], moment
    )
    schedules.wake_clock(session)


def _resume(session: Session, key: str, now: datetime | None) -> bool:
    row = lock_one(session, key)
    moment = schedules.database_now(session, now)
    if row.paused_until is None or row.paused_until <= moment:
        return False
    # Not without an end: the leader finds a pause that is over, and first writes down what passed in it.
    rewrite(session, [replace(row, paused_until=moment, note=None)], moment)
    schedules.wake_clock(session)
    return True


def _job(schedule: Schedule, args: str) -> NewJob:
    return NewJob(
        schedule.task,
        args,
        queue=schedule.queue,
        priority=schedule.priority,
        labels=None if schedule.labels is None else json.dumps(schedule.labels),
        max_attempts=schedule.max_attempts,
        options=job_options(schedule),
    )


def _arguments(schedule: Schedule, now: datetime) -> dict[str, object]:
    """The schedule's arguments, as for a tick at `now`."""
    timing = schedule.timing()
    return render(
        compile_args(schedule.args),
        tick=now,
        previous_tick=ticks.previous_tick(schedule, now),
        key=schedule.key,
        zone=ZoneInfo(schedule.timezone),
        local_date=timing.local_date(now) if isinstance(timing, Cron) else None,
    )
