"""The table of a job's moves, by itself and against the schema's constraints."""

from __future__ import annotations

import re

from pqclock.rules.job import LIVE, MOVES, TERMINAL
from pqclock.store.migrate import migrations


def quoted_names(pattern: str) -> list[tuple[str, ...]]:
    """The lists of names that the schema's text has where the pattern's group stands."""
    text = "\n".join(migration.text for migration in migrations())
    return [tuple(re.findall(r"'(\w+)'", found)) for found in re.findall(pattern, text, re.DOTALL)]


def test_live_states_move_and_terminal_states_do_not() -> None:
    assert tuple(MOVES) == LIVE
    targets = {state for moves in MOVES.values() for state in moves}
    assert targets <= {*LIVE, *TERMINAL}
    assert {*TERMINAL, "ready", "running", "scheduled"} == targets


def test_every_move_has_a_reason() -> None:
    assert all(reason.strip() for moves in MOVES.values() for reason in moves.values())


def test_a_job_runs_only_after_it_was_ready() -> None:
    assert [state for state, moves in MOVES.items() if "running" in moves] == ["ready"]


def test_the_schema_knows_the_same_states() -> None:
    assert quoted_names(r"TYPE \{schema\}\.live_state AS ENUM \((.*?)\)") == [LIVE]
    assert quoted_names(r"history_is_terminal CHECK \(state IN \((.*?)\)") == [TERMINAL]
