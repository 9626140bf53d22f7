"""Expressions, zones and instants for hypothesis. `HYPOTHESIS_PROFILE=long` tries twenty times as many."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from rules.virtual_cron import change_days

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"

ZONES = (
    "UTC",
    "Europe/Paris",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Dublin",
    "Europe/Moscow",
    "Europe/Istanbul",
    "Europe/Lisbon",
    "America/New_York",
    "America/Chicago",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/Asuncion",
    "America/Havana",
    "America/Caracas",
    "America/Scoresbysund",
    "America/Nuuk",
    "America/Danmarkshavn",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/Windhoek",
    "Asia/Tehran",
    "Asia/Gaza",
    "Asia/Beirut",
    "Asia/Amman",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Asia/Ust-Nera",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Antarctica/Vostok",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "Pacific/Kiritimati",
    "Pacific/Chatham",
    "Pacific/Norfolk",
)


def examples(count: int) -> Callable[[Any], Any]:
    """Settings for a test of `count` examples, the same in every run unless the profile is long."""
    return settings(
        max_examples=count * 20 if LONG else count,
        deadline=None,
        derandomize=not LONG,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


def field(low: int, high: int, *others: str) -> st.SearchStrategy[str]:
    """A field of plain items between `low` and `high`, or one of the others."""
    value = st.integers(low, high)
    single = value.map(str)
    span = st.tuples(value, value).map(sorted).map(lambda ends: f"{ends[0]}-{ends[1]}")
    step = st.integers(1, high - low)
    ranged = st.tuples(span, step).map(lambda pair: f"{pair[0]}/{pair[1]}")
    opened = st.tuples(value, step).map(lambda pair: f"{pair[0]}/{pair[1]}")
    starred = step.map(lambda number: f"*/{number}")
    item = st.one_of(single, single, span, ranged, opened, starred, st.sampled_from(("*", *others)))
    return st.lists(item, min_size=1, max_size=3).map(",".join)


MINUTES = st.one_of(st.sampled_from(("0", "30", "15,45", "*/15", "*", "59", "0-59", "*/7")), field(0, 59))
HOURS = st.one_of(st.sampled_from(("*", "2", "1", "0", "3", "23", "*/2", "1-3", "0-23")), field(0, 23))
DAYS = st.one_of(st.just("*"), field(1, 31, "L", "LW"), st.integers(1, 31).map(lambda day: f"{day}W"))
MONTHS = st.one_of(st.just("*"), field(1, 12))
WEEKDAYS = st.one_of(
    st.sampled_from(("*", "1-5", "SAT-SUN", "0", "7", "MON", "FRI#L", "5L", "1#5")),
    field(0, 6, "TUE#1", "0#2", "5L", "SUN#L", "3#5", "FRI-SUN", "6-7"),
)
CLOCK_PATTERNS = st.tuples(MINUTES, HOURS, st.sampled_from(("* * *", "* * *", "*/2 * *", "1-20 * 0"))).map(" ".join)
PATTERNS = st.tuples(MINUTES, HOURS, DAYS, MONTHS, WEEKDAYS).map(" ".join)


@cache
def _change_days(zone: str, year: int) -> tuple[datetime, ...]:
    return tuple(change_days(zone, year))


@st.composite
def instants(draw: st.DrawFn, zone: str, first_year: int = 1975, last_year: int = 2040) -> datetime:
    """An instant in UTC, to the second, often within hours of a change of the zone."""
    year = draw(st.integers(first_year, last_year))
    changes = _change_days(zone, year)
    near = draw(st.booleans())
    if changes and near:
        return draw(st.sampled_from(changes)) + timedelta(seconds=draw(st.integers(-43_200, 129_600)))
    return datetime(year, 1, 1, tzinfo=UTC) + timedelta(seconds=draw(st.integers(0, 365 * 86_400)))
