"""Tables on a terminal: whole words where that can be, and nothing wider than it is."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.cli.output import print_table
from pqclock.cli.widths import fit, spared

COLUMNS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60)), min_size=1, max_size=12)


@given(COLUMNS, st.integers(1, 300))
def test_columns_fill_the_room_and_never_more(columns: list[tuple[int, int]], room: int) -> None:
    least = [one for one, _ in columns]
    natural = [max(one, other) for one, other in columns]
    widths = fit(natural, least, room)
    if sum(least) <= room:
        assert all(low <= width <= high for low, width, high in zip(least, widths, natural, strict=True))
        assert sum(widths) == min(room, sum(natural))
    else:
        assert sum(widths) <= room or max(widths) <= 4


def test_optional_columns_go_one_by_one_until_the_others_keep_their_words() -> None:
    assert spared([10, 10, 10, 10], [3, 1], 46) == []
    assert spared([10, 10, 10, 10], [3, 1], 45) == [3]
    assert spared([10, 10, 10, 10], [3, 1], 10) == [3, 1]


ROWS = [
    ("nightly-report", "30 2 * * * (Europe/Berlin)", "reports.nightly", "succeeded", "04:14:50 CET, 3s ago"),
    ("b", "every 5m", "reports.sales", "scheduled", "04:14:50 CET, now"),
]
NAMES = ("key", "when", "task", "outcome", "last")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The words of the rows, as a table of 62 cells on a terminal breaks them."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "62")
    print_table(NAMES, ROWS, optional=("task", "key"))
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


def test_no_word_is_broken_and_no_line_too_long(shown: list[str]) -> None:
    assert max(map(len, shown)) <= 62
    words = " ".join(shown).split()
    for word in ("nightly-report", "(Europe/Berlin)", "succeeded", "04:14:50"):
        assert word in words
    assert "reports.nightly" not in words and shown[-1].strip() == "left out, for want of width: task"


def test_in_a_pipe_nothing_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(NAMES, ROWS, optional=("task",))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "reports.nightly" in lines[1]
