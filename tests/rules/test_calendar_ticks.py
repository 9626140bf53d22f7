"""Ticks and calendars: what is left out, what moves and where to, each instant once, whatever the slices."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.rules import ticks
from pqclock.rules.calendars import Calendar, Exclusion, excluded_by
from pqclock.rules.schedule import Schedule
from pqclock.rules.ticks import Entry, first_of, next_tick, plan, plan_skip, previous_tick
from rules.calendar_oracle import expected
from rules.cron_examples import examples

HOUR, MINUTE, SECOND, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1), timedelta(days=1)
INSTANT = timedelta(microseconds=1)
FRIDAY = datetime(2026, 11, 20, 12, tzinfo=UTC)
WEEKEND = frozenset({"sat", "sun"})


def exclusion(*dates: str, weekdays: frozenset[str] = frozenset()) -> Exclusion:
    return excluded_by(["c"], [Calendar(frozenset(map(date.fromisoformat, dates)), weekdays)])


def daily(mode: str = "skip", excluded: Exclusion | None = None, **more: Any) -> Schedule:
    values = {"cron": "0 9 * * *", "catch_up": "all", "catch_up_window": 400 * DAY, **more}
    return Schedule("k", "t", exclude=excluded or exclusion(weekdays=WEEKEND), on_excluded=mode, **values)


def rows(entries: tuple[Entry, ...]) -> list[tuple[str, str, int, str, str | None, str]]:
    return [
        (f"{e.tick:%d %H:%M}", f"{e.through:%d %H:%M}", e.count, e.outcome, e.reason, f"{e.nominal:%d %H:%M}")
        for e in sorted(entries, key=lambda e: e.tick)
    ]


def inserted(tick: str, nominal: str | None = None) -> tuple[str, str, int, str, str | None, str]:
    return (tick, tick, 1, "inserted", None, nominal or tick)


def week(schedule: Schedule, since: datetime = FRIDAY, days: int = 4) -> list[Any]:
    now = since + days * DAY
    return rows(plan(schedule, since, since - DAY, now, timedelta()).entries)


def test_ticks_of_excluded_days_are_one_row() -> None:
    assert week(daily()) == [
        ("21 09:00", "22 09:00", 2, "skipped", "excluded", "21 09:00"),
        inserted("23 09:00"),
        inserted("24 09:00"),
    ]
    assert [entry.count for entry in plan(daily(cron="* * * * * *"), FRIDAY, FRIDAY, FRIDAY + 3 * DAY, MINUTE).entries
            if entry.reason == "excluded"] == [2 * 86_400]  # fmt: skip


def test_ticks_that_come_to_another_are_coalesced_into_it() -> None:
    assert week(daily("next_business_day")) == [
        ("21 09:00", "22 09:00", 2, "coalesced", "moved", "21 09:00"),
        inserted("23 09:00"),
        inserted("24 09:00"),
    ]
    assert week(daily("previous_business_day"), FRIDAY - 12 * HOUR) == [
        inserted("20 09:00"),
        ("21 09:00", "22 09:00", 2, "coalesced", "moved", "21 09:00"),
        inserted("23 09:00"),
    ]


def test_a_moved_tick_knows_where_it_came_from() -> None:
    assert week(daily("next_business_day", cron="0 9 * * SAT,SUN")) == [
        ("21 09:00", "21 09:00", 1, "coalesced", "moved", "21 09:00"),
        ("22 09:00", "22 09:00", 1, "skipped", "moved", "22 09:00"),
        inserted("23 09:00", "22 09:00"),
    ]
    assert week(daily("previous_business_day", cron="0 9 * * SAT,SUN"), FRIDAY - 12 * HOUR) == [
        inserted("20 09:00", "21 09:00"),
        ("21 09:00", "21 09:00", 1, "skipped", "moved", "21 09:00"),
        ("22 09:00", "22 09:00", 1, "coalesced", "moved", "22 09:00"),
    ]


@pytest.mark.parametrize(
    ("gap", "fold", "mode", "cron", "ticks"),
    [
        # Berlin, Sunday 28 March 2027: 02:30 does not exist. Monday's own 02:30 is the tick.
        ("shift", "first", "next_business_day", "30 2 * * *", ["2027-03-29T00:30"]),
        # Saturday 02:30 comes to Sunday's gap.
        ("shift", "first", "sunday", "30 2 * * SAT", ["2027-03-28T01:00"]),
        ("skip", "first", "sunday", "30 2 * * SAT", []),
    ],
)
def test_moved_ticks_keep_the_law_of_the_clock(gap: str, fold: str, mode: str, cron: str, ticks: list[str]) -> None:
    excluded = exclusion(weekdays=frozenset({"sat"} if mode == "sunday" else WEEKEND))
    on_excluded = "next_business_day" if mode == "sunday" else mode
    schedule = daily(on_excluded, excluded, cron=cron, timezone="Europe/Berlin", gap=gap, fold=fold)
    found = plan(schedule, datetime(2027, 3, 26, 12, tzinfo=UTC), FRIDAY, datetime(2027, 3, 29, 12, tzinfo=UTC), SECOND)
    assert [f"{e.tick:%Y-%m-%dT%H:%M}" for e in found.entries if e.outcome == "inserted"] == ticks
    reasons = [e.reason for e in found.entries if e.outcome != "inserted"]
    assert reasons == (["gap"] if gap == "skip" else ["moved"])


def test_a_move_looks_thirty_days_ahead_and_no_further() -> None:
    days = [(date(2026, 11, 20) + n * DAY).isoformat() for n in range(31)]
    first = datetime(2026, 11, 20, 9, tzinfo=UTC)
    schedule = Schedule("k", "t", cron="0 9 20-21 11 *", exclude=exclusion(*days), on_excluded="next_business_day")
    assert rows(plan(schedule, first - DAY, first, first + 2 * DAY, SECOND).entries) == [
        ("20 09:00", "20 09:00", 1, "skipped", "excluded", "20 09:00"),
        ("21 09:00", "21 09:00", 1, "skipped", "moved", "21 09:00"),
    ]
    assert next_tick(schedule, first - DAY) == datetime(2026, 12, 21, 9, tzinfo=UTC)


def test_a_move_does_not_leave_start_and_end() -> None:
    end = datetime(2026, 11, 23, tzinfo=UTC)
    assert week(daily("next_business_day", end=end)) == [
        ("21 09:00", "22 09:00", 2, "skipped", "excluded", "21 09:00"),
        ("23 09:00", "23 09:00", 1, "skipped", "ended", "23 09:00"),
    ]
    assert next_tick(daily("next_business_day", end=end), FRIDAY) is None
    start = datetime(2026, 11, 21, tzinfo=UTC)
    assert week(daily("previous_business_day", start=start), days=2) == [
        ("21 09:00", "22 09:00", 2, "skipped", "excluded", "21 09:00")
    ]


@pytest.mark.parametrize("mode", ["skip", "next_business_day", "previous_business_day"])
def test_periods_and_instants_heed_calendars_too(mode: str) -> None:
    moved = {"skip": None, "next_business_day": 23, "previous_business_day": 20}[mode]
    schedule = daily(mode, cron=None, at=datetime(2026, 11, 21, 22, 30, tzinfo=UTC), timezone="Europe/Berlin")
    expected_tick = datetime(2026, 11, moved, 22, 30, tzinfo=UTC) if moved else None
    assert next_tick(schedule, FRIDAY) == expected_tick
    every = daily(mode, cron=None, every=12 * HOUR, start=FRIDAY)
    assert next_tick(every, FRIDAY) == datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("mode", "applied", "fates"),
    [
        # Named for Saturday; applied before, between and after.
        ("skip", 20, [("21", "excluded")]),
        ("next_business_day", 22, [("21", "moved"), ("23", None)]),
        ("next_business_day", 24, [("21", "moved"), ("23", "past")]),
        ("previous_business_day", 21, [("20", "past"), ("21", "moved")]),
        ("previous_business_day", 19, [("20", None), ("21", "moved")]),
    ],
)
def test_an_instant_is_past_by_where_it_was_moved_to(mode: str, applied: int, fates: list[Any]) -> None:
    schedule = daily(mode, cron=None, at=datetime(2026, 11, 21, 9, tzinfo=UTC))
    created = datetime(2026, 11, applied, 1, tzinfo=UTC)
    first = first_of(schedule)
    assert first is not None
    done = plan(schedule, min(created, first - SECOND), created, datetime(2026, 11, 25, tzinfo=UTC), MINUTE)
    assert sorted((f"{e.tick:%d}", e.reason) for e in done.entries) == fates


def test_a_weekday_of_a_zone_is_not_that_of_utc() -> None:
    schedule = daily(cron="0 22 * * *", timezone="America/New_York")
    assert next_tick(schedule, FRIDAY) == datetime(2026, 11, 21, 3, tzinfo=UTC)
    assert next_tick(schedule, FRIDAY + DAY) == datetime(2026, 11, 24, 3, tzinfo=UTC)


def test_what_calendars_leave_no_tick_is_planned_all_the_same() -> None:
    schedule = daily(cron="0 9 * * SAT")
    assert next_tick(schedule, FRIDAY) is None
    done = plan(schedule, FRIDAY, FRIDAY, FRIDAY, MINUTE)
    assert (done.next_tick, done.look_at) == (None, datetime(2027, 11, 20, 9, tzinfo=UTC))
    assert done.look_at is not None
    (*_, last) = plan(schedule, FRIDAY, FRIDAY, done.look_at, MINUTE).entries
    assert (last.reason, last.tick) == ("excluded", done.look_at)
    ending = plan(daily(end=FRIDAY + 2 * DAY), FRIDAY, FRIDAY, FRIDAY, MINUTE)
    assert (ending.next_tick, ending.look_at) == (None, datetime(2026, 11, 22, 9, tzinfo=UTC))
    # Past what is left out there is only the end to be written down.
    ended = plan(daily(end=FRIDAY + DAY / 2), FRIDAY, FRIDAY, FRIDAY, MINUTE)
    assert (ended.next_tick, ended.look_at) == (None, datetime(2026, 11, 21, 9, tzinfo=UTC))
    assert plan(daily(end=FRIDAY + DAY / 2), FRIDAY, FRIDAY, FRIDAY + 9 * DAY, MINUTE).look_at is None


def test_what_is_left_out_ahead_has_a_row_for_each() -> None:
    entries = plan(daily(), FRIDAY, FRIDAY, FRIDAY + DAY, 2 * DAY).entries
    assert [(f"{e.tick:%d}", e.count) for e in entries if e.reason == "excluded"] == [("21", 1), ("22", 1)]


def test_ticks_left_out_for_a_reason_leave_what_is_excluded_its_own() -> None:
    assert rows(plan_skip(daily("next_business_day"), FRIDAY, FRIDAY + 5 * DAY, "disabled")) == [
        ("21 09:00", "22 09:00", 2, "coalesced", "moved", "21 09:00"),
        ("23 09:00", "25 09:00", 3, "skipped", "disabled", "23 09:00"),
    ]


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "America/Sao_Paulo", "Pacific/Apia", "Africa/Cairo",
                         "America/Havana", "Asia/Beirut", "America/Asuncion"])  # fmt: skip
CRONS = st.sampled_from(["0 9 * * *", "30 2 * * *", "0,30 0,23 * * *", "0 */7 * * *", "0 0 * * SAT,SUN", "30 23 * * SAT",
                         "0 0 1,15 * *", "15 0-3 * * SUN", "*/40 */5 * * *", "30 1 L * *"])  # fmt: skip
# Around changes of the clock: in Berlin, at St John's one minute after midnight, in Sao Paulo and Cairo at midnight,
# in Apia by a day, and at the turn of a year.
ORIGINS = st.sampled_from(
    [
        (2027, 3, 26),
        (2010, 11, 5),
        (2026, 12, 30),
        (2018, 11, 2),
        (2011, 12, 28),
        (2024, 4, 24),
        (2010, 3, 12),
        (2018, 2, 16),
    ]
).map(lambda day: datetime(*day, tzinfo=UTC))


@st.composite
def situations(draw: st.DrawFn) -> tuple[Schedule, datetime]:
    """A schedule with a calendar, and an instant."""
    origin = draw(ORIGINS) + timedelta(hours=draw(st.integers(-30, 100)), seconds=draw(st.sampled_from([0, 0, 1800])))
    near = st.integers(-40, 40).map(lambda days: (origin + days * DAY).date())
    block = st.integers(0, 34).map(lambda days: {(origin + n * DAY).date() for n in range(days)})
    dates = draw(st.one_of(st.sets(near, max_size=8), block))
    weekdays = draw(st.sampled_from([frozenset(), WEEKEND, frozenset({"mon", "wed"}), frozenset({"sun"})]))
    timing: dict[str, Any] = draw(
        st.one_of(
            CRONS.map(lambda cron: {"cron": cron}),
            st.sampled_from([3600 * 5, 86_400, 86_400 * 3]).map(lambda s: {"every": timedelta(seconds=s)}),
            st.integers(-5, 5).map(lambda days: {"at": origin + days * DAY}),
        )
    )
    start = draw(st.one_of(st.none(), st.integers(-100, 200).map(lambda hours: origin + hours * HOUR)))
    end = draw(st.one_of(st.none(), st.integers(1, 300).map(lambda hours: (start or origin) + hours * HOUR)))
    schedule = Schedule(
        "k", "t", **timing, timezone=draw(ZONES), catch_up="all", catch_up_limit=100, catch_up_window=400 * DAY,
        exclude=excluded_by(["c"], [Calendar(frozenset(dates), weekdays)]),
        gap=draw(st.sampled_from(["shift", "skip"])), fold=draw(st.sampled_from(["first", "second", "both"])),
        on_excluded=draw(st.sampled_from(["skip", "next_business_day", "previous_business_day"])),
        start=start, end=end,
    )  # fmt: skip
    return schedule, origin


Fate = tuple[datetime, str, datetime | None]


def fates(schedule: Schedule, after: datetime, now: datetime, horizon: timedelta) -> list[Fate]:
    """What becomes of each instant, planned slice by slice."""
    found: list[Fate] = []
    while True:
        done = plan(schedule, after, after - 9 * DAY, now, horizon)
        found += [fate for entry in done.entries if entry.reason != "ended" for fate in fates_of(schedule, entry)]
        if done.planned_to >= now + horizon:
            return found
        assert done.planned_to > after
        after = done.planned_to


def fates_of(schedule: Schedule, entry: Entry) -> list[Fate]:
    """The instants that a row stands for."""
    if entry.outcome == "inserted":
        return [(entry.tick, "inserted", entry.nominal)]
    if entry.reason == "gap" and entry.count == 1:
        return [(entry.tick, "gap", None)]
    timing = schedule.timing() if entry.reason in ("excluded", "moved", "gap") else schedule.ticking()
    covered = list(timing.ticks(entry.tick - INSTANT, entry.through + INSTANT))
    assert len(covered) == entry.count
    return [(tick, entry.reason or "", None) for tick in covered]


@examples(300)
@given(situations(), st.integers(1, 240))
def test_every_instant_has_the_fate_that_brute_force_gives_it(situation: tuple[Schedule, datetime], hours: int) -> None:
    schedule, origin = situation
    now = origin + hours * HOUR
    wanted = expected(schedule, origin, now + INSTANT)
    with patch.object(ticks, "MOVING_SLICE", 3 * DAY), patch.object(ticks, "INSERT_SLICE", 7):
        found = fates(schedule, origin, now, timedelta())
    assert max(Counter(tick for tick, *_ in found).values(), default=1) == 1
    assert {tick for tick, fate, _ in found if fate == "inserted"} == set(wanted.ticks)
    for tick, fate, nominal in found:
        if fate == "inserted":
            assert nominal in wanted.ticks[tick]
    left_out = {tick: fate for tick, fate, _ in found if fate != "inserted"}
    assert {
        tick: fate for tick, fate in left_out.items() if tick in wanted.left_out or fate != "gap"
    } == wanted.left_out


@examples(100)
@given(situations(), st.integers(1, 100), st.integers(1, 100))
def test_a_plan_equals_the_plans_of_its_parts(situation: tuple[Schedule, datetime], hours: int, more: int) -> None:
    schedule, origin = situation
    middle, now = origin + hours * HOUR, origin + (hours + more) * HOUR
    parts = fates(schedule, origin, origin, hours * HOUR) + fates(schedule, middle, middle, more * HOUR)
    assert sorted(parts, key=str) == sorted(fates(schedule, origin, now, timedelta()), key=str)


@examples(200)
@given(situations())
def test_next_and_previous_are_the_neighbours(situation: tuple[Schedule, datetime]) -> None:
    schedule, origin = situation
    wanted = sorted(expected(schedule, origin - 20 * DAY, origin + 20 * DAY).ticks)
    after = [tick for tick in wanted if tick > origin]
    before = [tick for tick in wanted if tick < origin]
    following, preceding = next_tick(schedule, origin), previous_tick(schedule, origin)
    assert following == after[0] if after else following is None or following >= origin + 20 * DAY
    assert preceding == before[-1] if before else preceding is None or preceding <= origin - 20 * DAY
    timing = schedule.ticking()
    reach = (origin - 20 * DAY, origin + 20 * DAY)
    start, end = schedule.start or reach[0], schedule.end or reach[1]
    assert [tick for tick in timing.ticks(*reach) if start <= tick < end] == wanted
    assert timing.count(*reach) == len(list(timing.ticks(*reach)))
