"""What addresses and forms may ask for, and how values are written."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.errors import ArgumentError
from pqclock.web.drawing import LEVELS, Cell, bars, heat, strip
from pqclock.web.fields import Field, read
from pqclock.web.params import LONGEST, MOST_ROWS, Params
from pqclock.web.texts import HIDDEN, cut, first_line, instant, length, shown_args, size

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "limit"),
    [("", 50), ("10", 10), ("0", 50), ("-1", 50), ("1e3", 50), ("999999", MOST_ROWS), ("9" * 25, 50), ("١", 50)],
)
def test_limits(given: str, limit: int) -> None:
    assert Params({"limit": given}).limit() == limit


@pytest.mark.parametrize("given", ["", "\x00", "a\x00b", "\ud800", "x" * (LONGEST + 1)])
def test_texts_that_are_none(given: str) -> None:
    assert Params({"q": given}).text("q") is None


@given(st.dictionaries(st.sampled_from(["state", "after", "limit", "id"]), st.text(max_size=400)))
def test_no_parameter_does_harm(given: dict[str, str]) -> None:
    params = Params(given)
    assert params.choice("state", ("ready",)) in (None, "ready")
    assert 1 <= params.limit() <= MOST_ROWS
    number = params.number("id")
    assert number is None or 1 <= number < 2**63
    text = params.text("after")
    assert text is None or (text.encode() and "\x00" not in text)


def test_addresses_keep_what_was_asked_for() -> None:
    params = Params({"state": "ready", "before": "7", "task": "a&b=c"})
    assert params.address("jobs", before="9") == "jobs?state=ready&task=a%26b%3Dc&before=9"
    assert params.address("jobs", before=None, task=None, state=None) == "jobs"


LENGTH, END, WHEN = Field("f", "F", "length"), Field("f", "F", "end"), Field("f", "F", "instant")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        (LENGTH, "2h", timedelta(hours=2)),
        (END, "90s", timedelta(seconds=90)),
        (END, "2026-12-01T08:00Z", datetime(2026, 12, 1, 8, tzinfo=UTC)),
        (WHEN, "2026-12-01T08:00+01:00", datetime(2026, 12, 1, 7, tzinfo=UTC)),
        (WHEN, "2026-12-01 08:00", datetime(2026, 12, 1, 8, tzinfo=UTC)),
        (WHEN, "2026-12-01", datetime(2026, 12, 1, tzinfo=UTC)),
        (WHEN, "", None),
        (Field("f", "F", "flag"), "yes", True),
        (Field("f", "F", "flag"), "", False),
        (Field("f", "F"), "  x ", "x"),
    ],
)
def test_fields(field: Field, text: str, value: Any) -> None:
    assert read((field,), {"f": text}) == {"f": value}


@pytest.mark.parametrize(
    ("field", "text", "fault"),
    [
        (LENGTH, "soon", "F: "),
        (END, "soon", "F: "),
        (END, "12", "F: '12' is no time"),
        (WHEN, "2026-13-01", "is no time: write"),
        (WHEN, "0001-01-01T00:00+14:00", "is no time"),
        (Field("f", "F", required=True), " ", "F is missing: fill it in"),
        (Field("f", "F", "choice", choices=("a", "b")), "c", "'c' is none of a, b: choose one"),
        (Field("f", "F"), "x" * 1001, "F: more than 1000 characters"),
    ],
)
def test_faults_of_fields(field: Field, text: str, fault: str) -> None:
    with pytest.raises(ArgumentError, match=r".") as caught:
        read((field,), {"f": text})
    assert fault in str(caught.value)


def test_arguments_are_hidden_but_for_their_names() -> None:
    value = {"to": "ada@example.org", "card": {"number": "4111", "ok": True}, "ids": ["a", 1], "nothing": None}
    assert json.loads(shown_args(value, ())) == {
        "to": HIDDEN, "card": {"number": HIDDEN, "ok": HIDDEN}, "ids": [HIDDEN, HIDDEN], "nothing": HIDDEN,
    }  # fmt: skip
    assert json.loads(shown_args(value, ("to",)))["to"] == "ada@example.org"
    assert json.loads(shown_args(value, ("card", "ids")))["card"] == {"number": HIDDEN, "ok": HIDDEN}
    assert json.loads(shown_args(value, ("*",))) == value
    assert json.loads(shown_args("secret", ())) == HIDDEN


def test_long_values_are_cut_in_the_middle() -> None:
    assert cut("a" * 5000 + "b" * 5000, 100).startswith("a" * 50 + "\n… 9,900 characters")
    assert first_line("x" * 300)[-1] == "…" and first_line("a\nb") == "a" and first_line(None) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0004, "0 ms"), (0.012, "12 ms"), (3.44, "3.4 s"), (3900, "1h5m"), (None, "–"), (-0.2, "-200 ms")],
)
def test_lengths(seconds: float | None, text: str) -> None:
    assert length(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (123_456_789, "123 MB")])
def test_sizes(number: int, text: str) -> None:
    assert size(number) == text


def test_every_time_has_its_zone_and_how_far_it_is() -> None:
    shown = instant(NOW + timedelta(minutes=5), NOW, "Europe/Berlin")
    assert "13:05:00 CET" in shown and "in 5m" in shown and 'title="2026-11-22 12:05:00 UTC"' in shown
    assert "2026-11-23" in instant(NOW + timedelta(days=1), NOW)
    assert instant(datetime(9999, 12, 31, tzinfo=UTC), NOW) == "for ever"


BAD = '"><script>alert(1)</script>'


def test_pictures_escape_what_they_show() -> None:
    for picture in (
        strip([Cell("failed", BAD)], 60, BAD),
        bars([(1.0, "failed", BAD)], BAD),
        heat([(BAD, [0.0, 1.0, 12_345.0])], [BAD, "1", "2"], BAD),
    ):
        assert "<script" not in picture and "&lt;script" in picture
        assert 'role="img"' in picture and "style=" not in picture


@given(st.lists(st.sampled_from(list(LEVELS)), max_size=60))
def test_a_strip_has_a_place_for_each_tick(kinds: list[str]) -> None:
    drawn = strip([Cell(kind, kind) for kind in kinds], 60, "words")
    assert drawn.count("z") - drawn.count("size") >= len(kinds)
    assert drawn.count("<title>") == sum(kind not in ("succeeded", "waiting", "gone") for kind in kinds)
