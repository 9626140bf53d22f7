"""What becomes of ticks: inserted, coalesced or skipped, each exactly once, whatever the slices."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.rules import ticks
from pqclock.rules.cron import Cron
from pqclock.rules.offsets import offset, run_at
from pqclock.rules.schedule import Schedule
from pqclock.rules.ticks import Entry, Plan, missed_span, next_tick, plan, plan_skip, previous_tick
from rules.cron_examples import examples

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
INSTANT = timedelta(microseconds=1)
DAY = timedelta(days=1)

Row = tuple[str, str, int, str, str | None, str]


def hourly(**more: Any) -> Schedule:
    return Schedule("k", "t", **{"cron": "0 * * * *", **more})


def rows(entries: tuple[Entry, ...]) -> list[Row]:
    return [(f"{e.tick:%H:%M}", f"{e.through:%H:%M}", e.count, e.outcome, e.reason, e.origin) for e in entries]


def inserted(origin: str, *times: str) -> list[Row]:
    return [(time, time, 1, "inserted", None, origin) for time in times]


def since_seven(schedule: Schedule) -> list[Row]:
    """Five ticks: four missed ones, and one on time at 12:00."""
    return rows(plan(schedule, NOW - 5 * HOUR, NOW - DAY, NOW, MINUTE).entries)


@pytest.mark.parametrize(
    ("options", "missed"),
    [
        ({"catch_up": "none"}, [("08:00", "11:00", 4, "skipped", "missed", "clock")]),
        (
            {"catch_up": "latest"},
            [("08:00", "10:00", 3, "coalesced", "latest", "clock"), *inserted("catch_up", "11:00")],
        ),
        ({"catch_up": "all"}, inserted("catch_up", "08:00", "09:00", "10:00", "11:00")),
        (
            {"catch_up": "all", "catch_up_limit": 2},
            [("08:00", "09:00", 2, "skipped", "limit", "clock"), *inserted("catch_up", "10:00", "11:00")],
        ),
        (
            {"catch_up": "all", "catch_up_window": 150 * MINUTE},
            [("08:00", "09:00", 2, "skipped", "window", "clock"), *inserted("catch_up", "10:00", "11:00")],
        ),
        (
            {"catch_up": "all", "catch_up_window": 3 * HOUR, "catch_up_limit": 1},
            [
                ("08:00", "08:00", 1, "skipped", "window", "clock"),
                ("09:00", "10:00", 2, "skipped", "limit", "clock"),
                *inserted("catch_up", "11:00"),
            ],
        ),
        (
            {"catch_up": "latest", "catch_up_window": 30 * MINUTE},
            [("08:00", "11:00", 4, "skipped", "window", "clock")],
        ),
    ],
)
def test_missed_ticks_are_caught_up_as_declared(options: dict[str, Any], missed: list[Row]) -> None:
    on_time = inserted("clock", "12:00")
    assert since_seven(hourly(**options)) == missed + on_time
    assert since_seven(hourly(cron=None, every=HOUR, **options)) == missed + on_time


def test_a_tick_is_on_time_up_to_its_grace() -> None:
    schedule = hourly(grace=MINUTE, catch_up="none")
    for late, outcome in ((MINUTE, "inserted"), (MINUTE + INSTANT, "skipped")):
        (entry,) = plan(schedule, NOW - SECOND, NOW - DAY, NOW + late, SECOND).entries
        assert entry.outcome == outcome


def test_a_grace_longer_than_the_window_wins() -> None:
    schedule = hourly(grace=3 * HOUR, catch_up_window=HOUR, catch_up="none")
    assert since_seven(schedule) == [
        ("08:00", "08:00", 1, "skipped", "missed", "clock"),
        *inserted("clock", "09:00", "10:00", "11:00", "12:00"),
    ]


def test_the_start_belongs_to_the_schedule_and_the_end_does_not() -> None:
    schedule = hourly(start=NOW, end=NOW + 3 * HOUR, catch_up="all")
    done = plan(schedule, NOW - DAY, NOW - DAY, NOW - DAY, 2 * DAY)
    assert rows(done.entries) == [
        *inserted("clock", "12:00", "13:00", "14:00"),
        ("15:00", "15:00", 1, "skipped", "ended", "clock"),
    ]
    assert (done.next_tick, done.look_at) == (None, None)
    before_the_end = plan(schedule, NOW - DAY, NOW - DAY, NOW - DAY, DAY + 2 * HOUR)
    assert (before_the_end.next_tick, before_the_end.look_at) == (None, NOW + 3 * HOUR)
    assert next_tick(schedule, NOW - DAY) == NOW
    assert next_tick(schedule, NOW + 2 * HOUR) is None


def test_a_start_may_lie_at_the_beginning_of_the_calendar() -> None:
    first_day = datetime(1, 1, 1, tzinfo=UTC)
    assert since_seven(hourly(start=first_day)) == since_seven(hourly())
    assert next_tick(hourly(start=first_day), NOW) == NOW + HOUR


def test_the_previous_tick_lies_within_start_and_end() -> None:
    schedule = hourly(start=NOW, end=NOW + 3 * HOUR)
    assert previous_tick(schedule, NOW) is None
    assert previous_tick(schedule, NOW + INSTANT) == NOW
    assert previous_tick(schedule, NOW + DAY) == NOW + 2 * HOUR


def test_nothing_is_planned_twice_when_the_horizon_does_not_move() -> None:
    done = plan(hourly(), NOW + 2 * HOUR, NOW - DAY, NOW, MINUTE)
    assert done == Plan((), NOW + 2 * HOUR, NOW + 3 * HOUR, NOW + 3 * HOUR)


@pytest.mark.parametrize(("gap", "expected"), [("skip", ("skipped", "gap")), ("shift", ("inserted", None))])
def test_a_tick_in_a_gap_is_moved_or_written_down(gap: str, expected: tuple[str, str | None]) -> None:
    change = datetime(2027, 3, 28, 1, tzinfo=UTC)
    schedule = hourly(cron="30 2 * * *", timezone="Europe/Berlin", gap=gap)
    (entry,) = plan(schedule, change - HOUR, NOW, change - HOUR, 2 * HOUR).entries
    assert (entry.outcome, entry.reason) == expected
    assert entry.tick == change


@pytest.mark.parametrize("late", [timedelta(), SECOND, 400 * DAY])
def test_an_instant_that_was_past_when_first_applied_is_written_down(late: timedelta) -> None:
    schedule = Schedule("k", "t", at=NOW, catch_up="all", catch_up_window=1000 * DAY)
    done = plan(schedule, NOW - SECOND, NOW + late, NOW + late, MINUTE)
    assert [(e.tick, e.outcome, e.reason) for e in done.entries] == [(NOW, "skipped", "past")]
    assert done.next_tick is None


def test_an_instant_that_was_missed_later_is_caught_up() -> None:
    (entry,) = plan(Schedule("k", "t", at=NOW), NOW - HOUR, NOW - HOUR, NOW + HOUR, MINUTE).entries
    assert (entry.outcome, entry.origin) == ("inserted", "catch_up")


def test_a_long_stretch_is_planned_in_slices() -> None:
    with patch.object(ticks, "INSERT_SLICE", 3):
        schedule = hourly(catch_up="all", catch_up_limit=4)
        first = plan(schedule, NOW - 8 * HOUR, NOW - DAY, NOW, MINUTE)
        second = plan(schedule, first.planned_to, NOW - DAY, NOW, MINUTE)
    assert rows(first.entries)[0] == ("05:00", "07:00", 3, "skipped", "limit", "clock")
    assert rows(first.entries)[1:] == inserted("catch_up", "08:00", "09:00", "10:00")
    assert (first.planned_to, first.next_tick) == (NOW - 2 * HOUR, NOW - HOUR)
    assert rows(second.entries) == [*inserted("catch_up", "11:00"), *inserted("clock", "12:00")]
    assert second.planned_to == NOW + MINUTE


def test_a_gap_is_written_down_beside_the_ticks_around_it() -> None:
    change = datetime(2027, 3, 28, 1, tzinfo=UTC)
    schedule = hourly(cron="15 1,2,3 * * *", timezone="Europe/Berlin", gap="skip")
    entries = plan(schedule, change - HOUR, NOW, change - HOUR, 2 * HOUR).entries
    assert sorted(rows(entries)) == [
        *inserted("clock", "00:15"),
        ("01:00", "01:00", 1, "skipped", "gap", "clock"),
        *inserted("clock", "01:15"),
    ]


def test_ticks_left_out_for_a_reason_are_one_row() -> None:
    assert rows(plan_skip(hourly(), NOW - 3 * HOUR, NOW, "disabled")) == [
        ("10:00", "12:00", 3, "skipped", "disabled", "clock")
    ]
    assert plan_skip(hourly(), NOW, NOW + 59 * MINUTE, "disabled") == ()
    assert rows(plan_skip(hourly(end=NOW), NOW - SECOND, NOW, "disabled")) == [
        ("12:00", "12:00", 1, "skipped", "ended", "clock")
    ]
    assert plan_skip(hourly(end=NOW), NOW, NOW + DAY, "disabled") == ()


def test_a_year_of_seconds_is_counted_at_once() -> None:
    (entry,) = plan_skip(hourly(cron="* * * * * *", timezone="Europe/Berlin"), NOW - 365 * DAY, NOW, "disabled")
    assert entry.count == 365 * 86_400


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
CRONS = st.sampled_from(["*/10 * * * *", "0 * * * *", "30 2 * * *", "15 1,2,3 * * *", "0 0 1 * *", "*/15 * * * * *"])
# Hours around the changes of Berlin in spring, of New York in autumn, and of Lord Howe by half an hour.
ORIGINS = st.sampled_from(
    [
        NOW,
        datetime(2027, 3, 28, tzinfo=UTC),
        datetime(2026, 11, 1, 5, tzinfo=UTC),
        datetime(2026, 10, 3, 15, tzinfo=UTC),
    ]
)


def spans(hours: int) -> st.SearchStrategy[timedelta]:
    return st.integers(0, hours * 3600).map(lambda seconds: timedelta(seconds=seconds))


@st.composite
def situations(draw: st.DrawFn) -> tuple[Schedule, datetime, datetime]:
    """A schedule, where its planning stands, and now."""
    planned_to = draw(ORIGINS) - draw(spans(3))
    now = planned_to + draw(spans(8))
    timing: dict[str, Any] = draw(
        st.one_of(
            st.builds(
                lambda cron, zone, gap, fold: {"cron": cron, "timezone": zone, "gap": gap, "fold": fold},
                CRONS, ZONES, st.sampled_from(["shift", "skip"]), st.sampled_from(["first", "second", "both"]),
            ),
            st.sampled_from([7, 60, 3600, 5400]).map(lambda seconds: {"every": timedelta(seconds=seconds)}),
            spans(12).map(lambda later: {"at": planned_to - 2 * HOUR + later}),
        )
    )  # fmt: skip
    schedule = Schedule(
        "k", "t", **timing,
        start=draw(st.one_of(st.none(), spans(4).map(lambda later: planned_to + later - HOUR))),
        end=draw(st.one_of(st.none(), spans(9).map(lambda later: planned_to + later))),
        grace=draw(st.sampled_from([timedelta(), MINUTE, 2 * HOUR])),
        catch_up=draw(st.sampled_from(["none", "latest", "all"])),
        catch_up_window=draw(st.sampled_from([timedelta(), HOUR, DAY])),
        catch_up_limit=draw(st.sampled_from([1, 3, 100])),
    )  # fmt: skip
    return schedule, planned_to, now


def fates(schedule: Schedule, after: datetime, now: datetime, horizon: timedelta) -> list[tuple[datetime, str]]:
    """What becomes of each nominal tick, planned slice by slice up to now + horizon."""
    found: list[tuple[datetime, str]] = []
    while after < now + horizon or not found:
        done = plan(schedule, after, NOW - 9 * DAY, now, horizon)
        for entry in done.entries:
            if entry.reason == "ended":
                assert schedule.end is not None
                assert entry.tick == schedule.timing().next(schedule.end - INSTANT)
                continue
            found += [(tick, f"{entry.outcome} {entry.reason} {entry.origin}") for tick in covered(schedule, entry)]
        if done.planned_to == after:
            break
        after = done.planned_to
    return found


def covered(schedule: Schedule, entry: Entry) -> list[datetime]:
    if entry.reason == "ended":
        return []
    if entry.reason == "gap":
        return [entry.tick]
    found = list(schedule.timing().ticks(entry.tick - INSTANT, entry.through + INSTANT))
    assert len(found) == entry.count
    return found


def nominal(schedule: Schedule, after: datetime, upto: datetime) -> list[datetime]:
    """Every instant that must be accounted for in (after, upto], by brute force."""
    timing = schedule.timing()
    found = list(timing.ticks(after, upto + INSTANT))
    if isinstance(timing, Cron):
        found += timing.skipped_in_gap(after, upto + INSTANT)
    start, end = schedule.start or after, schedule.end or upto + SECOND
    return sorted(tick for tick in found if start <= tick < end)


@examples(150)
@given(situations(), spans(4))
def test_every_nominal_tick_is_accounted_for_once(
    situation: tuple[Schedule, datetime, datetime], horizon: timedelta
) -> None:
    schedule, planned_to, now = situation
    with patch.object(ticks, "INSERT_SLICE", 40):
        found = Counter(tick for tick, _ in fates(schedule, planned_to, now, horizon))
    assert found == Counter(nominal(schedule, planned_to, max(planned_to, now + horizon)))


@examples(150)
@given(situations(), spans(3), spans(3))
def test_a_plan_equals_the_plans_of_its_parts(
    situation: tuple[Schedule, datetime, datetime], horizon: timedelta, more: timedelta
) -> None:
    schedule, planned_to, now = situation
    with patch.object(ticks, "INSERT_SLICE", 10_000):
        whole = fates(schedule, planned_to, now, horizon + more)
        parts = fates(schedule, planned_to, now, horizon)
        parts += fates(schedule, max(planned_to, now + horizon), now, horizon + more)
    assert sorted(parts) == sorted(whole)


@examples(100)
@given(situations(), spans(3))
def test_planning_goes_on_after_the_next_tick(
    situation: tuple[Schedule, datetime, datetime], horizon: timedelta
) -> None:
    schedule, planned_to, now = situation
    done = plan(schedule, planned_to, NOW - 9 * DAY, now, horizon)
    assert done.next_tick == next_tick(schedule, done.planned_to)
    assert done.next_tick is None or done.next_tick > done.planned_to >= planned_to
    assert done.look_at == done.next_tick or (done.next_tick is None and done.look_at is not None)


@examples(150)
@given(situations(), spans(3), st.sampled_from([None, 1, 7]))
def test_missed_ticks_may_be_decided_on_later(
    situation: tuple[Schedule, datetime, datetime], horizon: timedelta, most: int | None
) -> None:
    schedule, planned_to, now = situation
    created = NOW - 9 * DAY
    owed = missed_span(schedule, planned_to, created, now)
    whole = fates(schedule, planned_to, now, horizon)
    if owed is None:
        assert not any("catch_up" in fate for _, fate in whole)
        return
    after, upto = owed
    parts = fates(schedule, upto, now, horizon)
    assert all(fate == "inserted None clock" or "gap" in fate for _, fate in parts)
    while after < upto:
        done = plan(schedule, after, created, now, upto - now, most)
        for entry in done.entries:
            parts += [(tick, f"{entry.outcome} {entry.reason} {entry.origin}") for tick in covered(schedule, entry)]
        after = done.planned_to
    assert sorted(parts) == sorted(whole)


def test_what_has_no_missed_tick_owes_nothing() -> None:
    assert missed_span(hourly(), NOW, NOW, NOW + HOUR + MINUTE) is None
    assert missed_span(hourly(), NOW, NOW, NOW + HOUR + MINUTE + INSTANT) == (NOW, NOW + HOUR)
    assert missed_span(hourly(), NOW + DAY, NOW, NOW) is None
    assert missed_span(Schedule("k", "t", at=NOW), NOW - DAY, NOW, NOW + DAY) is None


def test_offsets_are_the_same_for_ever() -> None:
    assert offset("nightly-report", HOUR) == timedelta(milliseconds=511_613)
    schedule = Schedule("nightly-report", "t", cron="0 * * * *", spread=HOUR, jitter=30 * SECOND)
    moved = run_at(schedule, NOW) - NOW
    assert moved == timedelta(milliseconds=511_613 + 27_034)


def test_spread_is_fixed_and_jitter_is_not() -> None:
    spread, jitter = hourly(spread=HOUR), hourly(jitter=HOUR)
    assert len({run_at(spread, NOW + n * HOUR) - n * HOUR for n in range(20)}) == 1
    assert len({run_at(jitter, NOW + n * HOUR) - n * HOUR for n in range(20)}) == 20
    assert run_at(hourly(), NOW) == NOW


@examples(100)
@given(st.text(st.characters(codec="utf-8"), max_size=100), st.timedeltas(timedelta(), timedelta(days=400)))
def test_an_offset_stays_below_its_window(text: str, window: timedelta) -> None:
    assert timedelta() <= offset(text, window) < max(window, SECOND)


def test_offsets_are_spread_evenly() -> None:
    buckets = Counter(offset(f"customer-{n}", MINUTE) // (10 * SECOND) for n in range(6000))
    assert sorted(buckets) == [0, 1, 2, 3, 4, 5]
    assert all(900 < count < 1100 for count in buckets.values())
