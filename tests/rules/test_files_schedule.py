"""The Schedule value: from plain Python values, to its definition and back, and its timing."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.errors import ArgumentError
from pqclock.rules.cron import Cron
from pqclock.rules.files import read_set, schedule_from_fields
from pqclock.rules.files.fields import SECTIONS
from pqclock.rules.intervals import At, Every
from pqclock.rules.schedule import EPOCH, Schedule

NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)

durations = st.integers(1, 10**9).map(lambda amount: timedelta(milliseconds=amount))
instants = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(
    lambda naive: naive.replace(microsecond=0, tzinfo=UTC)
)
names = st.from_regex(r"[a-z0-9_][a-z0-9._-]{0,20}", fullmatch=True)
plain_text = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="{}"), min_size=1, max_size=20)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | plain_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_text, inner, max_size=3),
    max_leaves=6,
)
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "timezone": st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
    "args": st.dictionaries(plain_text, json_values, max_size=3),
    "description": plain_text,
    "queue": names,
    "priority": st.integers(-32767, 32767),
    "labels": st.lists(plain_text, max_size=4, unique=True).map(tuple),
    "enabled": st.booleans(),
    "gap": st.sampled_from(["shift", "skip"]),
    "fold": st.sampled_from(["first", "second", "both"]),
    "grace": durations,
    "catch_up": st.sampled_from(["none", "latest", "all"]),
    "catch_up_window": durations,
    "catch_up_limit": st.integers(1, 10_000),
    "spread": durations,
    "jitter": durations,
    "expires_in": durations,
    "max_attempts": st.integers(1, 32767),
    "unique": st.sampled_from(
        [
            {"key": "a:{args.unknown}"},
            {"key": "{{a}}", "until": "started", "on_conflict": "raise"},
            {"key": "a", "until": timedelta(hours=36), "on_conflict": "replace", "replace": ["args", "queue"]},
        ]
    ),
    "throttle": st.sampled_from([("a",), ("a:{args.unknown}", "b.c:d:e")]),
    "fuse": st.sampled_from([("a",)]),
}
TIMINGS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.sampled_from(["0 2 * * *", "*/5 * * * *", "@daily", "30 0 12 * * MON"]).map(lambda cron: {"cron": cron}),
    st.integers(1, 10**7).map(lambda seconds: {"every": timedelta(seconds=seconds)}),
    instants.map(lambda at: {"at": at}),
    st.tuples(instants, durations).map(lambda pair: {"every": "1h", "start": pair[0]}),
    st.tuples(instants, st.integers(1, 10**8)).map(
        lambda pair: {"cron": "@hourly", "start": pair[0], "end": pair[0] + timedelta(seconds=pair[1])}
    ),
)


@st.composite
def given_fields(draw: st.DrawFn) -> dict[str, Any]:
    chosen = draw(st.sets(st.sampled_from(sorted(OPTIONAL))))
    return {"task": draw(names), **draw(TIMINGS), **{name: draw(OPTIONAL[name]) for name in sorted(chosen)}}


@given(given_fields())
def test_a_definition_gives_the_schedule_back(values: dict[str, Any]) -> None:
    schedule = schedule_from_fields("some-key", values)
    definition = schedule.to_definition()
    stored = json.loads(json.dumps(definition))
    assert Schedule.from_definition("some-key", stored) == schedule
    assert schedule_from_fields("some-key", stored) == schedule
    assert set(definition) <= set(values)


def test_a_definition_holds_only_what_differs_from_the_defaults() -> None:
    schedule = schedule_from_fields(
        "k",
        {
            "task": "x",
            "every": "90m",
            "grace": "60s",
            "timezone": "UTC",
            "labels": [],
            "jitter": "1s",
            "start": NEW_YEAR,
        },
    )
    assert schedule.to_definition() == {
        "task": "x", "every": "1h30m", "labels": [], "jitter": "1s", "start": "2027-01-01T00:00:00Z",
    }  # fmt: skip


def test_unknown_names_in_a_definition_are_left_out() -> None:
    schedule = Schedule.from_definition("k", {"task": "x", "cron": "@daily", "colour": "red", "from": 1}, "api")
    assert schedule == Schedule("k", "x", cron="@daily")
    assert schedule.source == "api"


def test_the_table_and_the_value_have_the_same_defaults() -> None:
    values = {entry.name: entry for entry in fields(Schedule) if entry.name not in ("key", "source", "unique_task")}
    supported = [field for field in SECTIONS["schedule"].table if field.supported]
    assert set(values) == {field.name for field in supported}
    for field in supported:
        default = values[field.name].default
        if field.default is not None:
            assert default == field.kind.read(field.default)
        else:
            assert default is None or field.required or values[field.name].default_factory is not MISSING


def test_a_file_and_the_api_make_the_same_schedule() -> None:
    text = (
        '[schedule.k]\ntask = "x"\ncron = "0 2 * * *"\ntimezone = "Europe/Berlin"\nlabels = ["a"]\ngrace = "2m"\n'
        "start = 2027-01-01T01:00:00+01:00\nargs = { n = [1, 2.5], day = '{tick:%Y}' }\n"
    )
    (schedule,) = read_set([("a.toml", text.encode())]).schedules
    given = {
        "task": "x", "cron": "0 2 * * *", "timezone": "Europe/Berlin", "labels": ["a"], "grace": timedelta(minutes=2),
        "start": NEW_YEAR, "args": {"n": [1, 2.5], "day": "{tick:%Y}"}, "queue": None,
    }  # fmt: skip
    assert schedule_from_fields("k", given) == schedule
    assert hash(schedule) == hash(schedule_from_fields("k", given))


def test_all_faults_of_the_values_are_raised_at_once() -> None:
    with pytest.raises(ArgumentError) as caught:
        schedule_from_fields(
            "A", {"cron": "x", "grace": 5, "args": {"a": [object(), {1: 2}, "{x}"]}, "throttle": ["a:{x}"]}
        )
    lines = str(caught.value).splitlines()
    begins = ["the key", "grace must", "args.a[0]", "args.a[1]", "args.a[2]", "throttle[0]", "the field", "cron:"]
    assert [line[: len(begin)] for line, begin in zip(lines, begins, strict=True)] == begins


@pytest.mark.parametrize(
    "values",
    [
        {"start": datetime(2027, 1, 1)},
        {"args": {"a": "\ud800"}},
        {"args": {"a": float("inf")}},
        {"args": {"a": b"bytes"}},
        {"grace": timedelta(microseconds=1)},
        {"grace": timedelta(seconds=-1)},
        {"every": timedelta(seconds=1)},
        {"labels": {"a"}},
        {"description": "\ud800"},
        {1: 2},
    ],
)
def test_values_that_files_cannot_hold_are_refused(values: dict[Any, Any]) -> None:
    with pytest.raises(ArgumentError):
        schedule_from_fields("k", {"task": "x", "cron": "@daily", **values})


def nested(levels: int) -> dict[str, Any]:
    return {"a": nested(levels - 1)} if levels > 1 else {}


def test_arguments_are_limited_as_at_the_enqueue() -> None:
    from pqclock.rules.json_values import check_object

    deepest = nested(64)
    check_object(deepest, "args")
    assert schedule_from_fields("k", {"task": "x", "cron": "@daily", "args": deepest}).args == deepest
    with pytest.raises(ArgumentError):
        check_object(nested(65), "args")
    with pytest.raises(ArgumentError, match="deeper than 64"):
        schedule_from_fields("k", {"task": "x", "cron": "@daily", "args": nested(65)})
    large = {"a": "x" * (64 * 1024 - 8)}
    assert schedule_from_fields("k", {"task": "x", "cron": "@daily", "args": large}).args == large
    with pytest.raises(ArgumentError, match="the limit is 65,536"):
        schedule_from_fields("k", {"task": "x", "cron": "@daily", "args": {"a": "x" * (64 * 1024 - 7)}})


def test_timings() -> None:
    schedule = Schedule("k", "x", cron="0 2 * * *", timezone="Europe/Berlin", gap="skip", fold="second")
    assert schedule.timing() == Cron("0 2 * * *", timezone="Europe/Berlin", gap="skip", fold="second")
    assert schedule.timing() is schedule.timing()
    period = timedelta(hours=1)
    assert Schedule("k", "x", every=period).timing() == Every(period, EPOCH)
    assert Schedule("k", "x", every=period, start=NEW_YEAR).timing() == Every(period, NEW_YEAR)
    assert Schedule("k", "x", at=NEW_YEAR).timing() == At(NEW_YEAR)


def test_a_schedule_does_not_change() -> None:
    with pytest.raises(AttributeError):
        Schedule("k", "x").task = "y"  # type: ignore[misc]
