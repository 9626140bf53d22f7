"""What may be stored as JSON, and what is refused with its path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.errors import ArgumentError
from pqclock.rules.json_values import MAX_BYTES, MAX_DEPTH, check_object, check_value, storable_text
from rules.cron_examples import examples


def nested(levels: int) -> object:
    """A value that is `levels` deep, itself included."""
    value: object = 1
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {"b": float("nan")}]}, r"args\.a\[1\]\.b is nan"),
        ({"a": float("-inf")}, r"args\.a is -inf"),
        ({"a": ["x", "\x00"]}, r"args\.a\[1\] holds a NUL"),
        ({"a": {"\x00": 1}}, r"a key of args\.a holds a NUL"),
        ({"a": "\ud800"}, r"args\.a holds half a surrogate pair"),
        ({"\udfff": 1}, "a key of args holds half a surrogate pair"),
        ({"a": {1: 2}}, r"args\.a has the key 1, but"),
        ({"a": (1, date(2026, 11, 22))}, r"args\.a\[1\] is .* of type date"),
        ({"a": {1, 2}}, r"args\.a is .* of type set"),
        ({"a": b"x"}, r"args\.a is b'x' of type bytes"),
        ({"a": nested(MAX_DEPTH)}, r"args\.a.* is nested deeper than 64 levels"),
        ({"a": "x" * MAX_BYTES}, "args takes 65,544 bytes as JSON, the limit is 65,536"),
        ({"a": 10**5000}, r"args\.a is a whole number of more than"),
    ],
)
def test_a_bad_value_is_named_by_its_path(value: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as refusal:
        check_object(value, "args")
    assert len(str(refusal.value)) < 400


def test_the_limits_are_the_same_for_arguments_and_results() -> None:
    assert check_object({"a": nested(MAX_DEPTH - 1)}, "it")
    assert check_value([nested(MAX_DEPTH - 1)], "it")
    with pytest.raises(ArgumentError, match="nested deeper"):
        check_object({"a": nested(MAX_DEPTH)}, "it")
    with pytest.raises(ArgumentError, match="nested deeper"):
        check_value([nested(MAX_DEPTH)], "it")
    assert len(check_value("x" * (MAX_BYTES - 2), "it")) == MAX_BYTES
    with pytest.raises(ArgumentError, match="bytes as JSON"):
        check_value("ü" * (MAX_BYTES // 2), "it")


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(ArgumentError, match="nested deeper"):
        check_value(value, "it")


def test_tuples_and_read_only_mappings_are_values_too() -> None:
    value: Mapping[str, object] = MappingProxyType({"a": (1, MappingProxyType({"b": None}))})
    assert check_object(value, "args") == '{"a":[1,{"b":null}]}'


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abü. ", max_size=5), inner, max_size=4),
    max_leaves=20,
)


@examples(200)
@given(json_values)
def test_values_come_back_as_they_were(value: object) -> None:
    assert json.loads(check_value(value, "it")) == value
    assert json.loads(check_object({"a": value}, "it")) == {"a": value}


@examples(200)
@given(st.text(st.characters(exclude_categories=[]), max_size=300), st.integers(40, 400))
def test_any_text_is_made_storable(text: str, limit: int) -> None:
    stored = storable_text(text, limit)
    assert len(stored.encode()) <= limit
    assert "\x00" not in stored


def test_a_long_text_keeps_its_ends() -> None:
    stored = storable_text("begin" + "é" * 1000 + "end", 100)
    assert stored.startswith("beginé")
    assert stored.endswith("éend")
    assert "... cut ..." in stored
    assert storable_text("a\x00b\ud800", 100) == "a\\x00b\\ud800"
