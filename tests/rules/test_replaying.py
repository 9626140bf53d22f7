"""Runs of the past through the model of a rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.errors import ArgumentError
from pqclock.rules import replaying
from pqclock.rules.fuses import Fuse
from pqclock.rules.key_templates import compile_key
from pqclock.rules.replaying import Delays, Replay, Run
from pqclock.rules.throttles import Throttle

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
UNTIL = NOW + timedelta(days=1)


def a_run(at: float, length: float = 0, key: str = "", outcome: str = "succeeded", *names: str) -> Run:
    begin = NOW + at * SECOND
    return Run(key, begin, begin + length * SECOND, outcome, names)


def replayed(limits: Throttle | Fuse, *runs: Run, units: int = 1) -> tuple[list[Delays], Delays]:
    replay = Replay(limits, units)
    for run in runs:
        replay.run(run)
    return replay.results(UNTIL)


def naive(throttle: Throttle, runs: list[tuple[int, int]], units: int) -> list[int]:
    """The delays in seconds, second by second."""
    tat, running, now, delays = 0, list[int](), 0, []
    waiting = list(runs)
    while waiting:
        begin, length = waiting[0]
        running = [end for end in running if end > now]
        free = throttle.concurrency is None or len(running) < throttle.concurrency
        if begin > now or not free or not throttle.allows(tat, now * 10**9, units):
            now += 1
            continue
        waiting.pop(0)
        tat = throttle.started(tat, now * 10**9, units)
        if length:
            running.append(now + length)
        delays.append(now - begin)
    return delays


@given(
    st.integers(1, 3), st.integers(1, 4), st.sampled_from([None, 1, 2, 3]),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20)), max_size=25), st.integers(1, 3),
)  # fmt: skip
def test_it_is_what_a_look_at_every_second_gives(
    burst: int, interval: int, concurrency: int | None, given_runs: list[tuple[int, int]], units: int
) -> None:
    rate = burst + 4
    throttle = Throttle(rate, interval * (rate - burst + 1) * SECOND, burst, concurrency)
    # From 1970 on, since the naive look counts from there.
    base = datetime(1970, 1, 1, tzinfo=UTC)
    runs = sorted(given_runs)
    replay = Replay(throttle, units)
    for at, length in runs:
        replay.run(Run("", base + at * SECOND, base + (at + length) * SECOND, "succeeded"))
    _, found = replay.results(UNTIL)
    delays = naive(throttle, runs, units)
    assert (found.starts, found.delayed) == (len(runs), sum(delay > 0 for delay in delays))
    assert found.total == sum(delays) * SECOND and found.max == max(delays, default=0) * SECOND


def test_keys_have_gates_of_their_own() -> None:
    throttle = Throttle.of({"rate": "1/10s"})
    keys, overall = replayed(throttle, *(a_run(0, key=key) for key in "aab"), a_run(15, key="a"))
    assert [(one.key, one.starts, one.delayed, one.total) for one in keys] == [
        ("a", 3, 2, 15 * SECOND),
        ("b", 1, 0, 0 * SECOND),
    ]
    assert (overall.starts, overall.delayed, overall.share, overall.max) == (4, 2, 0.5, 10 * SECOND)
    assert keys[0].worst_at == NOW and keys[0].median == pytest.approx(5 * SECOND, rel=0.01)


def test_concurrency_waits_for_the_first_end() -> None:
    keys, _ = replayed(Throttle(concurrency=2), a_run(0, 30), a_run(1, 5), a_run(2, 5), a_run(3, 1))
    assert [(one.delayed, one.total) for one in keys] == [(2, (4 + 8) * SECOND)]


def test_a_fuse_holds_back_what_comes_while_it_is_blown() -> None:
    fuse = Fuse.of({"failures": 2, "within": "1m", "cool_down": "1m", "max_cool_down": "2m"})
    failing = [a_run(at, 1, "", "failed", "OSError") for at in (0, 10)]
    # Blown at 11 until 71; the probe fails and blows it until 192; the next one heals it, and the rest goes on.
    later = [a_run(20, 1, "", "failed"), a_run(30, 1), a_run(40, 1), a_run(300, 1)]
    (one,), _ = replayed(fuse, *failing, *later)
    assert (one.starts, one.delayed, one.blown, one.blown_for) == (6, 3, 2, 3 * MINUTE)
    assert one.total == (51 + (192 - 30) + (193 - 40)) * SECOND


def test_what_is_left_of_a_cool_down_at_the_end_does_not_count() -> None:
    fuse = Fuse.of({"failures": 1, "within": "1m", "cool_down": "1h"})
    (one,), _ = replayed(fuse, Run("", UNTIL - MINUTE, UNTIL - 30 * SECOND, "crashed", ("Crashed",)))
    assert (one.blown, one.blown_for) == (1, 30 * SECOND)


@pytest.mark.parametrize(
    ("fields", "outcome", "blown"),
    [
        ({"ignore": ["KeyError"]}, "failed", 0),
        ({"only": ["KeyError"]}, "failed", 1),
        ({}, "snoozed", 0),
        ({}, "cancelled", 0),
    ],
)
def test_only_what_counts_blows_it(fields: dict[str, Any], outcome: str, blown: int) -> None:
    fuse = Fuse.of({"failures": 1, "within": "1m", "cool_down": "1m", **fields})
    (one,), _ = replayed(fuse, a_run(0, 1, "", outcome, "KeyError"))
    assert one.blown == blown


def test_percentiles_are_of_the_delayed_ones() -> None:
    keys, _ = replayed(Throttle(1, SECOND, 1), *(a_run(0) for _ in range(101)))
    assert (keys[0].delayed, keys[0].max) == (100, 100 * SECOND)
    assert keys[0].median == pytest.approx(50 * SECOND, rel=0.01)
    assert keys[0].p95 == pytest.approx(95 * SECOND, rel=0.01)


def test_memory_grows_with_what_runs_and_not_with_what_ran() -> None:
    replay = Replay(Throttle.of({"rate": "1/1h", "concurrency": 3}))
    for at in range(3000):
        replay.run(a_run(at, 10))
    (gate,) = replay._gates.values()
    assert len(gate.ends) <= 3


def test_without_runs_there_is_nothing() -> None:
    keys, overall = replayed(Throttle(concurrency=1))
    assert keys == [] and (overall.starts, overall.share, overall.worst_at) == (0, 0.0, None)


def test_units_above_the_rate_and_too_many_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match="units 5 are above the rate, 3: such a job never starts"):
        Replay(Throttle.of({"rate": "3/1s"}), 5)
    monkeypatch.setattr(replaying, "MOST_KEYS", 2)
    with pytest.raises(ArgumentError, match="more than 2 keys: look at a shorter time"):
        replayed(Throttle(concurrency=1), *(a_run(0, key=key) for key in "abc"))


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{account}", "acme"), ("{args.account}", "acme"), ("a:{order.id}-{n}", "a:7-1.5"), ("{{{account}}}", "{acme}"),
        ("{flag}", "true"), ("{none}", None), ("{missing}", None), ("{account.x}", None), ("fixed", "fixed"),
    ],
)  # fmt: skip
def test_key_templates(template: str, key: str | None) -> None:
    args = {"account": "acme", "order": {"id": 7}, "n": 1.5, "flag": True, "none": None}
    assert compile_key(template).render(args) == key


@pytest.mark.parametrize("template", ["{", "}", "{}", "{a b}", "{a:%Y}", "{a..b}"])
def test_bad_key_templates(template: str) -> None:
    with pytest.raises(ArgumentError, match=r"is no field: write for example \{account\}"):
        compile_key(template)
