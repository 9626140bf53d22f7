"""What a handler may say of a gate that it wants closed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pqclock import ArgumentError, Cooldown


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("60s", 60), (timedelta(minutes=1), 60), (3, 3), (2.5, 2.5), ("30", 30), (" 1.5 ", 1.5), (0, 0), (-1, 0),
     (timedelta(seconds=-1), 0), (float("inf"), timedelta(days=36_525).total_seconds())],
)  # fmt: skip
def test_a_delay_is_a_duration_or_seconds(delay: Any, seconds: float) -> None:
    assert Cooldown("stripe:acct_42", delay).delay.total_seconds() == seconds


@pytest.mark.parametrize("delay", ["soon", None, True, float("nan"), "Fri, 31 Dec 1999 23:59:59 GMT"])
def test_what_is_neither_is_refused_with_its_name(delay: Any) -> None:
    with pytest.raises(ArgumentError, match=r"Cooldown\(delay=.*a number is of seconds"):
        Cooldown("stripe", delay)


@pytest.mark.parametrize("key", ["a b", "", "stripe:", "api:{acct}", 3])
def test_what_names_no_gate_is_refused(key: Any) -> None:
    with pytest.raises(ArgumentError, match=r"Cooldown\(key="):
        Cooldown(key, "1s")


def test_a_key_may_have_braces_of_its_own() -> None:
    assert Cooldown("api:a{b", "1s").key == "api:a{b"
