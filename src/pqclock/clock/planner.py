"""Insert the ticks that come within the horizon."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pqclock.clock.pausing import plan_paused
from pqclock.store import runtime, schedules
from pqclock.store.database import STATEMENT_TOO_LONG, Session
from pqclock.store.planning import Compiled, compile_row, plan_row
from pqclock.store.schedules import DueSchedule, Insertion, Reach, TickRow

log = logging.getLogger("pqclock.clock")

# Ticks are inserted this far ahead of their time; a schedule is planned again when less than half of it is left, so
# that one that ticks every second is planned every half minute.
HORIZON = timedelta(seconds=60)
LOW_MARK = HORIZON / 2
# A slice: so many schedules are read, and planned until there are so many rows or the time is over. Promotion and beat
# come between two slices.
SLICE = 200
ROWS = 4_000
SECONDS = 0.25
# How long to leave alone what somebody else holds locked.
HELD_PAUSE = timedelta(milliseconds=100)
# How many compiled schedules are kept in memory.
CACHE_SIZE = 20_000


@dataclass(frozen=True, slots=True)
class Planned:
    """What one step inserted, whether more waits, and when the next schedule wants planning (None: none does)."""

    in_office: bool
    inserted: int
    more: bool
    first_run_at: datetime | None
    plan_again_at: datetime | None


class Planner:
    """Plans due schedules in slices; keeps the compiled ones."""

    def __init__(self, session: Session, epoch: int) -> None:
        self._session = session
        self._epoch = epoch
        self._compiled: OrderedDict[tuple[int, int], Compiled] = OrderedDict()
        self._broken: set[tuple[int, int]] = set()
        self._rows_at_most = ROWS

    def step(self, now: datetime) -> Planned:
        """Plan one slice of the schedules that have a tick within the low mark."""
        due = schedules.due(self._session, now + LOW_MARK, SLICE, self._broken)
        reaches, rows = self._plan(due, runtime.pauses(self._session, due), now)
        written = self._write(reaches, rows) if reaches else None
        earliest = schedules.earliest(self._session, self._broken)
        # What somebody else holds locked is left to a later turn: the clock does not wait for it.
        held = written is not None and written.in_office and written.schedules < len(reaches)
        again = earliest - LOW_MARK if earliest else None
        return Planned(
            in_office=written is None or written.in_office,
            inserted=written.inserted if written else 0,
            more=again is not None and again <= now and not held,
            first_run_at=written.first_run_at if written else None,
            plan_again_at=max(again, now + HELD_PAUSE) if again and held else again,
        )

    def _plan(
        self, due: Sequence[DueSchedule], pauses: Mapping[int, datetime], now: datetime
    ) -> tuple[list[Reach], list[TickRow]]:
        """As many of the schedules as a slice allows, by rows and by time: the lock does not wait for the rest."""
        reaches: list[Reach] = []
        rows: list[TickRow] = []
        deadline = time.monotonic() + SECONDS
        for row in due:
            # One that is broken is told once and left out: it must not hold up the others, nor keep the clock awake.
            try:
                reach, tick_rows = self._plan_one(row, pauses.get(row.id), now)
            except Exception as error:
                self._broken.add((row.id, row.version))
                log.error("schedule %s cannot be planned, its definition in the database is broken: %s", row.key, error)
                continue
            reaches.append(reach)
            rows += tick_rows
            if len(rows) >= self._rows_at_most or time.monotonic() > deadline:
                break
        return reaches, rows

    def _plan_one(self, row: DueSchedule, paused_until: datetime | None, now: datetime) -> tuple[Reach, list[TickRow]]:
        compiled = self._compile(row)
        if paused_until is None:
            return plan_row(compiled, row, now, HORIZON)
        return plan_paused(compiled, row, paused_until, now, LOW_MARK, HORIZON)

    def _write(self, reaches: Sequence[Reach], rows: Sequence[TickRow]) -> Insertion:
        """Write the slice; after a statement that took too long, the next slices are smaller."""
        try:
            return schedules.insert_ticks(self._session, self._epoch, reaches, rows)
        except STATEMENT_TOO_LONG:
            self._rows_at_most = max(1, self._rows_at_most // 2)
            raise

    def _compile(self, row: DueSchedule) -> Compiled:
        """The schedule of a row; raises for a definition that this version of pqclock cannot read."""
        identity = (row.id, row.version)
        if identity not in self._compiled:
            self._compiled[identity] = compile_row(row)
            while len(self._compiled) > CACHE_SIZE:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(identity)
        return self._compiled[identity]
