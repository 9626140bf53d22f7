"""The next and the previous tick, over the spans of a zone.

Within a span a tick is a named local time less the offset, so missing times are never tried, whatever their
number. Years without a named date are leapt over: every later tick stands for a local time that is not before
the one found, and no zone is a day away from UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from pqclock.rules.cron.instants import DAY, date_of
from pqclock.rules.cron.pattern import Pattern
from pqclock.rules.cron.spans import Span, spans


class Route(NamedTuple):
    """A pattern in a zone: which pass of a fold counts, and whether skipped times run after their gap."""

    pattern: Pattern
    zone: str
    fold: str
    shifts: bool


def tick_after(route: Route, second: int) -> int | None:
    """The first tick after `second`, or None before the calendar ends."""
    pattern = route.pattern
    year, whole = date_of(second).year, False
    while year <= date.max.year:
        named = 0
        for span in spans(route.zone, year, route.fold):
            if span.end <= second + 1:
                continue
            if route.shifts and span.gap and span.start > second and is_skipping(pattern, span):
                return span.start
            named = pattern.next(max(span.low, second + 1 + span.offset))
            if named < span.high:
                return named - span.offset
        year, whole = max(year + 1, date_of(named - DAY).year if whole else 0), True
    return None


def tick_before(route: Route, second: int) -> int | None:
    """The last tick before `second`, or None after the calendar began."""
    pattern = route.pattern
    year, whole = date_of(second).year, False
    while year >= date.min.year:
        named = 0
        for span in reversed(spans(route.zone, year, route.fold)):
            if span.start >= second:
                continue
            named = pattern.previous(min(span.high, second + span.offset) - 1)
            if named >= span.low:
                return named - span.offset
            if route.shifts and span.gap and is_skipping(pattern, span):
                return span.start
        year, whole = min(year - 1, date_of(named + DAY).year if whole else year), True
    return None


def ticks_between(route: Route, after: int, before: int) -> Iterator[int]:
    """The ticks after `after` and before `before`, in order."""
    tick = tick_after(route, after)
    while tick is not None and tick < before:
        yield tick
        tick = tick_after(route, tick)


def count_between(route: Route, after: int, before: int) -> int:
    """How many ticks come after `after` and before `before`: by days and spans, not one by one."""
    pattern, found = route.pattern, 0
    for year in range(date_of(after).year, date_of(before).year + 1):
        for span in spans(route.zone, year, route.fold):
            low, high = max(span.low, after + 1 + span.offset), min(span.high, before + span.offset)
            found += pattern.count(low, high)
            if route.shifts and after < span.start < before and is_skipping(pattern, span):
                found += not _names_start(pattern, span)
    return found


def is_skipping(pattern: Pattern, span: Span) -> bool:
    """Whether the gap at the start of the span skips a named time."""
    return bool(span.gap) and pattern.next(span.gap) < span.start + span.offset


def gaps_between(route: Route, after: int, before: int) -> Iterator[int]:
    """The ends of gaps that skip a named time, strictly between the two, unless a tick is there."""
    pattern = route.pattern
    for year in range(date_of(after).year, date_of(before).year + 1):
        for span in spans(route.zone, year, route.fold):
            if after < span.start < before and is_skipping(pattern, span) and not _names_start(pattern, span):
                yield span.start


def named_time(route: Route, second: int) -> int:
    """The local time that the instant stands for: the last named in a gap that ends there, or the wall's."""
    pattern = route.pattern
    for span in spans(route.zone, date_of(second).year, route.fold):
        if span.start <= second < span.end:
            local = second + span.offset
            caught_up = second == span.start and not pattern.wildcard and is_skipping(pattern, span)
            return pattern.previous(local - 1) if caught_up and not _names_start(pattern, span) else local
    return second


def _names_start(pattern: Pattern, span: Span) -> bool:
    local = span.start + span.offset
    return pattern.next(local) == local
