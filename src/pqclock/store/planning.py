"""Plan one schedule: from its row to the rows of its ticks and their jobs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from pqclock.rules import ticks
from pqclock.rules.cron import Cron
from pqclock.rules.json_values import check_object
from pqclock.rules.offsets import run_at
from pqclock.rules.overlap import Judged
from pqclock.rules.schedule import Schedule
from pqclock.rules.templates import ArgsTemplate, compile_args, render
from pqclock.store.ahead import Ahead
from pqclock.store.changing import entry_row
from pqclock.store.schedules import DueSchedule, KnownSchedule, OwedSpan, Reach, TickRow


@dataclass(frozen=True, slots=True)
class Compiled:
    """A schedule with its templates and zone, ready to be planned."""

    schedule: Schedule
    args: ArgsTemplate
    zone: ZoneInfo


def compile_row(row: DueSchedule | OwedSpan | KnownSchedule) -> Compiled:
    """The schedule of a row; raises for a definition that this version of pqclock cannot read."""
    schedule = Schedule.from_definition(row.key, row.definition)
    if not isinstance(row, KnownSchedule) and row.unique_task:
        schedule = replace(schedule, unique_task=True)
    schedule.ticking()
    return Compiled(schedule, compile_args(schedule.args), ZoneInfo(schedule.timezone))


def plan_row(
    compiled: Compiled, row: DueSchedule, now: datetime, ahead: Ahead, most: int | None = None
) -> tuple[Reach, list[ticks.Entry]]:
    """The ticks of the present after where the row's planning stands, at most a slice of them, and how far they reach.

    Missed ones are left to be decided on later: `plan_owed`.
    """
    schedule = compiled.schedule
    owed = ticks.missed_span(schedule, row.planned_to, row.created_at, now)
    since = owed[1] if owed else row.planned_to
    plan = ticks.plan(schedule, since, row.created_at, now, ahead.horizon(schedule), most)
    plan_at = ahead.plan_at(schedule, plan.look_at)
    unique_task = schedule.unique_task or None
    reach = Reach(
        row.id, row.version, row.planned_to, plan.planned_to, plan.next_tick, plan_at, unique_task=unique_task
    )
    if owed is not None:
        reach = replace(reach, owed_after=owed[0], owed_upto=owed[1], noticed_at=now)
    return reach, list(plan.entries)


def plan_owed(
    compiled: Compiled, span: OwedSpan, now: datetime, most: int | None = None
) -> tuple[Reach, list[ticks.Entry]]:
    """What becomes of missed ticks: they are caught up as declared, unless their schedule ticks no more."""
    paused = span.paused_until is not None and span.paused_until > now
    reason = "paused" if paused else span.state if span.state != "active" else None
    if reason is not None:
        entries = ticks.plan_skip(compiled.schedule, span.after, span.upto, reason)
        return Reach(span.schedule_id, span.version, span.after, span.upto, owed_id=span.id), list(entries)
    plan = ticks.plan(
        compiled.schedule, span.after, span.created_at, span.noticed_at, span.upto - span.noticed_at, most
    )
    return Reach(span.schedule_id, span.version, span.after, plan.planned_to, owed_id=span.id), list(plan.entries)


def job_options(schedule: Schedule, *, lenient: bool = False) -> str | None:
    """What a job by the word of a schedule carries, for `jobs.insert`; with `lenient`, `raise` means `skip`."""
    options = {"schedule": schedule.carries(), **({"lenient": True} if lenient else {})}
    return json.dumps(options) if any(options.values()) else None


def tick_rows(
    schedule_id: int, compiled: Compiled, entries: Iterable[Judged], owed_id: int | None = None
) -> list[TickRow]:
    """The ledger's rows of entries that follow each other."""
    rows: list[TickRow] = []
    previous: datetime | None = None
    for judged in entries:
        row = tick_row(schedule_id, compiled, judged.entry, previous)
        if judged.held or judged.replaces or owed_id is not None:
            row = replace(row, held=judged.held, replaces=judged.replaces, owed_id=owed_id)
        rows.append(row)
        previous = judged.entry.through
    return rows


def tick_row(schedule_id: int, compiled: Compiled, entry: ticks.Entry, previous: datetime | None = None) -> TickRow:
    """The ledger's row of an entry, with what its job needs if it has one."""
    row = entry_row(schedule_id, entry)
    if entry.outcome != "inserted":
        return row
    schedule = compiled.schedule
    due = run_at(schedule, entry.tick)
    expires_at = due + schedule.expires_in if schedule.expires_in else None
    args = _arguments(compiled, entry.tick, previous)
    return replace(row, run_at=due, expires_at=expires_at, args=args, keyed=schedule.is_unique)


def _arguments(compiled: Compiled, tick: datetime, previous: datetime | None) -> dict[str, object]:
    """The arguments of a tick's job; `previous` is the tick before it, where the same plan has it."""
    schedule = compiled.schedule
    if compiled.args.fixed:
        return dict(schedule.args)
    timing = schedule.timing()
    args = render(
        compiled.args,
        tick=tick,
        previous_tick=previous or ticks.previous_tick(schedule, tick),
        key=schedule.key,
        zone=compiled.zone,
        local_date=timing.local_date(tick) if isinstance(timing, Cron) else None,
    )
    # What was checked when it was declared is longer now: names of days are, and keys.
    check_object(args, f"schedule {schedule.key!r}: args of the tick {tick.isoformat()}")
    return args
