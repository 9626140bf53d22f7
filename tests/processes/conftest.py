"""A fleet for every test of processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Database
from processes.fleet import Fleet


@pytest.fixture
def fleet(tmp_path: Path, database: Database) -> Iterator[Fleet]:
    """Processes on the test's database."""
    fleet = Fleet(tmp_path, database.url)
    yield fleet
    fleet.end()
