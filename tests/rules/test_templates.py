"""Templates in arguments: what they become, and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.errors import ArgumentError
from pqclock.rules.templates import DIRECTIVES, TemplateFault, compile_args, read_args, render

TICK = datetime(2026, 11, 22, 2, 5, 9, tzinfo=UTC)
PREVIOUS = datetime(2026, 11, 21, 2, 5, 9, tzinfo=UTC)


def filled(text: object, **more: Any) -> object:
    values = {"tick": TICK, "previous_tick": PREVIOUS, "key": "nightly", "zone": ZoneInfo("America/New_York"), **more}
    return render(compile_args({"x": text}), **values)["x"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{tick}", "2026-11-22T02:05:09Z"),
        ("{previous_tick}", "2026-11-21T02:05:09Z"),
        ("{key}", "nightly"),
        ("a-{key}-{tick:%Y}-z", "a-nightly-2026-z"),
        ("{tick:%Y-%m-%d %H:%M:%S}", "2026-11-21 21:05:09"),
        ("{previous_tick:%d/%m/%y}", "20/11/26"),
        ("{tick:%I:%M %p, %A %a %B %b %j}", "09:05 PM, Saturday Sat November Nov 325"),
        ("{tick:%G-W%V-%u %w %U %W}", "2026-W47-6 6 46 46"),
        ("{tick:%z %Z %f 100%%}", "-0500 EST 000000 100%"),
        ("{{tick}}", "{tick}"),
        ("{{{key}}}", "{nightly}"),
        ('{{"a": 1}}', '{"a": 1}'),
        (
            ["{key}", {"{key}": "{key}", "n": None, "f": 1.5, "b": True}],
            ["nightly", {"{key}": "nightly", "n": None, "f": 1.5, "b": True}],
        ),
    ],
)
def test_what_templates_become(text: object, expected: object) -> None:
    assert filled(text) == expected


def test_the_first_tick_has_no_previous_one() -> None:
    assert filled("<{previous_tick}|{previous_tick:%Y}>", previous_tick=None) == "<|>"


def test_the_date_is_that_of_the_named_time() -> None:
    tick = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    zone = ZoneInfo("Europe/Berlin")
    assert filled("{tick:%a %d %H:%M %z}", tick=tick, zone=zone, local_date=date(2026, 3, 28)) == "Sat 28 03:00 +0200"
    assert filled("{tick:%a %d}", tick=tick, zone=zone) == "Sun 29"


@given(
    st.datetimes(datetime(1901, 1, 1), datetime(2200, 1, 1)),
    st.sampled_from(["UTC", "Asia/Kolkata", "America/St_Johns"]),
)
def test_directives_are_those_of_strftime_in_the_c_locale(naive: datetime, name: str) -> None:
    tick, zone = naive.replace(tzinfo=UTC), ZoneInfo(name)
    local = tick.astimezone(zone)
    offset = local.utcoffset() or timedelta()
    # strftime adds seconds to offsets of local mean time, which no zone has had for a century.
    directives = [letter for letter in DIRECTIVES if letter != "z" or not offset % timedelta(minutes=1)]
    pattern = "|".join(f"%{letter}" for letter in directives)
    assert filled(f"{{tick:{pattern}}}", tick=tick, zone=zone) == local.strftime(pattern)


@given(st.text())
def test_any_text_is_a_template_or_a_fault(text: str) -> None:
    template, faults = read_args({"x": text})
    for fault in faults:
        assert fault.path == ("x",)
        assert text[fault.offset : fault.offset + fault.length]
    if not faults:
        values: dict[str, Any] = {"tick": TICK, "previous_tick": None, "key": "k", "zone": UTC}
        assert isinstance(render(template, **values)["x"], str)


@given(st.text())
def test_escaped_text_comes_out_as_it_was(text: str) -> None:
    assert filled(text.replace("{", "{{").replace("}", "}}")) == text


@pytest.mark.parametrize(
    ("text", "offset", "length", "message"),
    [
        ("a {tik}", 2, 5, "nothing a template knows"),
        ("{}", 0, 2, "nothing a template knows"),
        ("{tick.year}", 0, 11, "nothing a template knows"),
        ("{tick!r}", 0, 8, "nothing a template knows"),
        ("{ tick }", 0, 8, "nothing a template knows"),
        ("{key:%Y}", 0, 8, "takes no format"),
        ("{tick:}", 0, 7, "is empty"),
        ("x{tick:%Q}", 1, 9, '"%Q" in a format is not one of %Y'),
        ("{tick:%-d}", 0, 10, '"%-"'),
        ("{tick:%c}", 0, 9, '"%c"'),
        ("{tick:100%}", 0, 11, '"%" in a format'),
        ("open {", 5, 1, 'write "{{"'),
        ("close }", 6, 1, 'write "}}"'),
    ],
)
def test_faults(text: str, offset: int, length: int, message: str) -> None:
    faults = read_args({"deep": [{"x": text}]})[1]
    assert [fault._replace(message="") for fault in faults] == [TemplateFault(("deep", 0, "x"), offset, length, "")]
    assert message in faults[0].message


def test_all_faults_are_raised_at_once() -> None:
    with pytest.raises(ArgumentError) as caught:
        compile_args({"a": "{x}", "b": ["{y}"], "c": "{key}"})
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["args.a", "args.b[0]"]


def test_rendering_gives_new_values_each_time() -> None:
    template = compile_args({"list": [1]})
    assert template.fixed
    values: dict[str, Any] = {"tick": TICK, "previous_tick": None, "key": "k", "zone": UTC}
    first: Any = render(template, **values)
    first["list"].append(2)
    assert render(template, **values) == {"list": [1]}
    assert not compile_args({"x": "{key}"}).fixed
