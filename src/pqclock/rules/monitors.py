"""A schedule as monitors of other services take it: a cron line or a period, a zone, and how late a run may begin and end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from pqclock.rules.schedule import Schedule

MARGIN = timedelta(minutes=5)
LONGEST = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
_UNITS = (
    ("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)),
)  # fmt: skip
# What every cron reads alike: numbers, names, lists, ranges and steps.
_PLAIN = re.compile(r"[0-9A-Za-z*,/-]+", re.ASCII)
_OURS = re.compile(r"[LW#?HR]", re.IGNORECASE)
_NAMES = re.compile(r"jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Monitored:
    """When runs are expected: by `cron` in `timezone`, or `every` so long; `margin` late, and `longest` long, at most."""

    cron: str | None
    every: timedelta | None
    timezone: str
    margin: timedelta
    longest: timedelta


def monitored(schedule: Schedule) -> Monitored | None:
    """What a monitor is told of a schedule; None for one whose times others do not read as we do.

    Calendars, `start` and `end` are none of their business: such a schedule is not told either.
    """
    if (
        schedule.at is not None
        or schedule.exclude is not None
        or schedule.start is not None
        or schedule.end is not None
    ):
        return None
    if schedule.cron is not None and not is_common(schedule.cron):
        return None
    late = (schedule.alert_after or MARGIN) + schedule.spread + schedule.jitter
    return Monitored(schedule.cron, schedule.every, schedule.timezone, late, schedule.timeout or LONGEST)


def is_common(cron: str) -> bool:
    """Whether a cron line has five fields that every cron reads alike."""
    fields = cron.split()
    return len(fields) == 5 and all(_PLAIN.fullmatch(one) and not _OURS.search(_NAMES.sub("", one)) for one in fields)


def in_units(every: timedelta) -> tuple[int, str] | None:
    """A period as a whole number of the largest unit that fits, from minutes on."""
    for name, unit in _UNITS:
        if every % unit == timedelta():
            return every // unit, name
    return None


def in_minutes(length: timedelta) -> int:
    """Rounded up, at least one."""
    return max(1, -(-length // MINUTE))


def slug_of(key: str) -> str:
    """The key of a schedule as a name of a-z, 0-9, - and _."""
    return re.sub(r"[^a-z0-9_-]", "-", key)
