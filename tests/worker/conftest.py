"""A bench for every test of a worker."""

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


@pytest.fixture
def plain(bench: Bench) -> Bench:
    """A bench with a task that is done at once."""

    @bench.app.task("t")
    def handler() -> int:
        return 1

    return bench
