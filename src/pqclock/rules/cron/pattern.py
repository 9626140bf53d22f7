"""A compiled expression: the set of local times that it names, before any zone has a say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from pqclock.errors import CronError
from pqclock.rules.cron import fields
from pqclock.rules.cron.fields import Written
from pqclock.rules.cron.instants import DAY, END
from pqclock.rules.cron.months import DayRule, Days, days_of
from pqclock.rules.cron.text import quoted
from pqclock.rules.cron.times import Times

_FIVE = (fields.MINUTE, fields.HOUR, fields.DAY, fields.MONTH, fields.WEEKDAY)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Times of day on days, `wildcard` or fixed."""

    times: Times
    days: Days
    wildcard: bool

    def next(self, local: int) -> int:
        """The first named local second from `local` on; END if the calendar ends before."""
        day, at = divmod(local, DAY)
        found = self.days.next(day)
        if found == day:
            time = self.times.next(at)
            if time >= 0:
                return day * DAY + time
            found = self.days.next(day + 1)
        return found * DAY + self.times.first if found else END

    def previous(self, local: int) -> int:
        """The last named local second up to `local`; 0 if the calendar begins after."""
        day, at = divmod(local, DAY)
        found = self.days.previous(day)
        if found == day:
            time = self.times.previous(at)
            if time >= 0:
                return day * DAY + time
            found = self.days.previous(day - 1)
        return found * DAY + self.times.last if found else 0

    def count(self, low: int, high: int) -> int:
        """How many local seconds are named from `low` up to but not `high`."""
        if low >= high:
            return 0
        (first, at), (last, end) = divmod(low, DAY), divmod(high, DAY)
        whole = self.days.count(first, last) * self.times.total
        before = self.days.count(first, first + 1) * self.times.below(at)
        return whole - before + (self.days.count(last, last + 1) * self.times.below(end) if end else 0)


@lru_cache(maxsize=1024)
def compiled(parts: tuple[str, ...]) -> Pattern:
    """The pattern of the fields that `text.split` gave; CronError for a field or a date that is none."""
    written = fields_of(parts)
    second, minute, hour, day, month, weekday = _expanded(written)
    days = days_of(tuple(sorted(month)), _day_rule(written[2], written[4], day, weekday))
    if not days.ever():
        raise CronError(f"{quoted(' '.join(parts))} never comes: write a day that one of its months has")
    times = Times(_mask(hour), _mask(minute), _mask(second))
    return Pattern(times, days, _is_wildcard(written))


def fields_of(parts: tuple[str, ...]) -> tuple[Written, ...]:
    """The fields as written, seconds last if there are any."""
    kinds = _FIVE if len(parts) == 5 else (fields.SECOND, *_FIVE)
    names_only = "?" in parts
    written = tuple(fields.read(kind, part, names_only) for kind, part in zip(kinds, parts, strict=True))
    return written if len(parts) == 5 else (*written[1:], written[0])


def _expanded(written: tuple[Written, ...]) -> list[list[int]]:
    """The plain values by field, seconds first."""
    # Late, because croniter brings dateutil: 60 ms and 5 MB, which only schedules need to pay.
    from croniter import croniter

    text = " ".join(",".join(part.plain) or "*" for part in written)
    expanded = croniter.expand(text)[0]
    values = [
        (list(range(part.field.low, part.field.high + 1)) if "*" in found else found) if part.plain else []
        for part, found in zip(written, expanded, strict=True)
    ]
    return [*values[5:], *values[:5]] if len(values) == 6 else [[0], *values]


def _day_rule(day: Written, weekday: Written, days: list[int], weekdays: list[int]) -> DayRule:
    kinds = [form.kind for form in day.special]
    return DayRule(
        days=_mask(days),
        last="L" in kinds,
        last_workday="LW" in kinds,
        nearest=sum(form.day for form in day.special if form.kind == "W"),
        weekdays=_mask(weekdays),
        nth=tuple(sorted({(form.day, form.nth) for form in weekday.special})),
        both=day.starred or weekday.starred,  # Debian's cron: by the first character, so `*/2` is a star too
    )


def _is_wildcard(written: tuple[Written, ...]) -> bool:
    minute, hour = written[:2]
    return minute.starred or hour.starred or (len(written) == 6 and written[5].starred)


def _mask(values: Iterable[int]) -> int:
    mask = 0
    for value in values:
        mask |= 1 << value
    return mask
