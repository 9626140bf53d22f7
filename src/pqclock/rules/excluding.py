"""The ticks of a schedule with calendars, on days that none of them excludes.

`Excluding` leaves out the ticks of excluded days; `moving` brings them to other days. Both answer the verbs of `Cron`,
and tell what was left out, for the ledger. The day of a tick is the local date of the time that it stands for.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from pqclock.errors import CronError
from pqclock.rules.calendars import Exclusion
from pqclock.rules.cron import Cron
from pqclock.rules.cron.instants import DAY, END, START, instant, second_at_or_after, second_at_or_before
from pqclock.rules.intervals import At, Every
from pqclock.rules.local_days import Stretch, stretch_at

Nominal = Cron | Every | At

# Days and weekdays of the calendar come together again after at most 40 years: what has no tick until then has none.
LONG = 41 * 366


class LeftOut(NamedTuple):
    """Ticks that follow each other, from `first` through `last`, and why they do not tick at their own instants."""

    first: datetime
    last: datetime
    number: int
    outcome: str
    reason: str


class Excluding:
    """The ticks of `timing` on days that are not excluded."""

    def __init__(self, timing: Nominal, zone: str, exclusion: Exclusion) -> None:
        self.timing = timing
        self.zone = zone
        self.exclusion = exclusion

    def next(self, after: datetime) -> datetime | None:
        """The first tick after an instant, or None."""
        return self.stays_after(second_at_or_before(after), END)

    def previous(self, before: datetime) -> datetime | None:
        """The last tick before an instant, or None."""
        return self.stays_before(second_at_or_after(before), START)

    def ticks(self, after: datetime, before: datetime) -> Iterator[datetime]:
        """The ticks strictly between the two, rising."""
        for begin, end, excluded in self.runs(after, before):
            if not excluded:
                yield from self.timing.ticks(*around(begin, end))

    def count(self, after: datetime, before: datetime) -> int:
        """How many ticks lie strictly between the two; takes its time by days and not by ticks."""
        runs = self.runs(after, before)
        return sum(self.timing.count(*around(begin, end)) for begin, end, excluded in runs if not excluded)

    def left_out(self, after: datetime, before: datetime) -> Iterator[LeftOut]:
        """The instants of `timing` strictly between the two that are no ticks."""
        for begin, end, excluded in self.runs(after, before):
            count = self.timing.count(*around(begin, end)) if excluded else 0
            if count:
                first, last = following(self.timing, begin - 1), preceding(self.timing, end)
                assert first is not None and last is not None
                yield LeftOut(first, last, count, "skipped", "excluded")

    def nominal(self, tick: datetime) -> datetime:
        """The instant that a tick was moved from; its own if it was not."""
        return tick

    def stays_after(self, second: int, stop: int) -> datetime | None:
        """The first tick after `second` and before `stop` that is where it was named."""
        limit = max(second // DAY, self.exclusion.last) + LONG
        tick = following(self.timing, second)
        while tick is not None and (at := second_at_or_before(tick)) < stop and at // DAY <= limit:
            end = self._excluded_upto(at)
            if end == at:
                return tick
            tick = following(self.timing, end - 1)
        return None

    def stays_before(self, second: int, stop: int) -> datetime | None:
        """The last tick before `second` and not before `stop` that is where it was named."""
        limit = min(second // DAY, min(self.exclusion.days, default=second // DAY)) - LONG
        tick = preceding(self.timing, second)
        while tick is not None and (at := second_at_or_before(tick)) >= stop and at // DAY >= limit:
            begin = self._excluded_from(at)
            if begin > at:
                return tick
            tick = preceding(self.timing, begin)
        return None

    def _excluded_upto(self, second: int) -> int:
        """The end of the excluded days that hold `second`, or `second` itself if they do not."""
        while second < END and self._excluded(stretch := stretch_at(self.zone, second)):
            second = stretch.end
        return second

    def _excluded_from(self, second: int) -> int:
        """The beginning of the excluded days that hold `second`, or the second after it if they do not."""
        second += 1
        while second > START and self._excluded(stretch := stretch_at(self.zone, second - 1)):
            second = stretch.begin
        return second

    def _excluded(self, stretch: Stretch) -> bool:
        return self.exclusion.excludes(self.day_named(stretch))

    def day_named(self, stretch: Stretch) -> int:
        """The day of the ticks of a stretch: after a gap that of the time they stand for."""
        if stretch.after_gap and isinstance(self.timing, Cron):
            return self.timing.local_date(instant(stretch.begin)).toordinal()
        return stretch.day

    def runs(self, after: datetime, before: datetime) -> Iterator[tuple[int, int, bool]]:
        """The seconds strictly between the two, in turns of excluded days and others."""
        at, end = max(second_at_or_before(after) + 1, START), min(second_at_or_after(before), END)
        while at < end:
            begin, excluded = at, self._excluded(stretch_at(self.zone, at))
            while at < end and self._excluded(stretch := stretch_at(self.zone, at)) is excluded:
                at = stretch.end
            yield begin, min(at, end), excluded


def following(timing: Nominal, second: int) -> datetime | None:
    """The first instant of `timing` after a second, or None."""
    try:
        return timing.next(instant(min(max(second, START), END - 1)))
    except CronError:
        return None


def preceding(timing: Nominal, second: int) -> datetime | None:
    """The last instant of `timing` before a second, or None."""
    try:
        return timing.previous(instant(min(max(second, START), END - 1)))
    except CronError:
        return None


def around(begin: int, end: int) -> tuple[datetime, datetime]:
    """The instants just outside the seconds from `begin` up to `end`."""
    return instant(max(begin - 1, START)), instant(min(end, END - 1))
