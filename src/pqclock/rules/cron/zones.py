"""Time zones by their IANA names, and the instants at which one changes its offset from UTC."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from pqclock.errors import CronError
from pqclock.rules.cron.instants import DAY, END, START, instant
from pqclock.rules.cron.text import quoted

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,3}")
_LONGEST_NAME = 64
# Files of a system's zone folder that are no zones: this machine's own, and twins that count leap seconds.
_NOT_IANA = re.compile(r"localtime|posixrules|posix/.*|right/.*")
# In the zone data two changes of one zone are never closer than a week, so this step sees every one of them.
_STRIDE = 2 * DAY
# `datetime` cannot convert the outermost day at either end of the calendar; no zone changes there.
_PROBED = (START + 2 * DAY, END - 2 * DAY)


class Change(NamedTuple):
    """From the instant `at` on the offset is `after`, until then it was `before`; all in seconds."""

    at: int
    before: int
    after: int


def known_zone(name: object) -> str:
    """`name`, if it is the IANA name of a zone that this machine knows; otherwise CronError."""
    if not isinstance(name, str):
        kind = type(name).__name__[:40]
        raise CronError(f"a time zone is an IANA name such as 'Europe/Berlin', not a value of type {kind}")
    if len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) and not _NOT_IANA.fullmatch(name):
        try:
            return zone(name).key
        except (KeyError, ValueError, OSError):
            pass
    raise CronError(f"the time zone {quoted(name)} is unknown: {_nearest(name)}")


@lru_cache(maxsize=512)
def zone(name: str) -> ZoneInfo:
    """The zone called `name`; the errors are those of zoneinfo."""
    return ZoneInfo(name)


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    names = _names()
    near = get_close_matches(name[:_LONGEST_NAME].lower(), names, 1)
    if near:
        return f"did you mean {names[near[0]]!r}?"
    return "write an IANA name such as 'Europe/Berlin' or 'UTC', not an offset or an abbreviation"


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    return {name.lower(): name for name in sorted(available_timezones()) if not _NOT_IANA.fullmatch(name)}


def offset_at(name: str, second: int) -> int:
    """The offset from UTC, in seconds, of the zone at an instant."""
    probe = min(max(second, _PROBED[0]), _PROBED[1])
    offset = instant(probe).astimezone(zone(name)).utcoffset()
    return offset.days * DAY + offset.seconds if offset else 0


def year_bounds(year: int) -> tuple[int, int]:
    """The first second of the year in UTC, and that of the next year."""
    begin = date(year, 1, 1).toordinal() * DAY
    return begin, (date(year + 1, 1, 1).toordinal() * DAY if year < date.max.year else END)


def changes(name: str, begin: int, end: int) -> list[Change]:
    """Every change of the offset after `begin`, up to and with `end`, in order."""
    probes = [*range(begin, end, _STRIDE), end]
    seen = [(probe, offset_at(name, probe)) for probe in probes]
    return [
        Change(_bisected(name, left, right, before), before, after)
        for (left, before), (right, after) in pairwise(seen)
        if before != after
    ]


def _bisected(name: str, left: int, right: int, before: int) -> int:
    while right - left > 1:
        middle = (left + right) // 2
        if offset_at(name, middle) == before:
            left = middle
        else:
            right = middle
    return right
