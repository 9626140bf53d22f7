"""Templates as the database fills them: for every form that the rules accept, one text or one sentence."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pqclock.errors import ArgumentError
from pqclock.rules.keys import fields_of

if TYPE_CHECKING:
    from conftest import Database

NAMES = st.sampled_from(["a", "b", "c"])
VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(st.sampled_from("x{}:é\"'\\ "), max_size=5),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=6,
)
ARGS = st.dictionaries(NAMES, VALUES, max_size=3)
PIECES = st.sampled_from(["x", ":", "{{", "}}", "{a}", "{b}", "{a.b}", "{a.b.c}", "é", "{", "}", "{}", "{a b}"])


def expected(template: str, args: dict[str, object]) -> str | None:
    """What comes of it, in plain Python; None for an error."""

    def fill(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        value: object = args
        for name in match[1].split("."):
            value = value[name] if isinstance(value, dict) else None  # a missing one raises KeyError
        if value is None or isinstance(value, dict | list):
            raise KeyError
        return value if isinstance(value, str) else json.dumps(value)

    try:
        fields_of(template)
        return re.sub(r"\{\{|\}\}|\{([^{}]*)\}", fill, template)
    except (ArgumentError, KeyError):
        return None


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIECES, min_size=1, max_size=6).map("".join), ARGS)
def test_the_database_fills_as_the_rules_say(database: Database, template: str, args: dict[str, object]) -> None:
    statement = "SELECT filled, fault FROM pqclock.fill_template(%s, %s::jsonb)"
    ((filled, fault),) = database.rows(statement, template, json.dumps(args))
    assert filled == expected(template, args)
    assert (filled is None) == (fault is not None)
