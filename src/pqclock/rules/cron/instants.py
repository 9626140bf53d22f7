"""Instants as whole seconds, counted so that `second // DAY` is the proleptic ordinal of the date.

The same count serves local times: local = instant + offset. It runs from START, 0001-01-01T00:00:00, up to
but not including END, the end of the year 9999.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from pqclock.errors import CronError

DAY = 86_400
START = DAY
END = (date.max.toordinal() + 1) * DAY
FIRST = datetime.min.replace(tzinfo=UTC)


def second_at_or_before(moment: datetime) -> int:
    """The last whole second that is not after `moment`; CronError for a naive datetime."""
    since = _since_first(moment)
    return since.days * DAY + since.seconds + START


def second_at_or_after(moment: datetime) -> int:
    """The first whole second that is not before `moment`; CronError for a naive datetime."""
    since = _since_first(moment)
    return since.days * DAY + since.seconds + START + (since.microseconds > 0)


def _since_first(moment: datetime) -> timedelta:
    try:
        return moment - FIRST
    except TypeError:
        raise CronError(f"{_kind(moment)} is not an instant: give a datetime with a time zone") from None


def _kind(moment: object) -> str:
    if isinstance(moment, datetime):
        return f"the naive datetime {moment}"
    return f"a {type(moment).__name__[:40]}"


def whole_second(moment: datetime) -> datetime:
    """`moment` in UTC; CronError if it is naive or between two seconds."""
    second = second_at_or_before(moment)
    if second != second_at_or_after(moment):
        raise CronError(f"{moment} lies between two seconds: ticks are whole seconds, leave the fraction out")
    if not START <= second < END:
        raise CronError(f"{moment} is outside the years 1 to 9999 in UTC")
    return instant(second)


def instant(second: int) -> datetime:
    """The aware datetime in UTC of a second between START and END."""
    return FIRST + timedelta(0, second - START)


def date_of(second: int) -> date:
    """The date of a second; one outside the calendar counts as the first or the last date."""
    return date.fromordinal(min(max(second // DAY, 1), END // DAY - 1))
