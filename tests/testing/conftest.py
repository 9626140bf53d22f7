"""An app bound to the test's database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conftest import Database
from pqclock import App
from pqclock.testing import bound


@pytest.fixture
def app(database: Database) -> Iterator[App]:
    """An app that names no database, bound to the test's."""
    with bound(App(), database.url) as app:
        yield app
