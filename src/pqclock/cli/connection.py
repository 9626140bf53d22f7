"""The session of a command that reads: it does not wait for a database that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pqclock.address import find_address
from pqclock.settings import Settings
from pqclock.store import migrate
from pqclock.store.database import Session, connect


@contextmanager
def connected(settings: Settings, *, migrated: bool = True) -> Iterator[Session]:
    """A session on a schema that fits this code, which only on the embedded server is brought there by itself."""
    address = find_address(settings=settings)
    try:
        session = connect(address.url, settings.schema, "command")
        try:
            if address.server is not None and migrated and migrate.pending(session):
                migrate.migrate(session)
            if migrated:
                migrate.check_schema(session)
            yield session
        finally:
            session.close()
    finally:
        address.close()
