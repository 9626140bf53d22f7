"""Durations, read and written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.errors import DurationError
from pqclock.rules.durations import format_duration, parse_duration
from rules.cron_examples import examples


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("15s", timedelta(seconds=15)),
        ("5m", timedelta(minutes=5)),
        ("1h30m", timedelta(minutes=90)),
        ("1w2d3h4m5s6ms", timedelta(9, 5, 0, 6, 4, 3)),
        ("90m", timedelta(minutes=90)),
        ("0s", timedelta()),
        ("007d", timedelta(days=7)),
        (timedelta(microseconds=1), timedelta(microseconds=1)),
        ("5217w", timedelta(weeks=5217)),
    ],
)
def test_a_duration_is_read(text: str | timedelta, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", "5 m", "5M", "1.5h", "-5m", "+5m", "30m1h", "1h1h", "5ms5s", "٥s", "5m\n", " 5m", "1y",
     "1234567890s", "5218w", "999999999w", timedelta(-1), timedelta(40_000), None, 5, True, b"5s"],
)  # fmt: skip
def test_anything_else_is_refused(text: Any) -> None:
    with pytest.raises(DurationError):
        parse_duration(text)


@examples(300)
@given(st.integers(0, 36_525 * 86_400_000).map(lambda amount: timedelta(milliseconds=amount)))
def test_what_is_written_is_read_back(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration
