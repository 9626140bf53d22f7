"""An oracle: Debian's cron as a scan of every minute beside a virtual wall clock.

Written apart from the package, from the manual and the main loop of Debian's cron: nothing here is clever,
fast or shared with it. The wall clock is compared with a virtual one. One minute on: run what matches.
Forward by less than three hours: the virtual clock catches up, and fixed jobs that it passes run now. Back by
less than three hours: wildcard jobs run, fixed jobs wait until the wall clock has caught up. Three hours or
more: the virtual clock is set to the wall clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


class VirtualCron:
    """A five-field expression that is known to be right; `ticks` are its runs by Debian's law."""

    def __init__(self, expr: str) -> None:
        minute, hour, self.day, month, self.weekday = expr.upper().replace("?", "*").split()
        self.minutes = values(minute, 0, 59)
        self.hours = values(hour, 0, 23)
        self.months = values(month, 1, 12, MONTHS)
        self.wildcard = minute[0] == "*" or hour[0] == "*"

    def ticks(
        self, zone: str, begin: datetime, end: datetime, gap: str = "shift", fold: str = "first"
    ) -> Iterator[datetime]:
        """The runs from `begin` up to `end`, both in UTC and on a minute, `begin` not shortly after a change."""
        virtual = wall(begin, zone) - MINUTE
        while begin < end:
            now = wall(begin, zone)
            jump = (now - virtual) // MINUTE - 1
            run = self.names(now)
            if abs(jump) >= 180:
                virtual = now
            elif jump >= 0:
                run = run or (gap == "shift" and self._passes(virtual, now))
                virtual = now
            elif not self.wildcard:
                run = run and fold != "first"
            if not self.wildcard and fold == "second" and comes_again(begin, zone):
                run = False
            if run:
                yield begin
            begin += MINUTE

    def names(self, local: datetime) -> bool:
        """Whether the wall clock time matches."""
        return local.minute in self.minutes and local.hour in self.hours and self.names_date(local.date())

    def names_date(self, day: date) -> bool:
        """Whether the date matches, with Debian's rule for the two day fields."""
        if day.month not in self.months:
            return False
        by_day, by_weekday = self._by_day(day), self._by_weekday(day)
        if self.day[0] == "*" or self.weekday[0] == "*":
            return by_day and by_weekday
        return by_day or by_weekday

    def _passes(self, virtual: datetime, now: datetime) -> bool:
        if self.wildcard:
            return False
        skipped = virtual + MINUTE
        while skipped < now:
            if self.names(skipped):
                return True
            skipped += MINUTE
        return False

    def _by_day(self, day: date) -> bool:
        for item in self.day.split(","):
            if item == "L":
                found = (day + DAY).day == 1
            elif item == "LW":
                found = day == max(d for d in month_of(day) if d.weekday() < 5)
            elif item.endswith("W"):
                found = day == nearest(day, int(item[:-1]))
            else:
                found = day.day in values(item, 1, 31)
            if found:
                return True
        return False

    def _by_weekday(self, day: date) -> bool:
        for item in self.weekday.split(","):
            weekday, _, nth = item.replace("#L", "L").partition("#")
            last = weekday.endswith("L")
            if day.isoweekday() % 7 not in {v % 7 for v in values(weekday.rstrip("L"), 0, 6, WEEKDAYS)}:
                continue
            same = [d for d in month_of(day) if d.weekday() == day.weekday()]
            if last and day != same[-1]:
                continue
            if nth and same.index(day) + 1 != int(nth):
                continue
            return True
        return False


def values(text: str, low: int, high: int, names: list[str] | None = None) -> set[int]:
    """The values of a field of plain items."""
    found: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, stop = low, high
        else:
            start = number(first, low, names)
            stop = number(last, low, names) if dash else (high if step else start)
            if last == "SUN" and first != "SUN":
                stop = 7
        found |= set(range(start, max(start, stop) + 1, int(step or 1)))
    return found


def number(text: str, low: int, names: list[str] | None) -> int:
    return names.index(text) + low if names and text in names else int(text)


def month_of(day: date) -> list[date]:
    first = day.replace(day=1)
    return [first + n * DAY for n in range(31) if (first + n * DAY).month == day.month]


def nearest(day: date, number: int) -> date | None:
    """The Monday-to-Friday of the month nearest to its day `number`; Saturdays lean back, Sundays forward."""
    month = month_of(day)
    if number > len(month):
        return None
    wanted = month[number - 1]
    lean = 1 if wanted.weekday() == 6 else -1
    return min((d for d in month if d.weekday() < 5), key=lambda d: (abs(d - wanted), (wanted - d) * lean))


def wall(instant: datetime, zone: str) -> datetime:
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def comes_again(instant: datetime, zone: str) -> bool:
    """Whether the wall clock will show this time a second time, through a change of less than three hours."""
    local = instant.astimezone(ZoneInfo(zone))
    later = local.replace(fold=1).astimezone(UTC)
    return timedelta() < later - instant < timedelta(hours=3)


def change_days(zone: str, year: int) -> list[datetime]:
    """The midnights UTC of the days in which the zone changes its offset."""
    midnights = [datetime(year, 1, 1, tzinfo=UTC) + n * DAY for n in range(366)]
    offsets = [midnight.astimezone(ZoneInfo(zone)).utcoffset() for midnight in midnights]
    return [day for day, old, new in zip(midnights, offsets, offsets[1:], strict=False) if old != new]
