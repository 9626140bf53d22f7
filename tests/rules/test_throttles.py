"""The model of throttles: no window ever sees too much, and the rate is used."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.rules.throttles import Throttle, default_burst, nanoseconds

START = 1_795_000_000 * 10**9
SECOND = 10**9


@st.composite
def throttles(draw: st.DrawFn) -> Throttle:
    rate = draw(st.integers(1, 300))
    burst = draw(st.one_of(st.just(default_burst(rate)), st.integers(1, rate)))
    return Throttle(rate, timedelta(milliseconds=draw(st.integers(1, 3_600_000))), burst)


def serve(
    throttle: Throttle, asked: list[tuple[int, int]], tat: int = 0, now: int = START
) -> tuple[list[tuple[int, int]], int]:
    """Starts, each as early as it may after a pause: (instant, units); and the gate's instant after them."""
    starts = []
    for pause, units in asked:
        opens = throttle.opens_ns(tat, units)
        assert opens is not None
        now = max(now + pause, opens)
        assert throttle.allows(tat, now, units) and (now < opens + 1 or not throttle.allows(tat, opens - 1, units))
        tat = throttle.started(tat, now, units)
        starts.append((now, units))
    return starts, tat


def most_in_a_window(starts: list[tuple[int, int]], window: int) -> int:
    """The most units that any half-open window of this length sees; one begins at a start."""
    worst = 0
    for first, (begin, _) in enumerate(starts):
        worst = max(worst, sum(units for at, units in starts[first:] if at < begin + window))
    return worst


@given(throttles(), st.data())
def test_no_window_sees_more_than_the_rate(throttle: Throttle, data: st.DataObject) -> None:
    assert throttle.rate is not None and throttle.per is not None
    window = nanoseconds(throttle.per)
    pauses = st.one_of(st.just(0), st.integers(0, window * 2), st.integers(0, window // throttle.rate + 1))
    asked = data.draw(st.lists(st.tuples(pauses, st.integers(1, throttle.rate)), min_size=1, max_size=60))
    starts, _ = serve(throttle, asked)
    assert most_in_a_window(starts, window) <= throttle.rate


@given(st.integers(1, 1_000_000), st.integers(1, 86_400_000))
def test_with_a_backlog_96_percent_of_the_rate_is_used(rate: int, milliseconds: int) -> None:
    throttle = Throttle(rate, timedelta(milliseconds=milliseconds), default_burst(rate))
    assert throttle.interval_ns is not None and throttle.per is not None
    # Rounding up to whole nanoseconds costs nothing that counts until there are many thousand starts in a millisecond.
    exact = nanoseconds(throttle.per) / throttle.interval_ns
    assert exact >= 0.96 * rate * (1 - 1 / throttle.interval_ns) and exact <= rate


@given(throttles(), st.data())
def test_a_throttle_leaves_alone_what_it_has_written(throttle: Throttle, data: st.DataObject) -> None:
    assert throttle.rate is not None
    asked = data.draw(st.lists(st.tuples(st.just(0), st.integers(1, throttle.rate)), min_size=1, max_size=20))
    starts, tat = serve(throttle, asked)
    assert throttle.clamped(tat, starts[-1][0]) == tat


@given(throttles(), st.data())
def test_a_faster_rule_is_not_held_up_and_no_window_of_it_sees_too_much(slow: Throttle, data: st.DataObject) -> None:
    assert slow.rate is not None and slow.per is not None and slow.burst is not None
    rate = data.draw(st.integers(slow.rate, 400))
    fast = Throttle(rate, slow.per, data.draw(st.integers(1, rate)))
    assert fast.interval_ns is not None and slow.interval_ns is not None
    if fast.interval_ns > slow.interval_ns:
        return
    units = st.tuples(st.integers(0, slow.interval_ns * 3), st.integers(1, slow.rate))
    before, tat = serve(slow, data.draw(st.lists(units, min_size=1, max_size=20)))
    change = before[-1][0] + data.draw(st.integers(0, slow.interval_ns * 3))
    tat = fast.clamped(tat, change)
    assert tat <= change + rate * fast.interval_ns
    more = st.lists(st.tuples(st.just(0), st.integers(1, rate)), min_size=1, max_size=40)
    after, _ = serve(fast, data.draw(more), tat, change)
    assert most_in_a_window(before + after, nanoseconds(fast.per or timedelta())) <= rate


@pytest.mark.parametrize(
    ("definition", "burst", "interval"),
    [
        ({"rate": "100/1m"}, 5, 625_000_000),
        ({"rate": "25/1s"}, 2, 41_666_667),
        ({"rate": "1/1h"}, 1, 3600 * SECOND),
        ({"rate": "3/1s", "burst": 3}, 3, SECOND),
        ({"rate": "24/1s"}, 1, 41_666_667),
    ],
)
def test_defaults(definition: dict[str, object], burst: int, interval: int) -> None:
    throttle = Throttle.of(definition)
    assert (throttle.burst, throttle.interval_ns, throttle.concurrency) == (burst, interval, None)


def test_without_a_rate_every_start_is_allowed() -> None:
    throttle = Throttle.of({"concurrency": 4})
    assert throttle == Throttle(concurrency=4)
    assert throttle.allows(5 * START, START, 9) and throttle.started(7, START) == 7 and throttle.clamped(7, 0) == 7


def test_one_of_more_units_than_the_burst_waits_for_the_room() -> None:
    throttle = Throttle.of({"rate": "10/10s", "burst": 1})
    starts, _ = serve(throttle, [(0, 1), (0, 4), (0, 1), (0, 1)])
    assert [(later[0] - earlier[0]) / SECOND for earlier, later in pairwise(starts)] == [4, 4, 1]
