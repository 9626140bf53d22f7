"""The position index: the same paths as tomli, and each place shows the key and the value that it is said to."""

from __future__ import annotations

from typing import Any

import pytest
import tomli
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pqclock.rules.files.positions import Path, Place, Positions, TooMuch, index_positions

SCALARS = [
    '"plain"', '""', '"a # [b] = {c}, d"', r'"esc \" \\ \n \t \u00e9 \U0001F600 \x41 \e"', "'literal \\ # ]'", "''",
    '"""one"""', '"""\nfirst\n] # second\n"""', '""""quoted""""', '"""a\\\n   b"""', '"""say \\""" now"""', '""""""',
    "'''raw\n} '' \\'''", "'''it''s'''''", "true", "false", "0", "-17", "+1_000", "0xDEAD_beef", "0o17", "0b11", "1.5",
    "6.02e+23", "-0.0", "inf", "-nan", "2026-12-01T00:00:00Z", "2026-12-01 07:32:00+02:00", "2026-12-01 07:32",
    "2026-12-01T00:00:00.123456", "2026-12-01", "07:32:00", "07:32",
]  # fmt: skip
KEYS = [
    "a",
    "b",
    "c",
    "1",
    "a-b_C",
    '"a"',
    '"x y"',
    "'b'",
    "'q.r'",
    '""',
    '"\\u00e9\\t"',
    '"[x] # = "',
    "true",
    "1979-05-27",
]

keys = st.sampled_from(KEYS)
spaces = st.sampled_from(["", " ", "\t", "  "])
breaks = st.sampled_from(["", " ", "\n", " # note ] } \n", "\n\n\t"])


@st.composite
def dotted_keys(draw: st.DrawFn) -> str:
    return "".join(draw(keys) + draw(spaces) + "." + draw(spaces) for _ in range(draw(st.integers(0, 2)))) + draw(keys)


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    items = st.lists(st.tuples(breaks, values, breaks).map("".join), max_size=4)
    return st.tuples(items, st.sampled_from(["", ",", ", # last\n"])).map(
        lambda parts: "[" + ",".join(parts[0]) + (parts[1] if parts[0] else "") + "]"
    )


def inline_tables(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(
        st.tuples(breaks, dotted_keys(), spaces, st.just("="), spaces, values, breaks).map("".join), max_size=3
    )
    return pairs.map(lambda parts: "{" + ",".join(parts) + "}")


values = st.recursive(st.sampled_from(SCALARS), lambda inner: arrays(inner) | inline_tables(inner), max_leaves=8)
statements = st.one_of(
    st.tuples(spaces, dotted_keys(), spaces, st.just("="), spaces, values).map("".join),
    st.tuples(spaces, st.just("["), spaces, dotted_keys(), spaces, st.just("]")).map("".join),
    st.tuples(st.just("[["), spaces, dotted_keys(), spaces, st.just("]]")).map("".join),
    st.sampled_from(["", "# comment = [x]", "   "]),
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Statements that tomli takes one after the other: those that clash with what is there are left out."""
    text = ""
    for statement in draw(st.lists(statements, max_size=10)):
        longer = text + statement + draw(st.sampled_from(["\n", " # c\n", "\n\n"]))
        if parsed(longer) is not None:
            text = longer
    return text


def parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomli.loads(text)
    except (ValueError, RecursionError):
        return None


def paths(value: object, above: Path = ()) -> dict[Path, object]:
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found: dict[Path, object] = {}
    for name, item in items:
        found[*above, name] = item
        found |= paths(item, (*above, name))
    return found


def check(text: str, document: dict[str, Any]) -> None:
    index = index_positions(text)
    expected = paths(document)
    assert set(index.spans) == set(expected)
    for path, value in expected.items():
        key_start, key_end, start, end = index.spans[path]
        if isinstance(path[-1], str):
            assert list(tomli.loads(text[key_start:key_end] + "=1")) == [path[-1]]
        if not text.startswith("[", start) and not isinstance(value, dict):
            assert repr(tomli.loads("x = " + text[start:end])["x"]) == repr(value)


@settings(max_examples=400, deadline=None)
@given(documents())
@example("[[a]]\n[a.b]\nc=1\n[[a]]\n[[a.d]]\ne.f=2\n[[a.d]]\n")
@example('a = [ [1, {b.c = """]\n"""}], # ]\n 2 ]\n')
@example("[schedule]\n[schedule.x]\ntask = 'a'\nargs.day.of = 1\nargs.n = []\n")
def test_the_paths_and_places_are_those_of_tomli(text: str) -> None:
    document = parsed(text)
    assert document is not None
    check(text, document)


@settings(max_examples=600, deadline=None)
@given(
    documents(),
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 3), st.text("[]{}=,.\"'\\#\n\t ab1-:é", max_size=3)),
        min_size=1,
        max_size=4,
    ),
)
def test_mutated_documents_agree_or_are_no_toml(text: str, mutations: list[tuple[int, int, str]]) -> None:
    for offset, cut, more in mutations:
        start = offset % (len(text) + 1)
        text = text[:start] + more + text[start + cut :]
    document = parsed(text)
    if document is None:
        index_positions(text)  # whatever it is, it does not fail
    else:
        check(text, document)


@given(st.text(max_size=200))
def test_any_text_is_survived(text: str) -> None:
    assume("\r" not in text)
    assert isinstance(index_positions(text), Positions)


TEXT = """\
# first line
[schedule.nightly]   # header
task = "reports.nightly"
  args = { day = "{tick}", deep = [10, "two"] }
note = '''
two lines'''
[[list]]
x.y = 1
"""


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("schedule",), Place(2, 2, 8), Place(2, 2, 17)),
        (("schedule", "nightly"), Place(2, 11, 7), Place(2, 1, 18)),
        (("schedule", "nightly", "task"), Place(3, 1, 4), Place(3, 8, 17)),
        (("schedule", "nightly", "args"), Place(4, 3, 4), Place(4, 10, 38)),
        (("schedule", "nightly", "args", "day"), Place(4, 12, 3), Place(4, 18, 8)),
        (("schedule", "nightly", "args", "deep", 1), Place(4, 40, 1), Place(4, 40, 5)),
        (("schedule", "nightly", "note"), Place(5, 1, 4), Place(5, 8, 3)),
        (("list", 0, "x", "y"), Place(8, 3, 1), Place(8, 7, 1)),
    ],
)
def test_places(path: Path, key: Place, value: Place) -> None:
    index = index_positions(TEXT)
    assert index.key(path) == key
    assert index.value(path) == value


def test_an_unknown_path_falls_back_to_the_table_above() -> None:
    index = index_positions(TEXT)
    assert index.key(("schedule", "nightly", "args", "nobody", "knows")) == index.key(("schedule", "nightly", "args"))
    assert index.key(("nowhere",)) == Place(1, 1, 1)


def test_lines() -> None:
    index = index_positions("one = 1\ntwo = 2")
    assert [index.line(number) for number in range(4)] == ["", "one = 1", "two = 2", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" + "a." * 30 + "a]", "more than 20 parts"),
        ("a = " + "[" * 5000, "more than 100 levels"),
        ("a = " + "{a = " * 5000, "more than 100 levels"),
        ("a = " + "9" * 5000, "more than 400 characters"),
        ("a = [" + "1," * 400_000 + "]", "more than 300,000"),
        ("\n".join(f"k{number}=1" for number in range(400_000)), "more than 300,000"),
    ],
    ids=["parts", "arrays", "tables", "number", "items", "keys"],
)
def test_limits(text: str, message: str) -> None:
    with pytest.raises(TooMuch, match=message):
        index_positions(text)
