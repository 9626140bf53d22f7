"""Backfill a range of a schedule: a job for each of its ticks that has none, whatever the ledger says of it.

It needs no leader. It goes slice by slice, each a short transaction; who is interrupted begins again, and only the rest
is done. Ticks that are not planned yet are left to the clock, which might count them a second time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice

from pqclock.errors import ArgumentError, Refused
from pqclock.rules import ticks
from pqclock.rules.excluding import Excluding
from pqclock.rules.files.findings import show
from pqclock.rules.schedule import Schedule
from pqclock.store import backfill_slices as slices
from pqclock.store import schedules
from pqclock.store.backfill_slices import AT_ONCE, Backfill, Defaults
from pqclock.store.changing import find, lock_one, repeated
from pqclock.store.database import Session

__all__ = ["AT_ONCE", "Backfill", "Backfilled", "preview", "run"]

# The most ticks of one backfill, and the most unfinished jobs of it.
TICKS_AT_MOST = 1_000_000
AT_ONCE_AT_MOST = 10_000

# Who waits for jobs to end looks again after so many seconds: first, and at last.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_PAGE = 10_000
_MARGIN = timedelta(minutes=1)
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)

Sessions = Callable[[], AbstractContextManager[Session]]


@dataclass(frozen=True, slots=True)
class Backfilled:
    """How far a backfill has come.

    Of the `ticks` of the range, `first` through `last`, `already_there` had a job when it began and `missing` had none;
    `excluded` more are left out or moved by calendars. `until` is earlier than asked for where ticks are not planned
    yet. Of the `inserted` jobs `finished` have ended, `failed` of them otherwise than by success.
    """

    key: str
    since: datetime
    until: datetime
    first: datetime | None
    last: datetime | None
    ticks: int
    excluded: int
    already_there: int
    missing: int
    inserted: int = 0
    finished: int = 0
    failed: int = 0


def preview(session: Session, asked: Backfill, now: datetime | None = None) -> Backfilled:
    """What a backfill would do; nothing is written.

    Raises UnknownSchedule, ArgumentError, and Refused for a range that begins before the ledger's memory.
    """
    _check(asked)
    row, moment = lock_one(session, asked.key), schedules.database_now(session, now)
    if asked.since >= moment:
        raise ArgumentError(
            f"schedule {show(asked.key)}: a backfill since {asked.since.isoformat()} has no ticks yet: they come by "
            f"themselves; give an instant before {moment.isoformat()}"
        )
    schedule = Schedule.from_definition(row.key, row.definition)
    end = slices.end(schedule, slices.decided_to(session, row, moment), min(asked.until, moment))
    after, before = slices.bounds(schedule, asked.since, end)
    timing = schedule.ticking()
    number = timing.count(after, before) if after < before else 0
    if number > TICKS_AT_MOST:
        raise ArgumentError(
            f"schedule {show(asked.key)}: the range has {number} ticks, and one backfill takes {TICKS_AT_MOST} at most: "
            f"give a shorter one"
        )
    first = next(iter(timing.ticks(after, before)), None) if number else None
    last = ticks.previous_tick(schedule, before) if number else None
    if first is not None and not asked.force:
        _refuse_forgotten(session, asked.key, first)
    there = _already_there(session, row.id, schedule, after, before) if number else 0
    left_out = timing.left_out(after, before) if isinstance(timing, Excluding) and after < before else ()
    excluded = sum(run.number for run in left_out)
    until = max(asked.since, end)
    return Backfilled(asked.key, asked.since, until, first, last, number, excluded, there, number - there)


def run(
    sessions: Sessions,
    asked: Backfill,
    seen: Backfilled,
    defaults: Defaults | None = None,
    *,
    wait: bool = False,
    on_progress: Callable[[Backfilled], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    now: datetime | None = None,
) -> Backfilled:
    """Do what a preview has `seen`; with `wait` until the inserted jobs have ended. Tells of each step.

    `sessions` opens a session for one step: none is held while it waits for jobs to end.
    """
    work, pause = _Work(replace(asked, until=seen.until), seen, defaults or {}, now), _FIRST_PAUSE
    while True:
        with sessions() as session:
            moved = work.step(session)
        if moved and on_progress is not None:
            on_progress(work.progress)
        if work.inserted_all and not (wait and work.unfinished):
            return work.progress
        pause = _FIRST_PAUSE if moved else min(pause * 1.5, _LONGEST_PAUSE)
        if not moved:
            sleep(pause)


class _Work:
    """A backfill on its way: up to where it has come, and which of its jobs are unfinished."""

    def __init__(self, asked: Backfill, seen: Backfilled, defaults: Defaults, now: datetime | None) -> None:
        self.progress = seen
        self.inserted_all = False
        self.unfinished: set[int] = set()
        self._asked = asked
        self._defaults = defaults
        self._now = now
        self._cursor = asked.until if asked.newest_first else asked.since
        self._there = 0
        self._met = 0
        self._begun: datetime | None = None

    def step(self, session: Session) -> bool:
        """Look what has ended, and insert where there is room; False when neither changed anything."""
        # Workers tell by their own reading of the database's clock when a job ended.
        self._begun = self._begun or schedules.database_now(session, self._now) - _MARGIN
        ended = self._look(session)
        if self.inserted_all or self._is_full(session):
            return ended
        done = repeated(session, lambda: slices.insert(session, self._asked, self._cursor, self._defaults, self._now))
        self._cursor, self.inserted_all = done.cursor, done.is_last
        self._there += done.there
        self._met += done.met
        self.unfinished.update(done.ids)
        self.progress = replace(self.progress, inserted=self.progress.inserted + len(done.ids))
        if self.inserted_all:
            # Another one may have been at work on the same range.
            self.progress = replace(
                self.progress, already_there=self._there, ticks=self._there + self._met + self.progress.inserted
            )
        return ended or bool(done.ids or done.there or done.met) or self.inserted_all

    def _is_full(self, session: Session) -> bool:
        """A look without the lock, as long as there is no room."""
        schedule_id, definition = find(session, self._asked.key)
        schedule = Schedule.from_definition(self._asked.key, definition)
        return slices.room(session, schedule_id, schedule, self._asked.at_once) <= 0

    def _look(self, session: Session) -> bool:
        if not self.unfinished:
            return False
        ended: dict[int, str | None] = dict(
            session.run("backfilling.ended", ids=sorted(self.unfinished), since=self._begun).fetchall()
        )
        self.unfinished -= ended.keys()
        failed = sum(state not in (None, "succeeded") for state in ended.values())
        progress = self.progress
        self.progress = replace(progress, finished=progress.finished + len(ended), failed=progress.failed + failed)
        return bool(ended)


def _check(asked: Backfill) -> None:
    what = f"schedule {show(asked.key)}"
    for name, instant in (("since", asked.since), ("until", asked.until)):
        if not isinstance(instant, datetime) or instant.utcoffset() is None:
            raise ArgumentError(f"{what}: {name} {instant!r:.60} must be a datetime with a timezone: add tzinfo")
    if asked.since >= asked.until:
        raise ArgumentError(
            f"{what}: a backfill since {asked.since.isoformat()} and until {asked.until.isoformat()} has no ticks: the "
            f"end is exclusive and must come after the beginning"
        )
    if asked.since < _EARLIEST:
        raise ArgumentError(f"{what}: since {asked.since.isoformat()} lies before the year 1900: give a later instant")
    if type(asked.at_once) is not int or not 1 <= asked.at_once <= AT_ONCE_AT_MOST:
        raise ArgumentError(f"{what}: at_once {asked.at_once!r:.40} must be a whole number from 1 to {AT_ONCE_AT_MOST}")
    priority = asked.priority
    if priority is not None and (type(priority) is not int or not -32768 <= priority <= 32767):
        raise ArgumentError(
            f"{what}: priority {priority!r:.40} must be a whole number from -32768 to 32767 (lower runs first)"
        )


def _refuse_forgotten(session: Session, key: str, first: datetime) -> None:
    """Beyond the oldest partition nobody can know what ran, so it might run again."""
    begins = session.run("backfilling.ledger_begins").fetchone()
    if begins is not None and begins[0] is not None and first < begins[0]:
        raise Refused(
            f"schedule {show(key)}: the ledger begins at {begins[0].isoformat()}, and whether the tick at "
            f"{first.isoformat()} has run is not known: begin later, or add --force (force=True) to run such ticks, "
            f"perhaps once more"
        )


def _already_there(session: Session, schedule_id: int, schedule: Schedule, after: datetime, before: datetime) -> int:
    """How many of the ticks between the two have a job, or had one."""
    found, walk = 0, schedule.ticking().ticks(after, before)
    while page := set(islice(walk, _PAGE)):
        span = {"first": min(page), "last": max(page)}
        found += sum(tick in page for (tick,) in session.run("backfilling.inserted", schedule_id=schedule_id, **span))
    return found
