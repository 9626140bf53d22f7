"""What becomes of ticks that are due while jobs of the same schedule are unfinished."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.rules.overlap import Judged, Unfinished, judge
from pqclock.rules.ticks import Entry

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOTHING, ONE, WAITING = Unfinished(), Unfinished(1, False), Unfinished(2, True)


def entry(minute: int, outcome: str = "inserted", reason: str | None = None) -> Entry:
    tick = NOW + timedelta(minutes=minute)
    return Entry(tick, tick, 1, outcome, reason, "clock", tick)


def told(judged: list[Judged]) -> list[str]:
    """Each row in a few words: its minute, how many ticks, and what becomes of them."""
    words = []
    for one in judged:
        more = " held" if one.held else " replaces" if one.replaces else ""
        reason = f" {one.entry.reason}" if one.entry.reason else ""
        words.append(f"{one.entry.tick.minute} x{one.entry.count} {one.entry.outcome}{reason}{more}")
    return words


@pytest.mark.parametrize(
    ("overlap", "unfinished", "expected"),
    [
        ("skip", NOTHING, ["1 x1 inserted", "2 x2 skipped overlap"]),
        ("skip", ONE, ["1 x3 skipped overlap"]),
        ("wait", NOTHING, ["1 x1 inserted", "2 x1 inserted held", "3 x1 skipped overlap"]),
        ("wait", ONE, ["1 x1 inserted held", "2 x2 skipped overlap"]),
        ("wait", WAITING, ["1 x3 skipped overlap"]),
        ("replace", NOTHING, ["1 x2 coalesced overlap", "3 x1 inserted replaces"]),
        ("replace", WAITING, ["1 x2 coalesced overlap", "3 x1 inserted replaces"]),
    ],
)
def test_ticks_overlap_what_is_unfinished_and_one_another(
    overlap: str, unfinished: Unfinished, expected: list[str]
) -> None:
    assert told(judge([entry(1), entry(2), entry(3)], overlap, unfinished)) == expected


def test_what_is_no_tick_stays_as_it_is_and_parts_the_rows() -> None:
    entries = [entry(1), entry(2), entry(3, "skipped", "excluded"), entry(4)]
    assert told(judge(entries, "skip", ONE)) == [
        "1 x2 skipped overlap",
        "3 x1 skipped excluded",
        "4 x1 skipped overlap",
    ]
    assert judge([], "wait", NOTHING) == []


@given(
    st.sampled_from(["skip", "wait", "replace"]),
    st.sampled_from([NOTHING, ONE, WAITING]),
    st.lists(st.booleans(), max_size=12),
)
def test_no_tick_is_lost_and_one_job_at_most_runs_at_a_time(
    overlap: str, unfinished: Unfinished, due: list[bool]
) -> None:
    entries = [entry(n) if is_due else entry(n, "skipped", "gap") for n, is_due in enumerate(due)]
    judged = judge(entries, overlap, unfinished)
    assert sum(one.entry.count for one in judged) == len(due)
    admitted = [one for one in judged if one.entry.outcome == "inserted"]
    starting = [one for one in admitted if not one.held]
    waiting = [one for one in admitted if one.held]
    assert len(starting) + (0 if overlap == "replace" else unfinished.jobs) <= max(1, unfinished.jobs)
    assert len(waiting) + unfinished.waiting <= 1
    if any(due) and overlap == "replace":
        assert [one.entry.tick for one in starting] == [
            max(e.tick for e, is_due in zip(entries, due, strict=True) if is_due)
        ]
