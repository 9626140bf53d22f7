"""What `exclude` and `on_excluded` say of one schedule: names become days, and doubts are told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pqclock.rules.calendars import DATES_LIMIT, WEEKDAYS, Calendar, excluded_by
from pqclock.rules.cron import Cron
from pqclock.rules.files.findings import show
from pqclock.rules.files.kinds import Fault
from pqclock.rules.schedule import EPOCH, STEPS, Schedule, cron_of

# Moved ticks are looked at one by one: this is one every five minutes.
MOVED_LIMIT = 288
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


def resolve(values: dict[str, Any], calendars: Mapping[str, Calendar] | None) -> list[Fault]:
    """Put the days of its calendars in the place of their names, in `values`."""
    names = values.pop("exclude", ())
    if not names:
        return []
    if calendars is None:
        return [Fault("names calendars, which only schedule files declare", ("exclude",), on_key=True)]
    exclusion = excluded_by(names, [calendars[name] for name in names if name in calendars])
    values["exclude"] = exclusion
    if len(exclusion.weekdays) == len(WEEKDAYS):
        return [Fault("leaves no day at all: together these calendars exclude every weekday", ("exclude",))]
    if len(exclusion.days) > DATES_LIMIT:
        return [Fault(f"excludes {len(exclusion.days):,} dates, the limit is {DATES_LIMIT:,}", ("exclude",))]
    return []


def moving_faults(schedule: Schedule) -> list[Fault]:
    """The faults of ticks that calendars move or leave out."""
    if schedule.exclude is None:
        return []
    if schedule.on_excluded in STEPS and ticks_a_day(schedule) > MOVED_LIMIT:
        more = f"at most {MOVED_LIMIT:,} ticks of a day can be moved"
        return [Fault(f"= {show(schedule.on_excluded)} is for rarer ticks: {more}", ("on_excluded",))]
    # Past the last date only weekdays count, so what has no tick from there on has none.
    last = EPOCH + timedelta(days=max(schedule.exclude.last - EPOCH.toordinal(), 0))
    since = schedule.at - 40 * _DAY if schedule.at else max(schedule.start or EPOCH, last)
    tick = schedule.ticking().next(since - _SECOND)
    if tick is not None:
        return []
    return [Fault("leaves no tick: all fall on excluded days", ("exclude",), "warning")]


def ticks_a_day(schedule: Schedule) -> int:
    """How many ticks a day has, at most."""
    if schedule.every is not None:
        return -(-_DAY // schedule.every)
    if schedule.cron is None:
        return 1
    names: Cron = cron_of(schedule.cron, "UTC", "shift", "first")
    day = names.next(datetime(2020, 1, 1, tzinfo=UTC)).replace(hour=0, minute=0, second=0)
    return names.count(day - _SECOND, day + _DAY)
