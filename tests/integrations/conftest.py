"""A bench for every test of an integration."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conftest import Database
from worker.bench import Bench


@pytest.fixture
def bench(database: Database) -> Iterator[Bench]:
    """A worker's app on the test's database."""
    bench = Bench(database)
    yield bench
    bench.end()
