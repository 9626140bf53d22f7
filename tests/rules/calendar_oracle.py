"""An oracle for calendars: every instant named is looked at, and moved by itself, with nothing but `zoneinfo`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pqclock.rules.calendars import Exclusion
from pqclock.rules.cron import Cron
from pqclock.rules.files.entry import local_instants
from pqclock.rules.schedule import STEPS, Schedule

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
MARGIN = 33 * DAY


class Expected(NamedTuple):
    """Ticks with the instants they may come from, and what becomes of the other instants."""

    ticks: dict[datetime, set[datetime]]
    left_out: dict[datetime, str]


def expected(schedule: Schedule, after: datetime, before: datetime) -> Expected:
    """What lies strictly between the two, by brute force."""
    assert schedule.exclude is not None
    named = list(schedule.timing().ticks(after - MARGIN, before + MARGIN))
    start, end = schedule.start or after - 3 * MARGIN, schedule.end or before + 3 * MARGIN
    named = [tick for tick in named if start <= tick < end]
    days = {tick: local_time(schedule, tick).date() for tick in named}
    moves = {t: moved(schedule, t) for t in named if excluded(schedule.exclude, days[t])}
    inside = {t: [at for at in landed if start <= at < end] for t, landed in moves.items() if landed is not None}
    ticks: dict[datetime, set[datetime]] = {t: {t} for t in named if t not in moves}
    for tick, landed in inside.items():
        for at in landed:
            ticks.setdefault(at, set()).add(at if at in days else tick)
    left_out = {}
    for tick, to in moves.items():
        if tick not in ticks:
            left_out[tick] = "gap" if to == [] else "moved" if inside.get(tick) else "excluded"
    return Expected(
        {at: sources for at, sources in ticks.items() if after < at < before},
        {at: reason for at, reason in left_out.items() if after < at < before},
    )


def excluded(exclusion: Exclusion, day: date) -> bool:
    return day.weekday() in exclusion.weekdays or day.toordinal() in exclusion.days


def moved(schedule: Schedule, tick: datetime) -> list[datetime] | None:
    """The instants to which the tick of an excluded day comes; None when it has nowhere to go."""
    assert schedule.exclude is not None
    step, local = STEPS.get(schedule.on_excluded, 0), local_time(schedule, tick)
    for distance in range(1, 31 if step else 1):
        there = local + step * distance * DAY
        if not excluded(schedule.exclude, there.date()):
            return local_instants(there, schedule.timezone, schedule.gap, schedule.fold)
    return None


def local_time(schedule: Schedule, tick: datetime) -> datetime:
    """The local time that a tick stands for, naive."""
    zone, timing = ZoneInfo(schedule.timezone), schedule.timing()
    local = tick.astimezone(zone).replace(tzinfo=None)
    if not isinstance(timing, Cron):
        return local
    jump = local - (tick - SECOND).astimezone(zone).replace(tzinfo=None) - SECOND
    wall = local.replace(tzinfo=UTC)
    names = set(Cron(timing.expression).ticks(wall - jump - SECOND, wall + SECOND))
    if jump <= timedelta() or jump >= timedelta(hours=3):
        return local
    return max(name.replace(tzinfo=None) for name in names)
