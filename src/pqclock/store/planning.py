"""Plan one schedule: from its row to the rows of its ticks and their jobs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pqclock.rules import ticks
from pqclock.rules.cron import Cron
from pqclock.rules.schedule import Schedule
from pqclock.rules.templates import ArgsTemplate, compile_args, render
from pqclock.store.schedules import DueSchedule, KnownSchedule, Reach, TickRow


@dataclass(frozen=True, slots=True)
class Compiled:
    """A schedule with its templates and zone, ready to be planned."""

    schedule: Schedule
    args: ArgsTemplate
    zone: ZoneInfo


def compile_row(row: DueSchedule | KnownSchedule) -> Compiled:
    """The schedule of a row; raises for a definition that this version of pqclock cannot read."""
    schedule = Schedule.from_definition(row.key, row.definition)
    schedule.ticking()
    return Compiled(schedule, compile_args(schedule.args), ZoneInfo(schedule.timezone))


def plan_row(
    compiled: Compiled, row: DueSchedule | KnownSchedule, now: datetime, horizon: timedelta
) -> tuple[Reach, list[TickRow]]:
    """The ticks after where the row's planning stands, at most one slice of them, and how far they reach."""
    plan = ticks.plan(compiled.schedule, row.planned_to, row.created_at, now, horizon)
    rows: list[TickRow] = []
    previous: datetime | None = None
    for entry in plan.entries:
        rows.append(tick_row(row.id, compiled, entry, previous))
        previous = entry.through
    return Reach(row.id, row.version, row.planned_to, plan.planned_to, plan.next_tick), rows


def tick_row(schedule_id: int, compiled: Compiled, entry: ticks.Entry, previous: datetime | None = None) -> TickRow:
    """The ledger's row of an entry, with what its job needs if it has one."""
    values = (entry.tick, entry.through, entry.count, entry.outcome, entry.reason, entry.origin, entry.nominal)
    row = TickRow(schedule_id, *values)
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
