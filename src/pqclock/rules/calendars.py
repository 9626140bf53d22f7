"""Calendars as values: sets of days, and what those of one schedule exclude together.

Days are counted by `date.toordinal()`, as the walk over dates does. An exclusion is self-contained: it holds the days
themselves, so whoever reads a schedule from the database needs no file; the names are kept for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DATES_LIMIT = 10_000  # of one calendar, and of the calendars of one schedule together
MOVE_LIMIT = 30  # days; a tick that finds no business day within them is skipped
_SHARED = 1024


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days by date and by weekday, such as the holidays of a country and its weekends."""

    dates: frozenset[date] = frozenset()
    weekdays: frozenset[str] = frozenset()

    def plain(self) -> dict[str, object]:
        """The days as JSON, in order; what is empty is left out."""
        found: dict[str, object] = {}
        if self.dates:
            found["dates"] = [day.isoformat() for day in sorted(self.dates)]
        if self.weekdays:
            found["weekdays"] = [name for name in WEEKDAYS if name in self.weekdays]
        return found


@dataclass(frozen=True, slots=True)
class Exclusion:
    """The days on which a schedule does not tick: `days` as ordinals, and `weekdays` counted from Monday, 0."""

    names: tuple[str, ...]
    days: frozenset[int]
    weekdays: frozenset[int]
    last: int

    def excludes(self, day: int) -> bool:
        """Whether the day with this ordinal is excluded."""
        return (day - 1) % 7 in self.weekdays or day in self.days

    def target(self, day: int, step: int) -> int | None:
        """The nearest day in the direction of `step` that is not excluded; None when the limit of a move has none."""
        days = range(day + step, day + step * (MOVE_LIMIT + 1), step)
        return next((other for other in days if not self.excludes(other)), None)

    def sources(self, day: int, step: int) -> list[int]:
        """The excluded days whose target is `day`, the farthest first."""
        found: list[int] = []
        while len(found) < MOVE_LIMIT and self.excludes(day - step * (len(found) + 1)):
            found.append(day - step * (len(found) + 1))
        return found[::-1]

    def plain(self) -> dict[str, object]:
        """The exclusion as JSON; `exclusion_of` takes it back."""
        weekdays = [WEEKDAYS[number] for number in sorted(self.weekdays)]
        return {"names": list(self.names), "dates": list(_texts(self)), "weekdays": weekdays}


def excluded_by(names: Iterable[str], calendars: Iterable[Calendar]) -> Exclusion:
    """What these calendars exclude together; dates that fall on an excluded weekday are not needed."""
    calendars = tuple(calendars)
    weekdays = frozenset[str]().union(*(calendar.weekdays for calendar in calendars))
    dates = frozenset[date]().union(*(calendar.dates for calendar in calendars))
    needed = (day for day in sorted(dates) if WEEKDAYS[day.weekday()] not in weekdays)
    ordered = tuple(name for name in WEEKDAYS if name in weekdays)
    return _shared(tuple(names), tuple(map(date.isoformat, needed)), ordered)


def exclusion_of(plain: Mapping[str, Any]) -> Exclusion:
    """The exclusion that `Exclusion.plain` gave."""
    return _shared(*(tuple(plain.get(name, ())) for name in ("names", "dates", "weekdays")))


# Thousands of schedules share a few calendars: equal exclusions are one object.
@lru_cache(maxsize=_SHARED)
def _shared(names: tuple[str, ...], dates: tuple[str, ...], weekdays: tuple[str, ...]) -> Exclusion:
    days = frozenset(date.fromisoformat(text).toordinal() for text in dates)
    return Exclusion(names, days, frozenset(map(WEEKDAYS.index, weekdays)), max(days, default=0))


@lru_cache(maxsize=_SHARED)
def _texts(exclusion: Exclusion) -> tuple[str, ...]:
    return tuple(date.fromordinal(day).isoformat() for day in sorted(exclusion.days))
