"""Templates of keys: what their form may be, and what can be told of them before a job is enqueued."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock import ArgumentError, Unique
from pqclock.rules.keys import check_file_reference, check_file_template, check_reference, fields_of, unfit

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
LITERALS = st.text(st.characters(codec="utf-8", exclude_characters="{}", exclude_categories=("C", "Z")), max_size=8)


@given(st.lists(st.tuples(LITERALS, st.lists(NAMES, min_size=1, max_size=3)), min_size=1, max_size=5))
def test_the_fields_come_in_their_order(parts: list[tuple[str, list[str]]]) -> None:
    template = "".join(f"{text}{{{'.'.join(path)}}}" for text, path in parts)
    assert fields_of(template) == tuple(".".join(path) for _, path in parts)


@given(st.text(st.sampled_from("{}a.:![] "), min_size=1, max_size=12))
def test_whatever_is_written_has_fields_or_one_sentence(template: str) -> None:
    try:
        fields = fields_of(template)
    except ArgumentError as error:
        assert "\n" not in str(error)
    else:
        assert all(field and not set(field) & set("{}:![] ") for field in fields)


def test_braces_are_doubled() -> None:
    assert fields_of("{{a}}{b}{{{c.d}}}") == ("b", "c.d")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "must be a printable text"),
        ("a\n", "must be a printable text"),
        ("{", 'has the brace "{" without a partner: write "{{"'),
        ("a}", 'has the brace "}" without a partner'),
        ("{}", "names {}, which is no argument"),
        ("{a!r}", "names {a!r}"),
        ("{a:>5}", "names {a:>5}"),
        ("{a[0]}", "names {a[0]}"),
        ("{a..b}", "names {a..b}"),
        ("é" * 257, "at most 512 bytes, not 514"),
    ],
)
def test_a_fault_of_form_is_told(template: str, message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        fields_of(template)
    assert message in str(error.value)


@pytest.mark.parametrize("reference", ["warehouse", "stripe:{account}", "stripe:a:b", "a-1.b_2:x y"])
def test_references_name_a_rule_and_perhaps_a_key(reference: str) -> None:
    assert check_reference(reference) == reference


@pytest.mark.parametrize("reference", ["", ":x", "a b", "{x}:y", "stripe:", "x" * 101])
def test_other_references_are_refused(reference: str) -> None:
    with pytest.raises(ArgumentError):
        check_reference(reference)


@pytest.mark.parametrize("reference", ["throttle.api:{k}", "throttle:api:{k}", "fuse:bank", "fuse.bank"])
def test_a_reference_names_no_kind(reference: str) -> None:
    with pytest.raises(ArgumentError, match=r"begins with the kind of a rule: write its name alone, '(api|bank)"):
        check_reference(reference)


def test_in_files_arguments_are_named_with_args() -> None:
    assert check_file_template("report:{args.day}") == "report:{args.day}"
    assert check_file_reference("stripe:{args.customer.id}") == "stripe:{args.customer.id}"
    with pytest.raises(ArgumentError, match=r"in a schedule an argument is \{args.day\}"):
        check_file_template("report:{day}")


def test_arguments_that_cannot_fill_a_template_are_told_as_far_as_they_are_known() -> None:
    args = {"day": "x", "no": None, "customer": {"id": 7}, "many": [1]}
    for template in ("{args.day}", "{args.customer.id}", "{args.elsewhere}", "{{no}}"):
        assert unfit(template, args) is None
    for template in ("{args.no}", "{args.customer}", "{args.customer.name}", "{args.many}", "{args.day.x}"):
        assert unfit(template, args) is not None


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"key": "{"}, "without a partner"),
        ({"key": "a", "until": "soon"}, "must be started, finished, or a duration"),
        ({"key": "a", "until": "10ms"}, "a second at least"),
        ({"key": "a", "on_conflict": "drop"}, "choose one of skip, replace, raise"),
        ({"key": "a", "on_conflict": "replace", "replace": ["task"]}, "must be a list of args"),
        ({"key": "a", "on_conflict": "replace", "replace": "args"}, "must be a list of args"),
        ({"key": "a", "replace": ["args"]}, "give that too"),
    ],
)
def test_wrong_terms_are_refused(terms: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Unique(**terms)  # type: ignore[arg-type]


@given(
    until=st.sampled_from(["started", "finished", "1s", "1h30m"]),
    on_conflict=st.sampled_from(["skip", "replace", "raise"]),
)
def test_terms_survive_the_way_through_the_database(until: str, on_conflict: str) -> None:
    replace = ("args",) if on_conflict == "replace" else ()
    unique = Unique("a:{b}", until, on_conflict, replace)
    assert Unique.from_options(unique.to_options()) == unique
