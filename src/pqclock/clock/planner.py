"""Insert the ticks that come within the horizon."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pqclock.errors import PqclockError
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
        due = schedules.due(self._session, now + LOW_MARK, SLICE)
        reaches: list[Reach] = []
        rows: list[TickRow] = []
        for row in due:
            self._plan(row, now, reaches, rows)
        written = None
        if reaches:
            written = schedules.insert_ticks(self._session, self._epoch, reaches, rows)
        earliest = schedules.earliest(self._session)
        return Planned(
            in_office=written is None or written.in_office,
            inserted=written.inserted if written else 0,
            more=earliest is not None and earliest <= now + LOW_MARK and bool(reaches),
            first_run_at=written.first_run_at if written else None,
            plan_again_at=earliest - LOW_MARK if earliest else None,
        )

    def _plan(self, row: DueSchedule, now: datetime, reaches: list[Reach], rows: list[TickRow]) -> None:
        compiled = self._compile(row)
        if compiled is None:
            return
        plan = ticks.plan(compiled.schedule, row.planned_to, row.created_at, now, HORIZON)
        reaches.append(Reach(row.id, row.version, row.planned_to, plan.planned_to, plan.next_tick))
        previous: datetime | None = None
        for entry in plan.entries:
            rows.append(_tick_row(row.id, compiled, entry, previous))
            previous = entry.through

    def _compile(self, row: DueSchedule) -> Compiled | None:
        """The schedule of a row; None for one whose definition this version of pqclock cannot read."""
        identity = (row.id, row.version)
        if identity not in self._compiled:
            try:
                self._compiled[identity] = _compile(row)
            except (PqclockError, ValueError, TypeError, KeyError) as error:
                self._report_broken(identity, row.key, error)
                return None
            while len(self._compiled) > CACHE_SIZE:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(identity)
        return self._compiled[identity]

    def _report_broken(self, identity: tuple[int, int], key: str, error: Exception) -> None:
        if identity not in self._broken:
            self._broken.add(identity)
            log.error("schedule %s cannot be planned, its definition in the database is broken: %s", key, error)


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
