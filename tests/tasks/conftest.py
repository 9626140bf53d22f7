"""An app on a migrated database, closed after the test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pqclock import App

if TYPE_CHECKING:
    from conftest import Database


@pytest.fixture
def app(database: Database) -> Iterator[App]:
    """An app with the address of the test's database."""
    app = App(database.url, version="1")
    yield app
    app.close()
