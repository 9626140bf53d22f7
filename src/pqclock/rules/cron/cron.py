"""The public face of the cron law: `Cron`, an immutable schedule of instants."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import NoReturn

from pqclock.errors import CronError
from pqclock.rules.cron import notes, text, walk
from pqclock.rules.cron.instants import END, START, date_of, instant, second_at_or_after, second_at_or_before
from pqclock.rules.cron.pattern import compiled, fields_of
from pqclock.rules.cron.text import quoted
from pqclock.rules.cron.walk import Route
from pqclock.rules.cron.zones import known_zone

GAPS = ("shift", "skip")
FOLDS = ("first", "second", "both")


class Cron:
    """A cron expression in a time zone: one fixed set of instants, on whole seconds, in the years 1 to 9999.

    `expr` has five fields (minute hour day month weekday), or six with seconds first. `timezone` is an IANA
    name. `gap` says what becomes of a fixed time that the clock skips: "shift" to the first instant after the
    gap, or "skip". `fold` says which one counts of a fixed time that comes twice: "first", "second" or
    "both". Wildcard entries follow real time and heed neither.

    Raises CronError for whatever is not a schedule. Instants in and out are aware datetimes; those out are in
    UTC.
    """

    __slots__ = ("_route", "expression", "fold", "gap", "timezone")

    expression: str
    timezone: str
    gap: str
    fold: str
    _route: Route

    def __init__(self, expr: str, timezone: str = "UTC", gap: str = "shift", fold: str = "first") -> None:
        cleaned = text.clean(expr)
        parts = text.split(cleaned)
        _one_of("gap", gap, GAPS)
        _one_of("fold", fold, FOLDS)
        zone = known_zone(timezone)
        pattern = compiled(parts)
        fixed = not pattern.wildcard
        route = Route(pattern, zone, fold if fixed else "both", fixed and gap == "shift")
        values = {"expression": cleaned, "timezone": zone, "gap": gap, "fold": fold, "_route": route}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def wildcard(self) -> bool:
        """Whether the entry follows real time, because its minute, hour or second field begins with `*`."""
        return self._route.pattern.wildcard

    def next(self, after: datetime) -> datetime:
        """The first tick after `after`; CronError if the calendar ends before, or `after` is naive."""
        tick = walk.tick_after(self._route, second_at_or_before(after))
        if tick is None:
            raise CronError(f"{self.expression!r} has no tick after {after}: the calendar ends in 9999")
        return instant(tick)

    def previous(self, before: datetime) -> datetime:
        """The last tick before `before`; CronError if the calendar begins after, or `before` is naive."""
        tick = walk.tick_before(self._route, second_at_or_after(before))
        if tick is None:
            raise CronError(f"{self.expression!r} has no tick before {before}: the calendar begins in 1")
        return instant(tick)

    def ticks(self, after: datetime, before: datetime) -> Iterator[datetime]:
        """The ticks strictly between the two, rising, in UTC, computed as they are asked for."""
        return map(instant, walk.ticks_between(self._route, *_bounds(after, before)))

    def count(self, after: datetime, before: datetime) -> int:
        """How many ticks there are strictly between the two; takes its time by days and not by ticks."""
        return walk.count_between(self._route, *_bounds(after, before))

    def skipped_in_gap(self, after: datetime, before: datetime) -> Iterator[datetime]:
        """What `gap="skip"` leaves out strictly between the two: for each gap the first instant after it.

        A gap that ends on a tick of its own is not among them, since that tick runs. Empty for "shift" and
        for wildcard entries.
        """
        if self.wildcard or self.gap != "skip":
            return iter(())
        return map(instant, walk.gaps_between(self._route, *_bounds(after, before)))

    def local_date(self, tick: datetime) -> date:
        """The date, in the zone, of the local time that the tick stands for, also of one skipped in a gap.

        Where a tick stands for several, the latest counts. For an instant that is no tick: the date on the
        wall.
        """
        second = min(max(second_at_or_before(tick), START), END - 1)
        return date_of(walk.named_time(self._route, second))

    def notes(self) -> list[str]:
        """What may surprise the reader of the expression, a sentence each, for `check`."""
        return notes.notes(fields_of(text.split(self.expression)), self._route.pattern.days)

    def _key(self) -> tuple[tuple[str, ...], str, str, str]:
        return text.split(self.expression), self.timezone, self.gap, self.fold

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Cron) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Cron({self.expression!r}, timezone={self.timezone!r}, gap={self.gap!r}, fold={self.fold!r})"

    def __reduce__(self) -> tuple[type[Cron], tuple[str, str, str, str]]:
        return Cron, (self.expression, self.timezone, self.gap, self.fold)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Cron does not change: {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Cron does not change: {name} cannot be deleted")


def _bounds(after: datetime, before: datetime) -> tuple[int, int]:
    return second_at_or_before(after), second_at_or_after(before)


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        shown = quoted(value) if isinstance(value, str) else f"a value of type {type(value).__name__[:40]}"
        raise CronError(f"{name} does not take {shown}: write {' or '.join(map(repr, allowed))}")
