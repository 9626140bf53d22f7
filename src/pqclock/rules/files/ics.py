"""Calendars in iCalendar files: their all-day events become dates.

Events that repeat by day, week or year are expanded up to the end of a fixed window, since the clock works from dates
alone. What would be read wrongly is a fault; timed events are passed over with a doubt.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import count, islice, takewhile
from typing import Any

from pqclock.rules.calendars import DATES_LIMIT
from pqclock.rules.files.findings import printable, show
from pqclock.rules.files.kinds import BadValue, Fault

BYTES_LIMIT = 1024 * 1024
EVENTS_LIMIT = 10_000
# Repetitions are taken from the first of these years to the last.
REPEATED = (2020, 2049)
_FAULTS_LIMIT = 20
_DAY = timedelta(days=1)
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_SIMPLE = {
    "DAILY": {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST"},
    "WEEKLY": {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY"},
    "YEARLY": {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYMONTH", "BYMONTHDAY", "BYDAY"},
}


class _Unsupported(Exception):
    """A part of an event that is not understood; the text continues a sentence."""


def read_ics(content: bytes) -> tuple[frozenset[date], list[Fault]]:
    """The dates of a file's all-day events, and faults; raises BadValue for what is no calendar."""
    dates: set[date] = set()
    faults: list[Fault] = []
    for event in _events(content):
        name = show(str(event.get("SUMMARY", event.get("UID", "without a name"))))
        try:
            dates |= _dates(event)
        except _Unsupported as unsupported:
            faults.append(Fault(f": the event {name} {unsupported}"))
        except _Timed:
            faults.append(Fault(f": the event {name} is not of whole days, and left out", severity="warning"))
        except Exception as error:  # what the parser could not read raises its own kinds of errors when it is asked for
            faults.append(Fault(f": the event {name} cannot be read: {_short(error)}"))
        if len(dates) > DATES_LIMIT:
            raise BadValue(Fault(f": has more than {DATES_LIMIT:,} dates"))
        if len(faults) >= _FAULTS_LIMIT:
            break
    return frozenset(dates), faults


class _Timed(Exception):
    """An event with a time of day."""


def _events(content: bytes) -> list[Any]:
    if len(content) > BYTES_LIMIT:
        raise BadValue(Fault(f": the file has more than {BYTES_LIMIT:,} bytes"))
    try:
        from icalendar import Calendar
    except ImportError:
        more = "pip install 'pqclock[ics]'"
        raise BadValue(Fault(f": an ICS file needs the package icalendar: {more}")) from None
    try:
        parsed = Calendar.from_ical(content)
        events = [part for part in parsed.walk("VEVENT") if str(part.get("STATUS", "")) != "CANCELLED"]
    except Exception as error:  # a parser of other people's text: whatever it raises, the file is the reason
        raise BadValue(Fault(f": is no iCalendar file: {_short(error)}")) from None
    if len(events) > EVENTS_LIMIT:
        raise BadValue(Fault(f": has more than {EVENTS_LIMIT:,} events"))
    return events


def _short(error: Exception) -> str:
    return printable(" ".join(str(error).split()), 200)


def _dates(event: Any) -> set[date]:
    start = _day(event, "DTSTART")
    if start is None:
        raise _Unsupported("has no DTSTART")
    for name in ("RDATE", "RECURRENCE-ID", "EXRULE"):
        if name in event:
            raise _Unsupported(f"has {name}, which is not supported")
    length = _length(event, start)
    if "RRULE" not in event:
        return {start + n * _DAY for n in range(length)}
    firsts = set(_repeated(start, event["RRULE"])) - set(_exceptions(event))
    return {first + n * _DAY for first in firsts for n in range(length)}


def _day(event: Any, name: str) -> date | None:
    """A property that is a whole day."""
    if name not in event:
        return None
    value = getattr(event[name], "dt", None)
    if isinstance(value, datetime):
        raise _Timed
    if not isinstance(value, date):
        raise _Unsupported(f"has a {name} that cannot be read")
    return value


def _length(event: Any, start: date) -> int:
    """How many days an event takes; its end is the day after the last."""
    end = _day(event, "DTEND")
    if end is None and "DURATION" in event:
        duration = getattr(event["DURATION"], "dt", None)
        if not isinstance(duration, timedelta):
            raise _Unsupported("has a DURATION that cannot be read")
        days = duration.days
    else:
        days = (end - start).days if end is not None else 1
    if days < 0 or days > DATES_LIMIT or start.toordinal() + days > date.max.toordinal():
        raise _Unsupported(f"takes {days:,} days")
    return max(days, 1)


def _exceptions(event: Any) -> Iterator[date]:
    given = event.get("EXDATE", ())
    for dates in given if isinstance(given, list) else (given,):
        for item in getattr(dates, "dts", ()):
            value = item.dt
            if isinstance(value, datetime) or not isinstance(value, date):
                raise _Unsupported("has an EXDATE that is not a whole day")
            yield value


def _repeated(start: date, rule: Any) -> Iterator[date]:
    """The first days of the repetitions of an event, within the window."""
    if not isinstance(rule, Mapping):
        raise _Unsupported("repeats in several ways, which is not supported")
    parts = {str(name).upper(): value if isinstance(value, list) else [value] for name, value in rule.items()}
    frequency = str(next(iter(parts.get("FREQ", ())), "")).upper()
    every, most = _whole(parts, "INTERVAL", 1), _whole(parts, "COUNT", 0)
    alone = every == 1 or frequency != "WEEKLY" or {str(day) for day in parts.get("WKST", ["MO"])} == {"MO"}
    if set(parts) - _SIMPLE.get(frequency, set()) or every < 1 or not alone:
        raise _Unsupported("repeats in a way that is not supported: give the dates one by one")
    found = {"DAILY": _daily, "WEEKLY": _weekly, "YEARLY": _yearly}[frequency](start, every, parts)
    until = min(_until(parts), date(REPEATED[1], 12, 31))
    limited = takewhile(lambda day: day <= until, (day for day in found if day >= start))
    return (day for day in islice(limited, most or None) if day.year >= REPEATED[0])


def _daily(start: date, every: int, _: Mapping[str, list[Any]]) -> Iterator[date]:
    return _counted(start, every)


def _counted(start: date, days: int) -> Iterator[date]:
    for ordinal in count(start.toordinal(), days):
        if ordinal > date.max.toordinal():
            return
        yield date.fromordinal(ordinal)


def _weekly(start: date, every: int, parts: Mapping[str, list[Any]]) -> Iterator[date]:
    named = [str(day).upper() for day in parts.get("BYDAY", [_WEEKDAYS[start.weekday()]])]
    if not set(named) <= set(_WEEKDAYS):
        raise _Unsupported("repeats by numbered weekdays of a week")
    monday = start.toordinal() - start.weekday()
    offsets = sorted({_WEEKDAYS.index(day) for day in named})
    for week in _counted(date.fromordinal(max(monday, 1)), 7 * every):
        if week.year > REPEATED[1]:
            return
        yield from (week + offset * _DAY for offset in offsets)


def _yearly(start: date, every: int, parts: Mapping[str, list[Any]]) -> Iterator[date]:
    if "BYDAY" in parts and ("BYMONTHDAY" in parts or "BYMONTH" not in parts):
        raise _Unsupported("repeats by weekdays of a year, which is not supported")
    months = sorted({_number(month, 1, 12) for month in parts.get("BYMONTH", [start.month])})
    for year in range(start.year, REPEATED[1] + 1, every):
        for month in months:
            yield from sorted(_days_of_month(year, month, start, parts))


def _days_of_month(year: int, month: int, start: date, parts: Mapping[str, list[Any]]) -> set[date]:
    length = monthrange(year, month)[1]
    if "BYDAY" in parts:
        numbers = {_nth(str(day).upper(), year, month, length) for day in parts["BYDAY"]}
    else:
        given = [_number(day, -31, 31) for day in parts.get("BYMONTHDAY", [start.day])]
        numbers = {day if day > 0 else length + 1 + day for day in given}
    return {date(year, month, number) for number in numbers if 1 <= number <= length}


def _nth(text: str, year: int, month: int, length: int) -> int:
    """The day of the month of `4TH` or `-1MO`, 0 if there is none."""
    number = text[:-2].removeprefix("+")
    if (
        text[-2:] not in _WEEKDAYS
        or not number.removeprefix("-").isdecimal()
        or abs(int(number[:3])) not in range(1, 6)
    ):
        raise _Unsupported("repeats by weekdays that are not numbered, which is not supported")
    weekday, nth = _WEEKDAYS.index(text[-2:]), int(number)
    first = 1 + (weekday - date(year, month, 1).weekday()) % 7
    found = list(range(first, length + 1, 7))
    return found[nth - 1 if nth > 0 else nth] if abs(nth) <= len(found) else 0


def _whole(parts: Mapping[str, list[Any]], name: str, default: int) -> int:
    return _number(next(iter(parts.get(name, [default]))), 0, 100_000)


def _number(value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or not least <= value <= most:
        raise _Unsupported("repeats by a number that is out of range")
    return value


def _until(parts: Mapping[str, list[Any]]) -> date:
    value = next(iter(parts.get("UNTIL", [date.max])))
    if isinstance(value, datetime):
        return value.date()
    if not isinstance(value, date):
        raise _Unsupported("repeats until something that is no date")
    return value
