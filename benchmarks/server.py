"""A PostgreSQL for a benchmark: an embedded one of its own with fsync on, or the one that PQCLOCK_BENCH_URL names."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from pqclock import embedded
from pqclock.store import migrate
from pqclock.store.database import clean_url, connect

SCHEMA = "pqclock"


@contextmanager
def migrated_database() -> Iterator[str]:
    """The address of a new database with pqclock's tables, dropped at the end."""
    with _server() as server_url:
        name = f"pqclock_bench_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(server_url, autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            try:
                url = psycopg.conninfo.make_conninfo(clean_url(server_url), dbname=name)
                session = connect(url, SCHEMA, "bench")
                migrate.migrate(session)
                session.close()
                yield url
            finally:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def _server() -> Iterator[str]:
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
