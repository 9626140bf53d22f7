"""The model of fuses: when they blow, what they let through, and which outcomes count."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.rules.fuses import FAILURE, NEUTRAL, SUCCESS, Fuse, FuseState, Grant

SECOND = 10**9
MINUTE = 60 * SECOND


def a_fuse(**fields: Any) -> Fuse:
    given = {"within": "1m", "cool_down": "5m", "max_cool_down": "1h"}
    return Fuse.of({**given, **({} if "failure_rate" in fields else {"failures": 3}), **fields})


def run(state: FuseState, fuse: Fuse, counted: str, now: int) -> bool:
    return state.settle(fuse, state.grant(now), counted, now)


def test_so_many_failures_within_the_window_blow_it() -> None:
    fuse, state = a_fuse(), FuseState()
    assert [run(state, fuse, FAILURE, at * SECOND) for at in (0, 10, 60)] == [False, False, False]
    assert run(state, fuse, FAILURE, 61 * SECOND)
    assert state.blown_until == 361 * SECOND and not state.allows(fuse, 360 * SECOND)


def test_a_share_of_failures_blows_it_once_there_are_enough_outcomes() -> None:
    fuse, state = a_fuse(failure_rate=0.5, minimum=4), FuseState()
    assert [run(state, fuse, counted, SECOND) for counted in (FAILURE, FAILURE, SUCCESS)] == [False] * 3
    assert run(state, fuse, FAILURE, 2 * SECOND)
    state = FuseState()
    outcomes = (SUCCESS, SUCCESS, SUCCESS, FAILURE, FAILURE, FAILURE)
    assert [run(state, fuse, counted, SECOND) for counted in outcomes] == [False] * 5 + [True]


def test_probes_heal_it_and_one_that_fails_doubles_the_cool_down() -> None:
    fuse, state = a_fuse(probes=2, max_cool_down="15m"), FuseState()
    for _ in range(3):
        run(state, fuse, FAILURE, 0)
    lengths = []
    for _ in range(3):
        now = state.blown_until or 0
        assert run(state, fuse, FAILURE, now)
        lengths.append(((state.blown_until or 0) - now) / MINUTE)
    assert lengths == [10, 15, 15]
    now = state.blown_until or 0
    first, second = state.grant(now), state.grant(now)
    assert not state.allows(fuse, now)
    state.settle(fuse, first, SUCCESS, now)
    assert state.half_open(now) and state.allows(fuse, now)
    state.settle(fuse, second, SUCCESS, now)
    assert state.blown_until is None and state.allows(fuse, now)


def test_a_probe_that_says_nothing_gives_its_place_back() -> None:
    fuse, state = a_fuse(), FuseState()
    for _ in range(3):
        run(state, fuse, FAILURE, 0)
    now = state.blown_until or 0
    run(state, fuse, NEUTRAL, now)
    assert state.half_open(now) and state.allows(fuse, now)


def test_a_probe_of_before_that_still_runs_keeps_its_place() -> None:
    fuse, state = a_fuse(probes=2), FuseState()
    for _ in range(3):
        run(state, fuse, FAILURE, 0)
    now = state.blown_until or 0
    first, second = state.grant(now), state.grant(now)
    state.settle(fuse, first, FAILURE, now)
    now = state.blown_until or 0
    third = state.grant(now)
    assert not state.allows(fuse, now)
    state.settle(fuse, second, SUCCESS, now)
    assert state.allows(fuse, now) and state.passed == 0
    state.settle(fuse, third, SUCCESS, now)
    assert state.passed == 1


def test_outcomes_count_in_the_epoch_of_their_grant_only() -> None:
    fuse, state = a_fuse(), FuseState()
    before = [state.grant(0) for _ in range(6)]
    for grant in before[:3]:
        state.settle(fuse, grant, FAILURE, SECOND)
    end = state.blown_until
    assert not any(state.settle(fuse, grant, FAILURE, 2 * SECOND) for grant in before[3:]) and state.blown_until == end
    run(state, fuse, SUCCESS, end or 0)
    assert state.blown_until is None
    assert not state.settle(fuse, before[5], FAILURE, end or 0) and state.failures == 0


@pytest.mark.parametrize(
    ("fields", "outcome", "names", "counted"),
    [
        ({}, "succeeded", (), SUCCESS),
        ({}, "failed", ("KeyError", "LookupError"), FAILURE),
        ({}, "crashed", ("Crashed",), FAILURE),
        ({}, "snoozed", (), NEUTRAL),
        ({}, "cancelled", ("Cancel",), NEUTRAL),
        ({}, "interrupted", (), NEUTRAL),
        ({"only": ["OSError"]}, "failed", ("TimeoutError", "OSError", "Exception"), FAILURE),
        ({"only": ["OSError"]}, "failed", ("ValueError", "Exception"), NEUTRAL),
        ({"only": ["Crashed"]}, "crashed", ("Crashed",), FAILURE),
        ({"ignore": ["LookupError"]}, "failed", ("KeyError", "LookupError", "Exception"), NEUTRAL),
        ({"only": ["OSError"], "ignore": ["TimeoutError"]}, "failed", ("TimeoutError", "OSError"), NEUTRAL),
        ({"only": []}, "failed", ("ValueError",), FAILURE),
    ],
)
def test_what_counts(fields: dict[str, Any], outcome: str, names: tuple[str, ...], counted: str) -> None:
    assert a_fuse(**fields).counts(outcome, names) == counted


def test_without_max_cool_down_it_does_not_grow() -> None:
    assert Fuse.of({"failures": 1, "within": "1m", "cool_down": "5m"}).max_cool_down == timedelta(minutes=5)


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from([SUCCESS, FAILURE, NEUTRAL])), max_size=80),
)
def test_nothing_gets_through_while_blown_and_so_many_probes_while_half_open(
    probes: int, steps: list[tuple[int, str]]
) -> None:
    fuse, state, now = a_fuse(probes=probes), FuseState(), 0
    running: list[Grant] = []
    for pause, counted in steps:
        now += pause * SECOND
        if state.allows(fuse, now):
            assert not state.blown(now)
            running.append(state.grant(now))
        if state.half_open(now):
            assert sum(grant.probe for grant in running) <= probes
        if running and pause % 3:
            grant, epoch = running.pop(0), state.epoch
            state.settle(fuse, grant, counted, now)
            assert state.epoch == epoch or grant.epoch == epoch == state.epoch - 1
