"""The JSON Schema and the reference page: made from the table of fields, and as lenient as the validator at least."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from pqclock.rules.files import json_schema, read_set
from pqclock.rules.files.fields import SECTIONS, Field
from pqclock.rules.files.reference import reference_page
from pqclock.rules.files.tables import Table

PAGE = Path(__file__).parents[2] / "docs" / "schedule-files.md"
SCHEMA: Any = json_schema()
DRAFT_04 = {
    "$schema", "title", "description", "default", "type", "properties", "patternProperties", "additionalProperties",
    "items", "enum", "anyOf", "not", "required", "minLength", "maxLength", "pattern", "minimum", "maximum", "maxItems",
    "format",
}  # fmt: skip
EVERY_FIELD = [
    pytest.param(section.name, field, id=f"{section.name}.{field.name}")
    for section in SECTIONS.values()
    for field in section.table
]


def accepts(document: dict[str, Any]) -> bool:
    return bool(jsonschema.Draft7Validator(SCHEMA).is_valid(as_json(document)))


def as_json(value: Any) -> Any:
    """A TOML value as editors hand it to a schema: dates are texts."""
    if isinstance(value, dict):
        return {name: as_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value.isoformat() if isinstance(value, (date, datetime)) else value


def keywords(schema: Any) -> set[str]:
    found = set(schema)
    for keyword, value in schema.items():
        if keyword in ("properties", "patternProperties"):
            found = found.union(*map(keywords, value.values()))
        elif keyword == "anyOf":
            found = found.union(*map(keywords, value))
        elif keyword in ("items", "not", "additionalProperties") and isinstance(value, dict):
            found |= keywords(value)
    return found


def test_the_schema_is_one_that_draft_04_understands() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft4Validator.check_schema({**SCHEMA, "$schema": "http://json-schema.org/draft-04/schema#"})
    assert keywords(SCHEMA) <= DRAFT_04


def test_the_schema_has_every_field_of_the_table() -> None:
    for section in SECTIONS.values():
        table = SCHEMA["properties"][section.name]
        (table,) = table["patternProperties"].values() if section.named else (table,)
        assert list(table["properties"]) == [field.name for field in section.table]
        for field in section.table:
            assert table["properties"][field.name]["description"].startswith(field.description)


@pytest.mark.parametrize(("section", "field"), EVERY_FIELD)
def test_every_example_is_read_and_fits_the_schema(section: str, field: Field) -> None:
    value = tomli.loads(f"x = {field.example}")["x"]
    read = field.kind.read(value)
    assert field.kind.read(field.kind.plain(read)) == read
    assert jsonschema.Draft7Validator(field.kind.schema()).is_valid(as_json(value))
    if field.default is not None:
        assert jsonschema.Draft7Validator(field.kind.schema()).is_valid(field.default)
    if isinstance(field.kind, Table):
        assert set(value) <= set(field.kind.fields)


def test_the_reference_page_is_that_of_the_table() -> None:
    command = 'python -c "from pqclock.rules.files.reference import reference_page as page; print(page(), end=str())"'
    assert PAGE.read_text() == reference_page(), f"write it anew: {command} > docs/schedule-files.md"


def test_the_example_of_the_page_is_a_schedule_file() -> None:
    text = PAGE.read_text().split("```toml\n")[1].split("```")[0]
    assert read_set([("example.toml", text.encode())]).findings == ()


VALUES = {
    "task": ['"x"', '"reports.nightly"', '"a b"'],
    "cron": ['"0 2 * * *"', '"@daily"', '"nonsense"'],
    "every": ['"90m"', '"1d"', '"1s500ms"', '"0s"', "5"],
    "at": ["2027-01-01T09:00:00Z", "2027-01-01T09:00:00", "2027-01-01"],
    "timezone": ['"UTC"', '"Europe/Berlin"', '"Nowhere"'],
    "args": ["{}", '{ a = "{tick}", b = [1, { c = 1.5 }] }', "{ a = nan }", "5"],
    "description": ['"text"', '""'],
    "queue": ['"latency_15m"', '"a;b"'],
    "priority": ["0", "-32767", "40000", "1.0"],
    "labels": ["[]", '["a", "b"]', '["a", "a"]', '"a"'],
    "enabled": ["true", "false", "1"],
    "start": ["2026-12-01T00:00:00Z", '"2026-12-01T00:00:00Z"', "2026-12-01"],
    "end": ["2027-12-01T00:00:00+01:00"],
    "gap": ['"shift"', '"skip"', '"x"'],
    "grace": ['"1m"', '"0s"', '"1h30m"', '"1"'],
    "catch_up": ['"none"', '"all"', '"some"'],
    "catch_up_limit": ["1", "10000", "0"],
    "overlap": ['"allow"', '"skip"'],
    "history": ['"all"', '"none"'],
    "exclude": ["[]", '["de"]'],
    "unknown": ["1"],
}
RULES = [
    "",
    '[throttle.x]\nrate = "100/1m"\nburst = 5\n', '[throttle.X]\nrate = "0/1m"\n', "[throttle.x]\nconcurrency = 1\n",
    '[fuse.f]\nfailure_rate = 1\nminimum = 1\nwithin = "1m"\ncool_down = "1m"\nonly = ["a.B"]\n', "[fuse.f]\n",
    '[queue.q]\nslo = "15m"\n', "[queue.q]\n", '[calendar.c]\ndates = [2026-12-25]\nweekdays = ["sat"]\n',
    '[calendar.c]\nfile = "h.ics"\n', "[other]\n",
]  # fmt: skip


def table(names: list[str], required: list[str]) -> st.SearchStrategy[str]:
    chosen = st.lists(st.sampled_from(names), max_size=4, unique=True).map(lambda some: sorted({*some, *required}))
    lines = chosen.flatmap(
        lambda some: st.tuples(*(st.sampled_from(VALUES[name]).map(f"{name} = {{}}".format) for name in some))
    )
    return lines.map("\n".join)


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(*(table(list(VALUES), ["task", timing]) for timing in ("cron", "every", "at")), table(list(VALUES), [])),
    table([name for name in VALUES if name not in ("cron", "every", "task")], []),
    st.sampled_from(RULES),
    st.sampled_from(["a", '"customer.42"', "A"]),
)
def test_what_the_validator_accepts_the_schema_accepts(schedule: str, defaults: str, rule: str, key: str) -> None:
    text = f"[defaults]\n{defaults}\n[schedule.{key}]\n{schedule}\n{rule}"
    if read_set([("a.toml", text.encode())]).ok:
        assert accepts(tomli.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        '[schedule.a]\ntask = "x"\ncron = "@daily"\nevery = "1h"',
        '[schedule.a]\ncron = "@daily"',
        '[schedule.a]\ntask = "x"\ncatchup = "all"',
        '[schedule.a]\ntask = "x"\ngrace = "1x"',
        '[schedule.a]\ntask = "x"\ngrace = ""',
        '[schedule."A"]\ntask = "x"',
        '[defaults]\ntask = "x"',
        '[throttle.a]\nrate = "1/"',
        "[other]",
    ],
)
def test_the_schema_refuses_too(text: str) -> None:
    assert not accepts(tomli.loads(text))
