"""A PostgreSQL for benchmarks: an embedded one of its own with fsync on, or the one that PQCLOCK_BENCH_URL names."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks import floor
from benchmarks.processes import family_seconds
from pqclock import embedded
from pqclock.store import migrate
from pqclock.store.database import clean_url, connect

SCHEMA = "pqclock"


class Server:
    """A running server, and a database on it with the tables of pqclock and of the floor, of which copies are made."""

    def __init__(self, url: str) -> None:
        self.url = clean_url(url)
        self._template = f"pqclock_bench_{uuid.uuid4().hex[:8]}"
        self._admin(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._template)))
        place = self._address(self._template)
        session = connect(place, SCHEMA, "bench")
        migrate.migrate(session)
        session.close()
        floor.create(place)

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of a new database, whose tables are empty; it is dropped at the end."""
        name = f"{self._template}_{uuid.uuid4().hex[:8]}"
        copied = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._admin(copied.format(sql.Identifier(name), sql.Identifier(self._template)))
        try:
            yield self._address(name)
        finally:
            self._admin(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def settle(self, url: str) -> None:
        """Have statistics, and no dirty page that somebody would write meanwhile."""
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("VACUUM ANALYZE")
        self._admin(sql.SQL("CHECKPOINT"))

    def cpu_seconds(self) -> float:
        """What all its processes have used so far, also those that have ended."""
        with psycopg.connect(self.url, autocommit=True) as admin:
            row = admin.execute("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int").fetchone()
        assert row is not None
        return family_seconds(row[0])

    def close(self) -> None:
        """Drop the template."""
        self._admin(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(self._template)))

    def _address(self, name: str) -> str:
        return psycopg.conninfo.make_conninfo(self.url, dbname=name)

    def _admin(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute(statement)


@contextmanager
def running_server() -> Iterator[Server]:
    """The server, for as long as its block lasts."""
    with _address() as url:
        server = Server(url)
        try:
            yield server
        finally:
            server.close()


@contextmanager
def migrated_database() -> Iterator[str]:
    """The address of a new database with pqclock's tables, dropped at the end."""
    with running_server() as server, server.database() as url:
        yield url


@contextmanager
def _address() -> Iterator[str]:
    given = os.environ.get("PQCLOCK_BENCH_URL")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / ".pqclock"
        server = embedded.start(place)
        try:
            yield server.url
        finally:
            server.close()
            embedded.erase(place)
