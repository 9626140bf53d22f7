"""Insert the ticks that come within the horizon."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pqclock.rules import ticks
from pqclock.rules.cron import Cron
from pqclock.rules.schedule import Schedule
from pqclock.rules.templates import ArgsTemplate, compile_args, render
from pqclock.store import schedules
from pqclock.store.database import Session
from pqclock.store.schedules import DueSchedule, Reach, TickRow

log = logging.getLogger("pqclock.clock")

# Ticks are inserted this far ahead of their time; a schedule is planned again when less than half of it is left, so
# that one that ticks every second is planned every half minute.
HORIZON = timedelta(seconds=60)
LOW_MARK = HORIZON / 2
SLICE = 200
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


@dataclass(frozen=True, slots=True)
class Compiled:
    """A schedule with its templates and zone, ready to be planned."""

    schedule: Schedule
    args: ArgsTemplate
    zone: ZoneInfo


class Planner:
    """Plans due schedules in slices; keeps the compiled ones."""

    def __init__(self, session: Session, epoch: int) -> None:
        self._session = session
        self._epoch = epoch
        self._compiled: OrderedDict[tuple[int, int], Compiled] = OrderedDict()
        self._broken: set[tuple[int, int]] = set()

    def step(self, now: datetime) -> Planned:
        """Plan one slice of the schedules that have a tick within the low mark."""
        due = schedules.due(self._session, now + LOW_MARK, SLICE, self._broken)
        reaches: list[Reach] = []
        rows: list[TickRow] = []
        for row in due:
            # One that is broken is told once and left out: it must not hold up the others, nor keep the clock awake.
            try:
                reach, tick_rows = self._plan(row, now)
            except Exception as error:
                self._broken.add((row.id, row.version))
                log.error("schedule %s cannot be planned, its definition in the database is broken: %s", row.key, error)
                continue
            reaches.append(reach)
            rows += tick_rows
        written = None
        if reaches:
            written = schedules.insert_ticks(self._session, self._epoch, reaches, rows)
        earliest = schedules.earliest(self._session, self._broken)
        return Planned(
            in_office=written is None or written.in_office,
            inserted=written.inserted if written else 0,
            more=earliest is not None and earliest <= now + LOW_MARK,
            first_run_at=written.first_run_at if written else None,
            plan_again_at=earliest - LOW_MARK if earliest else None,
        )

    def _plan(self, row: DueSchedule, now: datetime) -> tuple[Reach, list[TickRow]]:
        compiled = self._compile(row)
        plan = ticks.plan(compiled.schedule, row.planned_to, row.created_at, now, HORIZON)
        rows: list[TickRow] = []
        previous: datetime | None = None
        for entry in plan.entries:
            rows.append(_tick_row(row.id, compiled, entry, previous))
            previous = entry.through
        return Reach(row.id, row.version, row.planned_to, plan.planned_to, plan.next_tick), rows

    def _compile(self, row: DueSchedule) -> Compiled:
        """The schedule of a row; raises for a definition that this version of pqclock cannot read."""
        identity = (row.id, row.version)
        if identity not in self._compiled:
            self._compiled[identity] = _compile(row)
            while len(self._compiled) > CACHE_SIZE:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(identity)
        return self._compiled[identity]


def _compile(row: DueSchedule) -> Compiled:
    schedule = Schedule.from_definition(row.key, row.definition)
    schedule.timing()
    return Compiled(schedule, compile_args(schedule.args), ZoneInfo(schedule.timezone))


def _tick_row(schedule_id: int, compiled: Compiled, entry: ticks.Entry, previous: datetime | None) -> TickRow:
    row = TickRow(schedule_id, entry.tick, entry.through, entry.count, entry.outcome, entry.reason, entry.origin)
    if entry.outcome != "inserted":
        return row
    schedule = compiled.schedule
    run_at = ticks.run_at(schedule, entry.tick)
    expires_at = run_at + schedule.expires_in if schedule.expires_in else None
    return replace(row, run_at=run_at, expires_at=expires_at, args=_arguments(compiled, entry.tick, previous))


def _arguments(compiled: Compiled, tick: datetime, previous: datetime | None) -> dict[str, object]:
    """The arguments of a tick's job; `previous` is the tick before it, where the same plan has it."""
    schedule = compiled.schedule
    if compiled.args.fixed:
        return dict(schedule.args)
    timing = schedule.timing()
    return render(
        compiled.args,
        tick=tick,
        previous_tick=previous or ticks.previous_tick(schedule, tick),
        key=schedule.key,
        zone=compiled.zone,
        local_date=timing.local_date(tick) if isinstance(timing, Cron) else None,
    )
