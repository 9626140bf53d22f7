"""The server that tests run on, and databases there: one is migrated, the others are copies of it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pqclock.errors import EmbeddedServerError
from pqclock.store import copies, migrate
from pqclock.store.database import Session, connect

# A server of one's own to test on, instead of the embedded one; databases are made and dropped there.
SERVER_VARIABLE = "PQCLOCK_TEST_SERVER"


@dataclass(frozen=True)
class TestDatabase:
    """A freshly migrated database: its address, its schema, and a session for looking into it."""

    __test__ = False

    url: str
    schema: str
    session: Session = field(repr=False)

    def rows(self, statement: str, *params: object) -> list[tuple[Any, ...]]:
        """Execute SQL with %s for parameters, and commit; gives the rows, if it has any."""
        cursor = self.session.conn.execute(statement.encode(), params or None)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The address of a server: PQCLOCK_TEST_SERVER, else an embedded one in this folder that is erased at the end."""
    given = os.environ.get(SERVER_VARIABLE)
    if given:
        yield given
        return
    from pqclock import embedded

    try:
        running = embedded.start(folder, durable=False)
    except EmbeddedServerError as error:
        raise EmbeddedServerError(f"{error}; or set {SERVER_VARIABLE} to the address of a server for tests") from error
    try:
        yield running.url
    finally:
        running.close()
        embedded.erase(folder)


@contextmanager
def template(server_url: str, schema: str) -> Iterator[str]:
    """The name of a migrated database, to be copied."""
    name = f"pqclock_template_{uuid.uuid4().hex[:12]}"
    url = copies.create(server_url, name, schema)
    try:
        session = connect(url, schema, "testing")
        try:
            migrate.migrate(session)
        finally:
            session.close()
        yield name
    finally:
        copies.drop(server_url, name, schema)


@contextmanager
def database(server_url: str, copied_from: str, schema: str) -> Iterator[TestDatabase]:
    """A copy of the template."""
    name = f"pqclock_test_{uuid.uuid4().hex[:12]}"
    url = copies.create(server_url, name, schema, copied_from)
    try:
        session = connect(url, schema, "testing")
        try:
            yield TestDatabase(url, schema, session)
        finally:
            session.close()
    finally:
        copies.drop(server_url, name, schema)
