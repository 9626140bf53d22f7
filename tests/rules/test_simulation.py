"""Simulation: counts and load against a plain walk, and what changes of the clocks do."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from pqclock.rules.calendars import Calendar, excluded_by
from pqclock.rules.offsets import run_at
from pqclock.rules.schedule import Schedule
from pqclock.rules.simulation import Range, clock_changes, count, empty_dates, fitting, load, peak

SINCE = datetime(2027, 1, 1, tzinfo=UTC)
YEAR = Range(SINCE, datetime(2028, 1, 1, tzinfo=UTC))
WEEK = Range(SINCE, SINCE + timedelta(days=7))


def made(key: str = "a", cron: str | None = "0 * * * *", **more: Any) -> Schedule:
    return Schedule(key, task="t", cron=cron, **more)


def test_a_range_has_its_first_instant_and_not_its_last() -> None:
    assert count(made(cron="0 0 * * *"), YEAR) == 365
    assert count(made(cron="0 0 * * *", start=SINCE + timedelta(days=1), end=SINCE + timedelta(days=3)), YEAR) == 2
    assert count(made(cron="0 0 * * *", end=SINCE), YEAR) == 0
    assert count(made(cron=None, every=timedelta(hours=1)), WEEK) == 168
    assert count(made(cron=None, at=SINCE), WEEK) == 1


def test_calendars_count() -> None:
    weekend = excluded_by(["weekend"], [Calendar(weekdays=frozenset({"sat", "sun"}))])
    assert count(made(cron="0 0 * * *", exclude=weekend), WEEK) == 5


def test_load_heeds_spread_and_jitter() -> None:
    schedules = [
        made("a", cron="*/7 * * * *", queue="mice", spread=timedelta(minutes=5)),
        made("b", cron="*/5 * * * *", jitter=timedelta(seconds=90)),
        made("c"),
        made("d"),
    ]
    expected: Counter[datetime] = Counter()
    for schedule in schedules:
        for tick in schedule.ticking().ticks(SINCE - timedelta(hours=1), WEEK.until):
            due = run_at(schedule, tick)
            if WEEK.since <= due < WEEK.until:
                expected[due.replace(second=0, microsecond=0)] += 1
    found = load(schedules, WEEK)
    busiest = found.busiest(20_000)
    assert {one.minute: one.ticks for one in busiest} == expected
    assert {"c", "d"} <= set(busiest[0].keys)
    assert sum(map(sum, found.heat())) == sum(expected.values())
    mice = peak(found, "mice")
    assert mice is not None and mice.ticks == 1
    assert peak(found, "whales") is None


def test_the_heat_is_by_weekday_and_hour() -> None:
    heat = load([made(cron="30 13 * * WED")], WEEK).heat()
    assert heat[2][13] == 1 and sum(map(sum, heat)) == 1


def test_the_window_gives_way() -> None:
    schedules = [made(cron="* * * * * *")]
    assert fitting(schedules, WEEK) == Range(SINCE, fitting(schedules, WEEK).until)
    assert 0 < count(schedules[0], fitting(schedules, WEEK, 50_000)) <= 50_000
    assert fitting(schedules, WEEK, 1).until - SINCE == timedelta(hours=1)
    assert fitting([made()], WEEK) == WEEK


@pytest.mark.parametrize(
    ("cron", "more", "effects"),
    [
        ("30 2 * * *", {}, [("shifted", 1), ("once", 1)]),
        ("30 2 * * *", {"gap": "skip", "fold": "both"}, [("skipped", 1), ("doubled", 1)]),
        ("0 2,3 * * *", {}, [("merged", 1), ("once", 1)]),
        ("*/15 2 * * *", {}, [("skipped", 4), ("doubled", 4)]),
        ("*/15 * * * *", {}, []),
        ("0 12 * * *", {}, []),
        ("30 2 * * MON", {}, []),
        ("30 2 * * *", {"end": datetime(2027, 6, 1, tzinfo=UTC)}, [("shifted", 1)]),
    ],
)
def test_changes_of_the_clocks(cron: str, more: dict[str, Any], effects: list[tuple[str, int]]) -> None:
    found = clock_changes([made(cron=cron, timezone="Europe/Berlin", **more)], YEAR)
    assert [(one.effect, one.ticks) for one in found] == effects
    days = [datetime(2027, 3, 28, 1, tzinfo=UTC), datetime(2027, 10, 31, 1, tzinfo=UTC)]
    assert [one.instant for one in found] == days[: len(found)]


def test_half_hours_and_lost_days() -> None:
    assert clock_changes([made(cron="*/20 * * * *", timezone="Australia/Lord_Howe")], YEAR) == []
    samoa = Range(datetime(2011, 12, 1, tzinfo=UTC), datetime(2012, 1, 15, tzinfo=UTC))
    (change,) = clock_changes([made(cron="0 9 * * *", timezone="Pacific/Apia")], samoa)
    assert (change.effect, change.ticks) == ("skipped", 1)


def test_intervals_know_no_clock_changes() -> None:
    assert clock_changes([made(cron=None, every=timedelta(hours=1), timezone="Europe/Berlin")], YEAR) == []


def test_empty_dates() -> None:
    assert empty_dates([made()], YEAR) == []
    found = empty_dates([made("a", cron="0 0 * * MON-FRI"), made("b", cron="0 5 2 1 *")], WEEK)
    assert found == [date(2027, 1, 3)]
    assert len(empty_dates([], WEEK)) == 7


def test_a_date_is_a_schedules_own() -> None:
    """01:30 in Berlin is 23:30Z of the day before in summer: in UTC the day of the autumn change would be empty."""
    assert empty_dates([made(cron="30 1 * * *", timezone="Europe/Berlin")], YEAR) == []


def test_pieces_of_dates_are_not_empty_dates() -> None:
    noon = timedelta(hours=12)
    assert empty_dates([], Range(SINCE + noon, SINCE + timedelta(days=2) + noon)) == [date(2027, 1, 2)]
