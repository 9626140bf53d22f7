"""Durations as people write them in schedule files, flags and code: `500ms`, `15s`, `1h30m`, `1w`."""

from __future__ import annotations

import re
from datetime import timedelta

from pqclock.errors import DurationError

# From the largest to the smallest: a duration names each unit once, in this order.
UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
PATTERN = r"(?=[0-9])" + "".join(rf"(?:([0-9]{{1,9}}){unit})?" for unit in UNITS)
_TEXT = re.compile(PATTERN, re.ASCII)
_LONGEST = timedelta(days=36_525)


def parse_duration(text: str | timedelta) -> timedelta:
    """The length of time that `text` names; a timedelta that is not negative is taken as it is.

    Raises DurationError for anything else, and for more than a hundred years.
    """
    if isinstance(text, timedelta):
        return _bounded(text, str(text))
    match = _TEXT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        shown = str(text)[:40]
        seconds = f"{shown}s for seconds, or " if shown.isascii() and shown.isdecimal() else ""
        raise DurationError(f"{shown!r} is not a duration: write {seconds}for example 500ms, 15s, 5m, 1h30m, 1d or 2w")
    amounts = zip(match.groups(), UNITS.values(), strict=True)
    try:
        return _bounded(sum((int(n) * unit for n, unit in amounts if n), timedelta()), text)
    except OverflowError:
        return _bounded(timedelta.max, text)


def _bounded(duration: timedelta, text: str) -> timedelta:
    if not timedelta() <= duration <= _LONGEST:
        raise DurationError(f"{text[:40]!r} is out of range: a duration is at least 0s and at most 100 years (5217w)")
    return duration


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as `duration`, to the millisecond."""
    left = duration // UNITS["ms"]
    parts = []
    for unit, length in UNITS.items():
        amount, left = divmod(left, length // UNITS["ms"])
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"
