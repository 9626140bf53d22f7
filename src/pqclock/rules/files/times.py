"""Kinds of values that tell time: durations, rates, instants and dates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from pqclock.errors import DurationError
from pqclock.rules import durations
from pqclock.rules.files.findings import show
from pqclock.rules.files.kinds import BadValue, Fault, must_be

_RATE = re.compile(r"([1-9][0-9]{0,6})/([0-9a-z]{1,60})", re.ASCII)
# Instants of gates are nanoseconds in 64 bits: some windows must fit in between now and the year 2262.
_LONGEST_WINDOW = timedelta(weeks=53)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Duration:
    """A length of time, such as `1h30m`."""

    least: timedelta = timedelta()
    whole_seconds: bool = False

    @property
    def words(self) -> str:
        text = "a duration" if not self.whole_seconds else "a duration of whole seconds"
        return f"{text}, {durations.format_duration(self.least)} or more" if self.least else text

    def read(self, value: object) -> timedelta:
        if not isinstance(value, (str, timedelta)):
            more = f': write for example "{value}s"' if isinstance(value, int) and 0 < value < 1e6 else ""
            raise must_be('a duration such as "15s", "5m" or "1h30m"', value, more)
        duration = _parsed(value)
        if duration < self.least or (self.whole_seconds and duration % timedelta(seconds=1)):
            raise must_be(self.words, value)
        if duration % timedelta(milliseconds=1):
            raise must_be("a duration of whole milliseconds", value)
        return duration

    def plain(self, value: object) -> object:
        assert isinstance(value, timedelta)
        return durations.format_duration(value)

    def schema(self) -> dict[str, object]:
        return {"type": "string", "pattern": f"^{durations.PATTERN}$"}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many starts in a time, such as `100/1m`."""

    words: str = 'a rate such as "100/1m"'

    def read(self, value: object) -> str:
        match = _RATE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise must_be(self.words, value)
        window = _parsed(match[2])
        if not window:
            raise must_be(self.words, value)
        if window > _LONGEST_WINDOW:
            longest = durations.format_duration(_LONGEST_WINDOW)
            raise BadValue(Fault(f"must have a window of at most {longest}, not {show(match[2])}"))
        return f"{match[1]}/{durations.format_duration(window)}"

    def plain(self, value: object) -> object:
        return value

    def schema(self) -> dict[str, object]:
        return {"type": "string", "pattern": f"^[1-9][0-9]{{0,6}}/{durations.PATTERN}$"}


@dataclass(frozen=True, slots=True)
class Instant:
    """A date and time with an offset; with `local`, one without is taken too and stays as it is."""

    local: bool = False

    @property
    def words(self) -> str:
        return "a date and time with an offset" + (", or a local one of the timezone" if self.local else "")

    def read(self, value: object) -> datetime:
        moment = _moment(value)
        if moment is None:
            raise must_be(f"{self.words}, such as 2027-01-01T09:00:00Z", value)
        if moment.microsecond:
            raise must_be("a time of whole seconds", value)
        if moment.utcoffset() is not None:
            return _utc(moment, value)
        if not self.local:
            text = moment.isoformat()
            raise BadValue(Fault(f"has no offset: write for example {text}Z or {text}+01:00"))
        return moment

    def plain(self, value: object) -> object:
        assert isinstance(value, datetime)
        return value.isoformat().replace("+00:00", "Z")

    def schema(self) -> dict[str, object]:
        return {"type": "string"} if self.local else {"type": "string", "format": "date-time"}


def _parsed(value: str | timedelta) -> timedelta:
    try:
        return durations.parse_duration(value)
    except DurationError as error:
        raise BadValue(Fault(f": {error}")) from None
    except OverflowError:
        raise BadValue(Fault(f": {show(value)} is out of range: a duration is at most 100 years (5217w)")) from None


def _moment(value: object) -> datetime | None:
    """A datetime, or the text of one: JSON and flags have no other way to write it."""
    if isinstance(value, str) and _DATE.match(value) and value[10:11] in ("T", "t", " "):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) else None


def _utc(moment: datetime, value: object) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise must_be("a date between the years 1 and 9999 in UTC", value) from None


@dataclass(frozen=True, slots=True)
class Day:
    """A calendar date."""

    words: str = "a date such as 2026-12-25"

    def read(self, value: object) -> date:
        if isinstance(value, str) and _DATE.fullmatch(value):
            try:
                return date.fromisoformat(value)
            except ValueError:
                raise must_be(self.words, value) from None
        if not isinstance(value, date) or isinstance(value, datetime):
            raise must_be(self.words, value)
        return value

    def plain(self, value: object) -> object:
        assert isinstance(value, date)
        return value.isoformat()

    def schema(self) -> dict[str, object]:
        return {"type": "string"}
