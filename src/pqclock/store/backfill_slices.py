"""One transaction of a backfill: under the lock of the schedule's row, a slice of its ticks gets jobs.

The ledger gets a row of the origin `backfill` for each; what it said of these ticks before goes out of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from pqclock.rules import ticks
from pqclock.rules.json_values import check_object
from pqclock.rules.schedule import Schedule
from pqclock.store import jobs, schedules
from pqclock.store.changing import account, lock_one
from pqclock.store.database import Session
from pqclock.store.jobs import NewJob
from pqclock.store.planning import Compiled, compile_row, job_options, tick_row
from pqclock.store.schedules import KnownSchedule
from pqclock.store.splitting import LedgerRow, nominal, take_out

# The most ticks of one transaction.
SLICE = 500
AT_ONCE = 10

_INSTANT = timedelta(microseconds=1)

Defaults = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Backfill:
    """What is asked for: the ticks from `since` on and before `until`, at most `at_once` unfinished at a time.

    `priority` is that of the jobs instead of the schedule's. `force` lets it go back beyond what the ledger remembers.
    """

    key: str
    since: datetime
    until: datetime
    at_once: int = AT_ONCE
    priority: int | None = None
    newest_first: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Slice:
    """What one transaction did: the ids of its jobs, how many ticks had one, and from where to go on.

    `met` is how many ticks were left out, since their unique key is taken.
    """

    cursor: datetime
    is_last: bool
    there: int = 0
    ids: tuple[int, ...] = ()
    met: int = 0


def room(session: Session, schedule_id: int, schedule: Schedule, at_once: int) -> int:
    """How many jobs of backfills of this schedule may come beside those that are unfinished.

    Where jobs must not overlap it is one, and none beside any other job of the schedule.
    """
    if schedule.watches:
        return 0 if schedules.unfinished(session, [schedule_id]) else 1
    (unfinished,) = session.run("backfilling.unfinished", schedule_id=schedule_id).fetchall()
    return at_once - int(unfinished[0])


def insert(session: Session, asked: Backfill, cursor: datetime, defaults: Defaults, now: datetime | None) -> Slice:
    """Insert what there is room for of the next slice of ticks."""
    row, moment = lock_one(session, asked.key), schedules.database_now(session, now)
    compiled = compile_row(row)
    free = room(session, row.id, compiled.schedule, asked.at_once)
    if free <= 0:
        return Slice(cursor, is_last=False)
    row = _accounted(session, row, asked.until, moment)
    found = _ticks_from(compiled.schedule, asked, cursor, end(compiled.schedule, decided_to(session, row), asked.until))
    if not found:
        return Slice(cursor, is_last=True)
    first, last = sorted((found[0], found[-1]))
    rows = session.fetch(LedgerRow, "backfilling.rows", schedule_id=row.id, first=first, last=last)
    there = {entry.tick for entry in rows if entry.outcome == "inserted"}
    missing = [tick for tick in found if tick not in there]
    # Short of a whole slice there are no more, and nothing is to be waited for.
    is_last = len(found) < SLICE and len(missing) <= free
    if len(missing) > free:
        found = found[: found.index(missing[free])]
        missing = missing[:free]
    first, last = sorted((found[0], found[-1]))
    gone, parts = take_out(compiled.schedule.ticking(), rows, first, last, set(missing))
    ids = _insert_jobs(session, row.id, compiled, asked, missing, defaults, moment)
    _write(session, row.id, gone, [*parts, *_entries(compiled.schedule, missing, ids, moment)])
    after = found[-1] if asked.newest_first else found[-1] + _INSTANT
    inserted = tuple(job_id for job_id in ids if job_id is not None)
    return Slice(after, is_last, len(found) - len(missing), inserted, len(ids) - len(inserted))


def _accounted(session: Session, row: KnownSchedule, until: datetime, now: datetime) -> KnownSchedule:
    """The row after what passed while it was paused or disabled was written down: the leader does that later."""
    if row.planned_to >= until or planned_to(row, now) <= row.planned_to:
        return row
    (accounted,) = account(session, [row], now)
    return accounted


def planned_to(row: KnownSchedule, now: datetime) -> datetime:
    """Up to where it is decided what becomes of the ticks: in a pause and while disabled, none is inserted."""
    if row.state == "disabled":
        return max(row.planned_to, now)
    return row.planned_to if row.paused_until is None else max(row.planned_to, min(now, row.paused_until - _INSTANT))


def decided_to(session: Session, row: KnownSchedule, now: datetime | None = None) -> datetime:
    """Up to where the ledger has all ticks, or with `now` would have them: missed ones may be still to be decided on."""
    reached = row.planned_to if now is None else planned_to(row, now)
    owed = schedules.owed_since(session, row.id)
    return reached if owed is None else min(reached, owed)


def end(schedule: Schedule, planned_to: datetime, until: datetime) -> datetime:
    """`until`, or the first tick before it that is not planned yet."""
    due = ticks.next_tick(schedule, planned_to)
    return until if due is None else min(until, due)


def bounds(schedule: Schedule, since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """The instants between which the ticks from `since` on and before `until` lie."""
    start = since if schedule.start is None else max(since, schedule.start)
    return start - _INSTANT, until if schedule.end is None else min(until, schedule.end)


def _ticks_from(schedule: Schedule, asked: Backfill, cursor: datetime, end: datetime) -> list[datetime]:
    """The next slice of ticks, in the order in which they are inserted."""
    if not asked.newest_first:
        after, before = bounds(schedule, cursor, end)
        return list(islice(schedule.ticking().ticks(after, before), SLICE)) if after < before else []
    found: list[datetime] = []
    tick = ticks.previous_tick(schedule, min(cursor, end))
    while tick is not None and tick >= asked.since and len(found) < SLICE:
        found.append(tick)
        tick = ticks.previous_tick(schedule, tick)
    return found


def _insert_jobs(
    session: Session,
    schedule_id: int,
    compiled: Compiled,
    asked: Backfill,
    missing: list[datetime],
    defaults: Defaults,
    now: datetime,
) -> list[int | None]:
    """Ready at once, in the order of the ticks; gives their ids, None for one that has met its unique key."""
    if not missing:
        return []
    schedule = compiled.schedule
    priority = schedule.priority if asked.priority is None else asked.priority
    labels = None if schedule.labels is None else json.dumps(schedule.labels)
    new = [
        NewJob(
            schedule.task,
            check_object(_args(schedule_id, compiled, tick), f"schedule {asked.key!r}: args"),
            queue=schedule.queue,
            priority=priority,
            labels=labels,
            max_attempts=schedule.max_attempts,
            options=job_options(schedule, lenient=True),
        )
        for tick in missing
    ]
    ids = [job.id if job.inserted else None for job in jobs.enter(session, new, defaults, now)]
    own = [(job_id, tick) for job_id, tick in zip(ids, missing, strict=True) if job_id is not None]
    session.run(
        "backfilling.adopt",
        schedule_id=schedule_id,
        ids=[job_id for job_id, _ in own],
        ticks=[tick for _, tick in own],
        expires_in=schedule.expires_in,
    )
    return ids


def _write(session: Session, schedule_id: int, gone: Sequence[datetime], rows: Sequence[LedgerRow]) -> None:
    """Put these rows into the ledger, in the place of those that go."""
    if gone:
        session.run("backfilling.take_out", schedule_id=schedule_id, ticks=list(gone))
    if rows:
        text = json.dumps([asdict(row) for row in rows], default=datetime.isoformat)
        session.run("backfilling.write", schedule_id=schedule_id, rows=text)


def _args(schedule_id: int, compiled: Compiled, tick: datetime) -> dict[str, Any]:
    entry = ticks.Entry(tick, tick, 1, "inserted", None, "backfill", tick)
    args = tick_row(schedule_id, compiled, entry).args
    assert args is not None
    return args


def _entries(
    schedule: Schedule, missing: Sequence[datetime], ids: Sequence[int | None], now: datetime
) -> list[LedgerRow]:
    timing = schedule.ticking()
    outcomes = {True: ("skipped", "unique"), False: ("inserted", None)}
    return [
        LedgerRow(tick, tick, 1, nominal(timing, tick), *outcomes[job_id is None], "backfill", job_id, now)
        for tick, job_id in zip(missing, ids, strict=True)
    ]
