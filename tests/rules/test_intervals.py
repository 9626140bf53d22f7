"""`Every` and `At`: real time, without a zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.errors import CronError
from pqclock.rules.intervals import At, Every
from rules.cron_examples import examples

MINUTE = timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def moments(low: int = 1800, high: int = 2200) -> st.SearchStrategy[datetime]:
    return st.datetimes(datetime(low, 1, 1), datetime(high, 1, 1), timezones=st.just(UTC))


PERIODS = st.integers(1, 10_000_000).map(lambda seconds: timedelta(seconds=seconds))
ANCHORS = st.one_of(st.none(), moments().map(lambda moment: moment.replace(microsecond=0)))


@pytest.mark.parametrize(
    ("period", "anchor", "after", "ticks"),
    [
        (15 * MINUTE, None, NOON, ["11-22 12:15", "11-22 12:30"]),
        (90 * MINUTE, None, NOON, ["11-22 13:30", "11-22 15:00"]),
        (timedelta(days=1), None, NOON, ["11-23 00:00", "11-24 00:00"]),
        (timedelta(weeks=1), None, NOON, ["11-26 00:00", "12-03 00:00"]),  # Thursdays, as 1970-01-01 was
        (timedelta(weeks=1), NOON, NOON, ["11-29 12:00", "12-06 12:00"]),
        (timedelta(days=2), NOON + 5 * MINUTE, NOON, ["11-22 12:05", "11-24 12:05"]),
    ],
)
def test_every(period: timedelta, anchor: datetime | None, after: datetime, ticks: list[str]) -> None:
    every = Every(period, anchor)
    first = every.next(after)
    assert [f"{tick:%m-%d %H:%M}" for tick in (first, every.next(first))] == ticks
    assert every.previous(first) == first - period


@examples(300)
@given(PERIODS, ANCHORS, moments())
def test_every_is_closed_and_anchored(period: timedelta, anchor: datetime | None, moment: datetime) -> None:
    every = Every(period, anchor)
    tick = every.next(moment)
    assert timedelta() < tick - moment <= period
    assert (tick - (anchor or EPOCH)) % period == timedelta()
    assert every.next(tick) == tick + period
    assert every.previous(tick) == tick - period
    assert every.previous(tick) <= moment
    assert every.next(tick - INSTANT) == tick == every.previous(tick + INSTANT)
    assert tick.tzinfo is UTC


@examples(300)
@given(PERIODS, ANCHORS, moments(), st.timedeltas(-100 * MINUTE, 100 * MINUTE))
def test_count_is_the_number_of_ticks(
    period: timedelta, anchor: datetime | None, after: datetime, length: timedelta
) -> None:
    every = Every(period, anchor)
    ticks = list(every.ticks(after, after + length))
    assert every.count(after, after + length) == len(ticks)
    assert all(after < tick < after + length for tick in ticks)
    assert all(later - earlier == period for earlier, later in pairwise(ticks))
    assert bool(ticks) == (every.next(after) < after + length)


def test_count_of_a_long_time_is_at_once() -> None:
    assert Every(timedelta(seconds=1)).count(EPOCH, EPOCH + timedelta(days=365_000)) == 365_000 * 86_400 - 1


def test_every_ends_with_the_calendar() -> None:
    every = Every(timedelta(days=1))
    last = datetime.max.replace(tzinfo=UTC)
    first = datetime.min.replace(tzinfo=UTC)
    assert every.previous(last) == datetime(9999, 12, 31, tzinfo=UTC)
    assert list(every.ticks(last - timedelta(days=1), last)) == [every.previous(last)]
    with pytest.raises(CronError, match="9999"):
        every.next(last)
    with pytest.raises(CronError, match="begins"):
        every.previous(first)
    beyond = datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))
    assert every.previous(beyond) == every.previous(last)
    assert every.count(EPOCH, beyond) == every.count(EPOCH, last)
    huge = Every(timedelta.max.__class__(days=999_999_999))
    assert huge.previous(last) == EPOCH
    with pytest.raises(CronError):
        huge.next(EPOCH)
    with pytest.raises(CronError):
        huge.previous(EPOCH)


@pytest.mark.parametrize("period", [timedelta(), -MINUTE, timedelta(milliseconds=500), timedelta(seconds=1.5)])
def test_a_period_is_whole_seconds(period: timedelta) -> None:
    with pytest.raises(CronError, match="whole seconds, 1s or more"):
        Every(period)


@pytest.mark.parametrize("value", [datetime(2026, 1, 1), 5, "2026-01-01T00:00Z"])
def test_instants_are_aware(value: datetime) -> None:
    for make in (lambda: At(value), lambda: Every(MINUTE, value), lambda: Every(MINUTE).next(value)):
        with pytest.raises(CronError, match="is not an instant"):
            make()
    with pytest.raises(CronError, match="is not an instant"):
        At(NOON).next(value)


def test_fractions_of_a_second_are_refused() -> None:
    for make in (lambda: At(NOON + INSTANT), lambda: Every(MINUTE, NOON + INSTANT)):
        with pytest.raises(CronError, match="whole seconds"):
            make()


def test_values() -> None:
    berlin = NOON.astimezone(timezone(timedelta(hours=1)))
    assert At(berlin) == At(NOON)
    assert At(berlin).instant.tzinfo is UTC
    assert hash(Every(MINUTE, berlin)) == hash(Every(MINUTE, NOON))
    assert Every(MINUTE) != Every(2 * MINUTE)
    with pytest.raises(AttributeError):
        At(NOON).instant = NOON  # type: ignore[misc]


def test_at() -> None:
    at = At(NOON)
    assert at.next(NOON - INSTANT) == NOON
    assert at.next(NOON) is None
    assert at.previous(NOON + INSTANT) == NOON
    assert at.previous(NOON) is None
    assert list(at.ticks(NOON - INSTANT, NOON + INSTANT)) == [NOON]
    assert list(at.ticks(NOON, NOON + MINUTE)) == []
    assert at.count(NOON - MINUTE, NOON + MINUTE) == 1
    assert at.count(NOON - MINUTE, NOON) == 0
