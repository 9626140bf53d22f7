"""The grammar of pools."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.errors import ArgumentError
from pqclock.rules.pools import Pool, parse_pools
from rules.cron_examples import examples


@pytest.mark.parametrize(
    ("text", "pools"),
    [
        ("mice:2;elephants:1", (Pool(2, ("mice",)), Pool(1, ("elephants",)))),
        ("*", (Pool(1),)),
        ("*:2;mice,sparrows:1", (Pool(2), Pool(1, ("mice", "sparrows")))),
        ("-elephants,whales:2", (Pool(2, excluded=("elephants", "whales")),)),
        (" mice , sparrows : 3 ; * ; ", (Pool(3, ("mice", "sparrows")), Pool(1))),
        ("mice,mice", (Pool(1, ("mice",)),)),
        ("latency_15m:1000", (Pool(1000, ("latency_15m",)),)),
        ("a.b-c:007", (Pool(7, ("a.b-c",)),)),
    ],
)
def test_pools_are_read(text: str, pools: tuple[Pool, ...]) -> None:
    assert parse_pools(text) == pools


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "name no pool"),
        (" ; ;", "name no pool"),
        ("mice:", "size ''"),
        ("mice:0", "size '0'"),
        ("mice:-1", "size '-1'"),
        ("mice:1001", "size '1001'"),
        ("mice:0000000012345", "size '0000000012345'"),
        ("mice:" + "9" * 5000, "size '9999"),
        ("mice:2.5", "size '2.5'"),
        ("mice:²", "size '²'"),
        ("mice:2:3", "size '2:3'"),
        (":2", "name ''"),
        ("mice,:2", "name ''"),
        ("-", "name ''"),
        ("*,mice", "name '[*]'"),
        ("mice,-whales", "name '-whales'"),
        ("mäuse", "name 'mäuse'"),
        ("m" * 101, "which is none"),
        ("mice elephants", "name 'mice elephants'"),
    ],
)
def test_anything_else_is_refused_by_its_part(text: str, named: str) -> None:
    with pytest.raises(ArgumentError, match=named) as refusal:
        parse_pools(text)
    assert len(str(refusal.value)) < 300


NAMES = st.lists(
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True), min_size=1, max_size=3, unique=True
)
SIZES = st.integers(1, 1000)
POOLS = st.one_of(
    st.builds(Pool, SIZES),
    st.builds(Pool, SIZES, NAMES.map(tuple)),
    st.builds(Pool, SIZES, st.none(), NAMES.map(tuple)),
)


@examples(100)
@given(st.lists(POOLS, min_size=1, max_size=4).map(tuple))
def test_what_a_pool_shows_is_read_back(pools: tuple[Pool, ...]) -> None:
    assert parse_pools(";".join(map(str, pools))) == pools
