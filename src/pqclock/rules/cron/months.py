"""Days of the month: a rule gives each of the 28 shapes of a month the bit mask of its days.

A month has 28 to 31 days and begins on one of seven weekdays, and nothing else decides which of its days
match. All 28 shapes occur, the ones of February too, so a rule that no shape of its months matches never
comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from pqclock.rules.cron.fields import LAST

LAST_ORDINAL = date.max.toordinal()
SHORTEST = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class DayRule:
    """Which days of a month match; bit n of `days` is day n, bit 0 of `weekdays` is Sunday.

    `both`: a day must match by its number and by its weekday, otherwise either is enough.
    """

    days: int
    last: bool
    last_workday: bool
    nearest: int
    weekdays: int
    nth: tuple[tuple[int, int], ...]
    both: bool

    def matches(self, length: int, begins: int) -> int:
        """The days of a month of `length` days whose first is the weekday `begins` (0 is Sunday)."""
        numbered = self._numbered(length, begins)
        named = self._named(length, begins)
        return numbered & named if self.both else numbered | named

    def _numbered(self, length: int, begins: int) -> int:
        found = self.days & ((2 << length) - 1)
        if self.last:
            found |= 1 << length
        if self.last_workday:
            found |= 1 << _nearest_workday(length, length, begins)
        if 0 < self.nearest <= length:
            found |= 1 << _nearest_workday(self.nearest, length, begins)
        return found

    def _named(self, length: int, begins: int) -> int:
        found = sum(1 << day for day in range(1, length + 1) if self.weekdays >> _weekday(day, begins) & 1)
        for weekday, nth in self.nth:
            days = range(1 + (weekday - begins) % 7, length + 1, 7)
            if nth <= len(days):
                found |= 1 << days[LAST if nth == LAST else nth - 1]
        return found


def _weekday(day: int, begins: int) -> int:
    return (begins + day - 1) % 7


def _nearest_workday(day: int, length: int, begins: int) -> int:
    weekday = _weekday(day, begins)
    if weekday == 6:
        return day - 1 if day > 1 else day + 2
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day


@lru_cache(maxsize=4096)
def month_at(index: int) -> tuple[int, int]:
    """The ordinal of the first and the shape of month `index`, which is year * 12 + month - 1."""
    year, month = divmod(index, 12)
    first = date(year, month + 1, 1).toordinal()
    leap = month == 1 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return first, (SHORTEST[month] + leap - 28) * 7 + first % 7


@dataclass(frozen=True, slots=True)
class Days:
    """The days of an expression: its rule, the months it names, and the mask of each shape of a month."""

    rule: DayRule
    months: tuple[int, ...]
    masks: tuple[int, ...]

    def ever(self) -> bool:
        """Whether any date matches."""
        return any(any(self._possible(month)) for month in self.months)

    def _possible(self, month: int) -> tuple[int, ...]:
        if month == 2:
            return self.masks[:14]
        start = (SHORTEST[month - 1] - 28) * 7
        return self.masks[start : start + 7]

    def count(self, first: int, beyond: int) -> int:
        """How many dates match, from `first` up to but not `beyond`."""
        if first >= beyond:
            return 0
        begin, end = date.fromordinal(first), date.fromordinal(beyond - 1)
        found = 0
        for index in range(begin.year * 12 + begin.month - 1, end.year * 12 + end.month):
            if index % 12 + 1 in self.months:
                day_zero, shape = month_at(index)
                mask = self.masks[shape] & ((2 << min(beyond - day_zero, 31)) - 1)
                found += (mask >> max(first - day_zero + 1, 0)).bit_count()
        return found

    def next(self, ordinal: int) -> int:
        """The first matching date from `ordinal` on, or 0 if the calendar ends before."""
        if ordinal > LAST_ORDINAL:
            return 0
        day = date.fromordinal(ordinal)
        year, month = day.year, day.month
        if month in self.months:
            left = self.masks[month_at(year * 12 + month - 1)[1]] >> day.day
            if left:
                return ordinal + (left & -left).bit_length() - 1
        return self._after(year, month)

    def _after(self, year: int, month: int) -> int:
        while year <= date.max.year:
            for later in self.months:
                if later > month:
                    first, shape = month_at(year * 12 + later - 1)
                    mask = self.masks[shape]
                    if mask:
                        return first + (mask & -mask).bit_length() - 2
            year, month = year + 1, 0
        return 0

    def previous(self, ordinal: int) -> int:
        """The last matching date up to `ordinal`, or 0 if the calendar begins after."""
        if ordinal < 1:
            return 0
        day = date.fromordinal(ordinal)
        year, month = day.year, day.month
        if month in self.months:
            first, shape = month_at(year * 12 + month - 1)
            left = self.masks[shape] & ((2 << day.day) - 1)
            if left:
                return first + left.bit_length() - 2
        return self._before(year, month)

    def _before(self, year: int, month: int) -> int:
        while year >= date.min.year:
            for earlier in reversed(self.months):
                if earlier < month:
                    first, shape = month_at(year * 12 + earlier - 1)
                    if self.masks[shape]:
                        return first + self.masks[shape].bit_length() - 2
            year, month = year - 1, 13
        return 0


@lru_cache(maxsize=1024)
def days_of(months: tuple[int, ...], rule: DayRule) -> Days:
    """The days of a rule; the mask of a shape is at (length - 28) * 7 + weekday of the first."""
    return Days(rule, months, tuple(rule.matches(length, begins) for length in (28, 29, 30, 31) for begins in range(7)))
