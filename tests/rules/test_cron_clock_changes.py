"""Nights on which a clock changes: each row a zone, an expression, a window, and the ticks in it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pqclock.rules.cron import Cron


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def local_ticks(cron: Cron, after: str, before: str) -> list[str]:
    zone = ZoneInfo(cron.timezone)
    inside = cron.ticks(at(after).replace(tzinfo=zone), at(before).replace(tzinfo=zone))
    return [tick.astimezone(zone).strftime("%d %H:%M%z") for tick in inside]


GAPS = [
    # Paris, 30 March 2025: 02:00 becomes 03:00
    ("Europe/Paris", "30 2 * * *", "2025-03-29", "2025-04-01", "29 02:30+0100, 30 03:00+0200, 31 02:30+0200"),
    ("Europe/Paris", "0 2 * * *", "2025-03-30", "2025-03-31", "30 03:00+0200"),
    ("Europe/Paris", "0 3 * * *", "2025-03-30", "2025-03-31", "30 03:00+0200"),
    ("Europe/Paris", "0 2,3 * * *", "2025-03-30", "2025-03-31", "30 03:00+0200"),
    ("Europe/Paris", "10,20 2 * * *", "2025-03-30", "2025-03-31", "30 03:00+0200"),
    ("Europe/Paris", "30 1-3 * * *", "2025-03-30", "2025-03-31", "30 01:30+0100, 30 03:00+0200, 30 03:30+0200"),
    ("Europe/Paris", "0-59 2 * * *", "2025-03-30", "2025-03-31", "30 03:00+0200"),
    ("Europe/Paris", "30 0 2 * * *", "2025-03-30", "2025-03-31", "30 03:00+0200"),
    ("Europe/Paris", "0 */2 * * *", "2025-03-30", "2025-03-30T07:00", "30 04:00+0200, 30 06:00+0200"),
    ("Europe/Paris", "* 2 * * *", "2025-03-30", "2025-03-31", ""),
    ("Europe/Paris", "*/20 2 * * *", "2025-03-30", "2025-03-31", ""),
    ("Europe/Paris", "*/30 0 2 * * *", "2025-03-30", "2025-03-31", ""),
    ("Europe/Paris", "30 * * * *", "2025-03-30T01:00", "2025-03-30T04:00", "30 01:30+0100, 30 03:30+0200"),
    ("Europe/Berlin", "59 1,2 * * *", "2026-03-29", "2026-03-30", "29 01:59+0100, 29 03:00+0200"),
    ("America/New_York", "30 2 * * *", "2026-03-07T12:00", "2026-03-09T12:00", "08 03:00-0400, 09 02:30-0400"),
    # Lord Howe, 5 October 2025: 02:00 becomes 02:30
    ("Australia/Lord_Howe", "15 2 * * *", "2025-10-05", "2025-10-06", "05 02:30+1100"),
    ("Australia/Lord_Howe", "15,45 2 * * *", "2025-10-05", "2025-10-06", "05 02:30+1100, 05 02:45+1100"),
    ("Australia/Lord_Howe", "*/15 2 * * *", "2025-10-05", "2025-10-06", "05 02:30+1100, 05 02:45+1100"),
    # Santiago, 8 September 2024, Cairo, 26 April 2024, Beirut, 31 March 2024: midnight becomes 01:00
    ("America/Santiago", "0 0 * * *", "2024-09-07T12:00", "2024-09-10", "08 01:00-0300, 09 00:00-0300"),
    ("America/Santiago", "@daily", "2024-09-07T12:00", "2024-09-09T12:00", "08 01:00-0300, 09 00:00-0300"),
    ("Africa/Cairo", "30 0 * * 5", "2024-04-20", "2024-05-04", "26 01:00+0300, 03 00:30+0300"),
    ("Africa/Cairo", "0 0 * * 4", "2024-04-25T12:00", "2024-05-01", ""),
    ("Asia/Beirut", "0 0 31 3 *", "2024-01-01", "2024-12-31", "31 01:00+0300"),
    # Troll, 30 March 2025: 01:00 becomes 03:00, two hours
    ("Antarctica/Troll", "30 1,2 * * *", "2025-03-30", "2025-03-31", "30 03:00+0200"),
    # Dublin counts summer as its standard time, and winter as negative summer time
    ("Europe/Dublin", "30 1 * * *", "2025-03-29T12:00", "2025-03-31T12:00", "30 02:00+0100, 31 01:30+0100"),
    # Pyongyang, 5 May 2018: half an hour for good; Caracas, 1 May 2016: the same
    ("Asia/Pyongyang", "45 23 * * *", "2018-05-04T12:00", "2018-05-06", "05 00:00+0900, 05 23:45+0900"),
    ("America/Caracas", "45 2 * * *", "2016-05-01", "2016-05-02", "01 03:00-0400"),
]
FOLDS = [
    # Paris, 26 October 2025: 03:00 becomes 02:00
    ("Europe/Paris", "30 2 * * *", "2025-10-26", "2025-10-27T12:00", "26 02:30+0200, 27 02:30+0100"),
    ("Europe/Paris", "0 2,3 * * *", "2025-10-26", "2025-10-27", "26 02:00+0200, 26 03:00+0100"),
    ("Europe/Paris", "0 0-23 * * *", "2025-10-26T01:00", "2025-10-26T04:00", "26 02:00+0200, 26 03:00+0100"),
    ("Europe/Paris", "*/30 2 * * *", "2025-10-26", "2025-10-27",
     "26 02:00+0200, 26 02:30+0200, 26 02:00+0100, 26 02:30+0100"),
    ("Europe/Paris", "0 * * * *", "2025-10-26T01:30", "2025-10-26T03:30",
     "26 02:00+0200, 26 02:00+0100, 26 03:00+0100"),
    ("Europe/Paris", "@hourly", "2025-10-26T01:30", "2025-10-26T02:30", "26 02:00+0200"),
    ("America/New_York", "15 1 * 11 *", "2026-11-01", "2026-11-02", "01 01:15-0400"),
    ("Australia/Lord_Howe", "45 1 * * *", "2025-04-06", "2025-04-07", "06 01:45+1100"),
    ("Australia/Lord_Howe", "5,34 * * * *", "2025-04-06T01:27", "2025-04-06T02:30",
     "06 01:34+1100, 06 01:34+1030, 06 02:05+1030"),
    # Santiago, 6 April 2025: midnight becomes 23:00 of the day before
    ("America/Santiago", "0 0 * * *", "2025-04-05T12:00", "2025-04-06T12:00", "06 00:00-0400"),
    ("America/Santiago", "30 23 * * *", "2025-04-05T12:00", "2025-04-06T12:00", "05 23:30-0300"),
    ("Africa/Cairo", "30 23 * * *", "2024-10-31T12:00", "2024-11-01T12:00", "31 23:30+0300"),
    ("Europe/Dublin", "30 1 * * *", "2025-10-26", "2025-10-27", "26 01:30+0100"),
]  # fmt: skip
MOVES = [
    # Samoa left out 30 December 2011, Kwajalein 21 August 1993; Casey has gone back three hours at a time
    ("Pacific/Apia", "30 12 * * *", "2011-12-29", "2012-01-01", "29 12:30-1000, 31 12:30+1400"),
    ("Pacific/Apia", "0 0 * * *", "2011-12-29T12:00", "2012-01-01T12:00", "31 00:00+1400, 01 00:00+1400"),
    ("Pacific/Apia", "0 0 30 12 *", "2011-12-01", "2012-12-31", "30 00:00+1400"),
    ("Pacific/Apia", "0 * * * *", "2011-12-29T22:30", "2011-12-31T01:30",
     "29 23:00-1000, 31 00:00+1400, 31 01:00+1400"),
    ("Pacific/Kwajalein", "0 6 * * *", "1993-08-20", "1993-08-23", "20 06:00-1200, 22 06:00+1200"),
    ("Antarctica/Casey", "30 3 * * *", "2023-03-09", "2023-03-10", "09 03:30+0800"),
    ("Antarctica/Casey", "30 2 * * *", "2010-03-05", "2010-03-06", "05 02:30+0800"),
    ("Antarctica/Casey", "30 23,0 * * *", "2010-03-04T12:00", "2010-03-05T12:00",
     "04 23:30+1100, 05 00:30+1100, 04 23:30+0800, 05 00:30+0800"),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "expr", "after", "before", "ticks"), GAPS + FOLDS + MOVES)
def test_ticks_near_a_change(zone: str, expr: str, after: str, before: str, ticks: str) -> None:
    assert ", ".join(local_ticks(Cron(expr, zone), after, before)) == ticks


@pytest.mark.parametrize(("zone", "expr", "after", "before", "ticks"), GAPS + FOLDS + MOVES)
def test_backwards_is_the_same(zone: str, expr: str, after: str, before: str, ticks: str) -> None:
    cron, tick = Cron(expr, zone), at(before).replace(tzinfo=ZoneInfo(zone))
    found = []
    while (tick := cron.previous(tick)) > at(after).replace(tzinfo=ZoneInfo(zone)):
        found.append(tick.astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z"))
    assert ", ".join(reversed(found)) == ticks


@pytest.mark.parametrize(
    ("fold", "ticks"),
    [
        ("first", ["26 01:30+0200", "26 02:00+0200", "26 02:30+0200", "26 03:00+0100"]),
        ("second", ["26 01:30+0200", "26 02:00+0100", "26 02:30+0100", "26 03:00+0100"]),
        ("both", ["26 01:30+0200", "26 02:00+0200", "26 02:30+0200",
                  "26 02:00+0100", "26 02:30+0100", "26 03:00+0100"]),
    ],
)  # fmt: skip
def test_fold(fold: str, ticks: list[str]) -> None:
    cron = Cron("0,30 1-3 * * *", "Europe/Paris", fold=fold)
    assert local_ticks(cron, "2025-10-26T01:00", "2025-10-26T03:30") == ticks


def test_a_wildcard_heeds_neither_gap_nor_fold() -> None:
    plain = Cron("*/30 * * * *", "Europe/Paris")
    for gap, fold in (("skip", "first"), ("shift", "second"), ("skip", "both")):
        other = Cron("*/30 * * * *", "Europe/Paris", gap, fold)
        for day in ("2025-03-30", "2025-10-26"):
            window = (at(f"{day}T00:00Z"), at(f"{day}T04:00Z"))
            assert list(other.ticks(*window)) == list(plain.ticks(*window))
            assert not list(other.skipped_in_gap(*window))


def test_skip_leaves_the_gap_out_and_says_so() -> None:
    cron = Cron("30 2 * * *", "Europe/Paris", gap="skip")
    assert local_ticks(cron, "2025-03-29", "2025-04-01") == ["29 02:30+0100", "31 02:30+0200"]
    window = (at("2025-01-01T00:00Z"), at("2028-01-01T00:00Z"))
    ends = ["2025-03-30T01:00Z", "2026-03-29T01:00Z", "2027-03-28T01:00Z"]
    assert list(cron.skipped_in_gap(*window)) == [at(end) for end in ends]
    assert not list(Cron("30 2 * * *", "Europe/Paris").skipped_in_gap(*window))
    assert not list(Cron("30 4 * * *", "Europe/Paris", gap="skip").skipped_in_gap(*window))
    assert not list(Cron("30 2 * * *", gap="skip").skipped_in_gap(*window))


def test_skipped_is_strictly_between() -> None:
    cron = Cron("30 2 * * *", "Europe/Paris", gap="skip")
    end = at("2025-03-30T01:00Z")
    assert not list(cron.skipped_in_gap(end, at("2025-12-01T00:00Z")))
    assert not list(cron.skipped_in_gap(at("2025-01-01T00:00Z"), end))


def test_a_gap_that_ends_on_a_tick_is_not_skipped() -> None:
    cron = Cron("0 2,3 * * *", "Europe/Paris", gap="skip")
    window = (at("2025-03-30T00:00Z"), at("2025-03-30T12:00Z"))
    assert list(cron.ticks(*window)) == [at("2025-03-30T01:00Z")]
    assert not list(cron.skipped_in_gap(*window))


def test_a_restart_in_the_second_pass_answers_nothing_of_the_past() -> None:
    cron = Cron("45 2 * * *", "Europe/Paris")
    assert cron.next(at("2025-10-26T02:50+02:00")) == at("2025-10-27T01:45Z")
    assert cron.next(at("2025-10-26T02:10+01:00")) == at("2025-10-27T01:45Z")
    hourly = Cron("0 * * * *", "Europe/Paris")
    assert hourly.next(at("2025-10-26T02:10+01:00")) == at("2025-10-26T02:00Z")


@pytest.mark.parametrize(
    ("zone", "expr", "tick", "named"),
    [
        ("Asia/Pyongyang", "45 23 * * *", "2018-05-04T15:00Z", "2018-05-04"),
        ("America/Scoresbysund", "30 23 * * SAT", "2025-03-30T01:00Z", "2025-03-29"),
        ("America/Scoresbysund", "0,30 23,0 * * *", "2025-03-30T01:00Z", "2025-03-30"),
        ("America/Scoresbysund", "*/30 * * * *", "2025-03-30T01:00Z", "2025-03-30"),
        ("America/Santiago", "0 0 * * *", "2024-09-08T04:00Z", "2024-09-08"),
        ("Europe/Berlin", "30 0 * * *", "2026-06-30T22:30Z", "2026-07-01"),
        ("Pacific/Kiritimati", "0 0 * * *", "2026-06-30T10:00Z", "2026-07-01"),
    ],
)
def test_local_date_is_that_of_the_named_time(zone: str, expr: str, tick: str, named: str) -> None:
    cron = Cron(expr, zone)
    assert cron.next(at(tick) - timedelta(seconds=1)) == at(tick)
    assert cron.local_date(at(tick)) == date.fromisoformat(named)


@pytest.mark.parametrize("gap", ["shift", "skip"])
def test_local_date_of_a_skipped_one(gap: str) -> None:
    cron = Cron("45 23 * * *", "Asia/Pyongyang", gap=gap)
    assert cron.local_date(at("2018-05-04T15:00Z")) == date(2018, 5, 4)


# Where croniter's own walk goes wrong: lost and doubled ticks, decades leapt back.
@pytest.mark.parametrize(
    ("expr", "zone", "before", "ticks"),
    [
        ("30 2 L 3 *", "Europe/Paris", "2026-03-29T12:00+02:00", ["2025-03-31T00:30Z", "2024-03-31T01:00Z"]),
        ("30 2 * 3 SUN#L", "Europe/Paris", "2026-03-29T12:00+02:00", ["2026-03-29T01:00Z", "2025-03-30T01:00Z"]),
        ("30 2 * 3 SUN#2", "America/Chicago", "2026-03-08T12:00-05:00", ["2026-03-08T08:00Z", "2025-03-09T08:00Z"]),
        ("15 1 * 11 *", "America/New_York", "2026-11-01T01:10-05:00", ["2026-11-01T05:15Z", "2025-11-30T06:15Z"]),
    ],
)
def test_walking_back(expr: str, zone: str, before: str, ticks: list[str]) -> None:
    cron, tick, found = Cron(expr, zone), at(before), []
    for _ in ticks:
        tick = cron.previous(tick)
        found.append(tick)
    assert found == [at(text) for text in ticks]


def test_an_offset_in_the_argument_is_only_an_instant() -> None:
    cron = Cron("30 2 * * *", "Europe/Paris")
    tick = cron.next(at("2025-03-28T12:00+05:30"))
    assert tick == at("2025-03-29T01:30Z")
    assert tick.tzinfo is UTC
