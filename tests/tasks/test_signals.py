"""What a handler raises to close a gate, and what it cannot say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pqclock import ArgumentError, Cooldown

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("delay", "length"),
    [
        (3, 3 * SECOND), ("30", 30 * SECOND), (2.5, 2.5 * SECOND), (" 2.5 ", 2.5 * SECOND), ("60s", 60 * SECOND),
        (SECOND, SECOND), (0, 0 * SECOND), (-3, 0 * SECOND), ("-1", 0 * SECOND), (-SECOND, 0 * SECOND),
    ],
)  # fmt: skip
def test_a_delay_is_seconds_or_a_duration(delay: Any, length: timedelta) -> None:
    assert Cooldown("stripe:a", delay).delay == length


@pytest.mark.parametrize(
    "delay", [None, True, "soon", "", float("nan"), float("inf"), "Fri, 31 Dec 1999", "1e9", [1], 1e300]
)
def test_another_delay_is_named(delay: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^Cooldown: delay .* must be seconds, such as 30 or 2.5, or a duration"):
        Cooldown("stripe", delay)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("a b", "'a b' must be the name of a rule"),
        ("api:{acct}", "'api:{acct}' has {acct} in it: fill it in, as an f-string does"),
        ("api:", "'api:' must be the name of a rule"),
        ("", "must be a printable text"),
        (None, "must be a printable text"),
        ("x:" + "a" * 600, "must have at most 512 bytes"),
    ],
)
def test_a_key_that_names_no_gate(key: Any, words: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Cooldown(key, "1s")
    assert str(caught.value).startswith("Cooldown: key ") and words in str(caught.value)


def test_a_kind_before_a_key_is_left_out() -> None:
    assert Cooldown("throttle:api:a", 1).key == Cooldown("fuse.api:a", 1).key == "api:a"
    assert str(Cooldown("api:{", 90)) == "api:{ cools down for 1m30s"
