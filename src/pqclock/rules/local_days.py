"""Days in a zone: stretches of instants with one date on the wall, and the instants of a local time.

Seconds are counted as in `cron.instants`, so that a local second divided by DAY is the ordinal of its date.
"""

from __future__ import annotations

from typing import NamedTuple

from pqclock.rules.cron.instants import DAY, END, START, date_of
from pqclock.rules.cron.spans import Span, spans


class Stretch(NamedTuple):
    """Instants from `begin` up to `end` with one date and one offset from UTC.

    The first instant after a gap is a stretch by itself, for a tick there may stand for a time before midnight.
    """

    begin: int
    end: int
    day: int
    offset: int
    after_gap: bool


def stretch_at(zone: str, second: int) -> Stretch:
    """The stretch that holds an instant."""
    second = min(max(second, START), END - 1)
    year = spans(zone, date_of(second).year, "both")
    span = next(span for span in year if second < span.end)
    day = (second + span.offset) // DAY
    if span.gap and second == span.start:
        return Stretch(second, second + 1, day, span.offset, True)
    begin = max(span.start + (span.gap > 0), day * DAY - span.offset)
    return Stretch(begin, min(span.end, (day + 1) * DAY - span.offset), day, span.offset, False)


def stretches_of(zone: str, day: int) -> list[Stretch]:
    """The stretches of a day, and those after a gap that are near enough to stand for its times."""
    found, at = [], max((day - 1) * DAY, START)
    while at < min((day + 2) * DAY, END):
        stretch = stretch_at(zone, at)
        if stretch.day == day or (stretch.after_gap and stretch.day == day + 1):
            found.append(stretch)
        at = stretch.end
    return found


def place(zone: str, local: int, gap: str, fold: str) -> list[int]:
    """The instants of a local second, by the law of clock changes: none, one, or two with a fold of "both"."""
    if not START + DAY <= local < END - DAY:
        return []
    found: list[int] = []
    for year in sorted({date_of(local - DAY).year, date_of(local + DAY).year}):
        for span in spans(zone, year, fold):
            if span.low <= local < span.high:
                found.append(local - span.offset)
            elif gap == "shift" and _skips(span, local):
                found.append(span.start)
    return found


def _skips(span: Span, local: int) -> bool:
    return 0 < span.gap <= local < span.start + span.offset
