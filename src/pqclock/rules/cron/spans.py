"""The law of clock changes: the stretches of local time that count between two changes of the offset.

Debian's cron keeps a virtual clock: after a change of less than three hours backwards, fixed jobs wait until
the wall clock has arrived where it was before; after one forwards, they catch up at once. A change of three
hours or more is taken as it comes.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from pqclock.rules.cron.instants import DAY, END, START
from pqclock.rules.cron.zones import Change, changes, offset_at, year_bounds

MOVE = 3 * 3600
# Wide enough for a change beyond the end of the year to have its say about the last hours of the year.
_MARGIN = 2 * DAY


class Span(NamedTuple):
    """Instants from `start` up to `end` with one `offset`; local times from `low` up to `high` count in it.

    `gap` is the first local time that the change at `start` skipped, the last being the one before start +
    offset; 0 if it skipped none.
    """

    start: int
    end: int
    offset: int
    low: int
    high: int
    gap: int


@lru_cache(maxsize=2048)
def spans(zone: str, year: int, fold: str) -> tuple[Span, ...]:
    """The spans of a year in UTC; the pass of repeated local times that counts is first, second or both."""
    begin, end = year_bounds(year)
    first, last = max(begin - _MARGIN, START), min(end + _MARGIN, END)
    inner = changes(zone, first, last)
    before = offset_at(zone, first)
    after = inner[-1].after if inner else before
    edges = [Change(first, before, before), *inner, Change(last, after, after)]
    return tuple(
        _span(enter, leave, begin, end, fold)
        for enter, leave in pairwise(edges)
        if max(enter.at, begin) < min(leave.at, end)
    )


def _span(enter: Change, leave: Change, begin: int, end: int, fold: str) -> Span:
    start, stop = max(enter.at, begin), min(leave.at, end)
    low, high = max(start + enter.after, START), min(stop + enter.after, END)
    if fold == "first" and -MOVE < enter.after - enter.before < 0:
        low = max(low, enter.at + enter.before)
    if fold == "second" and -MOVE < leave.after - leave.before < 0:
        high = min(high, leave.at + leave.after)
    skips = start == enter.at and 0 < enter.after - enter.before < MOVE
    return Span(start, stop, enter.after, low, high, enter.at + enter.before if skips else 0)
