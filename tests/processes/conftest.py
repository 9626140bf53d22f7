"""A fleet for every test of processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Database
from pqclock import embedded
from processes.fleet import Fleet


@pytest.fixture
def fleet(tmp_path: Path, database: Database) -> Iterator[Fleet]:
    """Processes on the test's database."""
    fleet = Fleet(tmp_path, database.url)
    yield fleet
    fleet.end()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[embedded.Server]:
    """A server that a test may crash."""
    folder = tmp_path / "own"
    server = embedded.start(folder)
    yield server
    server.close()
    embedded.erase(folder)
