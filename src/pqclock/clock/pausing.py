"""Plan a paused schedule: its ticks are skipped, and it is looked at again when the pause ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from pqclock.rules import ticks
from pqclock.rules.schedule import Schedule
from pqclock.store.ahead import Ahead
from pqclock.store.changing import ENDLESS
from pqclock.store.planning import Compiled, plan_row
from pqclock.store.schedules import DueSchedule, Reach

_INSTANT = timedelta(microseconds=1)


def plan_paused(
    compiled: Compiled, row: DueSchedule, until: datetime, now: datetime, ahead: Ahead, most: int | None = None
) -> tuple[Reach, list[ticks.Entry]]:
    """Skip what passes before `until`, the end of the pause; if that is near or past, plan what comes after it.

    While it is far, only what has passed is written down: a few rows, whatever the length of the pause.
    """
    schedule = compiled.schedule
    passed = max(row.planned_to, min(now, until - _INSTANT))
    entries = list(ticks.plan_skip(schedule, row.planned_to, passed, "paused"))
    wake = ahead.plan_at(schedule, until)
    assert wake is not None
    if until >= ENDLESS:
        return Reach(row.id, row.version, row.planned_to, passed), entries
    if wake > now:
        following = ticks.next_tick(schedule, until - _INSTANT)
        return Reach(row.id, row.version, row.planned_to, passed, following, wake), entries
    entries += _ahead(schedule, passed, until - _INSTANT)
    reach, after = plan_row(compiled, replace(row, planned_to=until - _INSTANT), now, ahead, most)
    return replace(reach, planned_from=row.planned_to), [*entries, *after]


def _ahead(schedule: Schedule, after: datetime, upto: datetime) -> Iterator[ticks.Entry]:
    """A row for each tick that will be skipped: a pause that ends earlier takes them back one by one."""
    while after < upto:
        tick = ticks.next_tick(schedule, after)
        reached = upto if tick is None else min(tick, upto)
        yield from ticks.plan_skip(schedule, after, reached, "paused")
        after = reached
