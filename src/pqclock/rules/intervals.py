"""Schedules without a calendar: `Every` period of real time, and `At` one instant.

They answer the verbs of `Cron`: `next`, `previous` and `ticks`, on aware datetimes, with ticks in UTC on
whole seconds. There is no zone in them, no gap and no fold. Where there is no further tick, `At` answers
None, and `Every` raises CronError at the ends of the calendar, as `Cron` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pqclock.errors import CronError
from pqclock.rules.cron.instants import (
    DAY,
    END,
    START,
    instant,
    second_at_or_after,
    second_at_or_before,
    whole_second,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHORTEST = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Every:
    """The instants k times `period` away from `anchor`, for every whole k, before the anchor too.

    `period` is a whole number of seconds, one at least; a day is 24 hours. The anchor is 1970-01-01T00:00Z
    unless given, so that all leaders agree. Raises CronError for another period or anchor.
    """

    period: timedelta
    anchor: datetime | None = None
    _seconds: int = field(init=False, repr=False, compare=False)
    _origin: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.period, timedelta):
            raise CronError(f"a period is a timedelta, not {type(self.period).__name__[:40]}")
        if self.period < _SHORTEST or self.period.microseconds:
            raise CronError(f"the period {self.period} is not taken: write whole seconds, 1s or more")
        if self.anchor is not None:
            object.__setattr__(self, "anchor", whole_second(self.anchor))
        object.__setattr__(self, "_seconds", self.period.days * DAY + self.period.seconds)
        object.__setattr__(self, "_origin", second_at_or_before(self.anchor or _EPOCH))

    def next(self, after: datetime) -> datetime:
        """The first tick after `after`; CronError past the year 9999, or if `after` is naive."""
        tick = self._above(second_at_or_before(after))
        if tick >= END:
            raise CronError(f"there is no tick after {after}: the calendar ends with the year 9999")
        return instant(tick)

    def previous(self, before: datetime) -> datetime:
        """The last tick before `before`; CronError ahead of the year 1, or if `before` is naive."""
        tick = self._above(min(second_at_or_after(before), END) - 1) - self._seconds
        if tick < START:
            raise CronError(f"there is no tick before {before}: the calendar begins with the year 1")
        return instant(tick)

    def ticks(self, after: datetime, before: datetime) -> Iterator[datetime]:
        """The ticks strictly between the two, rising."""
        return map(instant, self._between(after, before))

    def count(self, after: datetime, before: datetime) -> int:
        """How many ticks lie strictly between the two, without walking them."""
        return len(self._between(after, before))

    def _between(self, after: datetime, before: datetime) -> range:
        upto = min(second_at_or_after(before), END)
        return range(self._above(second_at_or_before(after)), upto, self._seconds)

    def _above(self, second: int) -> int:
        """The first tick after `second` within the calendar."""
        second = max(second, START - 1)
        return second + self._seconds - (second - self._origin) % self._seconds


@dataclass(frozen=True, slots=True)
class At:
    """One instant, an aware datetime on a whole second, kept in UTC; CronError for another."""

    instant: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "instant", whole_second(self.instant))

    def next(self, after: datetime) -> datetime | None:
        """The instant if it is after `after`, else None."""
        return self.instant if second_at_or_before(after) < second_at_or_before(self.instant) else None

    def previous(self, before: datetime) -> datetime | None:
        """The instant if it is before `before`, else None."""
        return self.instant if second_at_or_before(self.instant) < second_at_or_after(before) else None

    def ticks(self, after: datetime, before: datetime) -> Iterator[datetime]:
        """The instant if it lies strictly between the two, else nothing."""
        inside = self.next(after) is not None and self.previous(before) is not None
        return iter((self.instant,) if inside else ())

    def count(self, after: datetime, before: datetime) -> int:
        """1 if the instant lies strictly between the two, else 0."""
        return len(list(self.ticks(after, before)))
