"""The server that the tests run on, and a database of its own for every test."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pqclock import embedded
from pqclock.store import migrate
from pqclock.store.database import Session, clean_url, connect

# A server of one's own to test on, instead of the embedded one; the tests make and drop databases there.
SERVER_VARIABLE = "PQCLOCK_TEST_SERVER"
# On the embedded server files are copied sooner than they are written to the log page by page; 14 knows no other way.
COPIED = "" if os.environ.get(SERVER_VARIABLE) else "STRATEGY FILE_COPY"


MEMORY, ENOUGH = Path("/dev/shm"), 8_000_000_000

# What a person, a supervisor or a hang-up sends; whoever starts pytest may ignore them, as a shell does in the background.
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def pytest_configure() -> None:
    """Have the tests' processes start with default dispositions: a child inherits an ignored signal, but no handler."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in STOPPING:
        if signal.getsignal(number) is signal.SIG_IGN:
            # pytest itself goes on ignoring it, as it was told to.
            signal.signal(number, lambda _number, _frame: None)


@dataclass(frozen=True)
class Database:
    """A freshly migrated database."""

    url: str
    session: Session

    def connect(self, role: str = "test") -> Session:
        """One more session, which the test closes."""
        return connect(self.url, self.session.schema, role)

    def value(self, statement: str, *params: object) -> object:
        """The first column of the first row of a statement."""
        row = self.session.conn.execute(statement.encode(), params or None).fetchone()
        assert row is not None
        return row[0]

    def rows(self, statement: str, *params: object) -> list[tuple[object, ...]]:
        """All rows of a statement."""
        return self.session.conn.execute(statement.encode(), params or None).fetchall()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("PQCLOCK_") or name in ("DATABASE_URL", "PGHOST", "PGSERVICE"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server: the embedded one, made for this run and erased after it."""
    given = os.environ.get(SERVER_VARIABLE)
    if given:
        yield given
        return
    home = _home(tmp_path_factory)
    server = embedded.start(home / ".pqclock", durable=False)
    try:
        yield server.url
    finally:
        server.close()
        embedded.erase(home / ".pqclock")
        shutil.rmtree(home, ignore_errors=True)


def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In memory, where there is enough: each database is hundreds of files, and ext4 looks past all that were just deleted."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ENOUGH:
        return tmp_path_factory.mktemp("server")
    home = Path(tempfile.mkdtemp(prefix="pqclock-tests-", dir=MEMORY))
    # The user whom root gives the server to passes through.
    home.chmod(0o755)
    return home


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database from which each test's is copied."""
    name = f"pqclock_template_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        session = connect(in_database(server_url, name), "pqclock", "template")
        migrate.migrate(session)
        session.conn.execute((ROOT / "tests" / "invariants.sql").read_bytes())
        session.close()
        yield name
        admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


@pytest.fixture
def empty_url(server_url: str) -> Iterator[str]:
    """The address of a new database without any tables."""
    yield from _database(server_url, "template1")


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """The address of a new, migrated database."""
    yield from _database(server_url, template)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A new, migrated database with a session on it."""
    session = connect(database_url, "pqclock", "test")
    yield Database(database_url, session)
    session.close()


def _database(server_url: str, template: str) -> Iterator[str]:
    name = f"pqclock_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} {}").format(
            sql.Identifier(name), sql.Identifier(template), sql.SQL(COPIED)
        )
        admin.execute(copy)
        yield in_database(server_url, name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def in_database(url: str, name: str) -> str:
    """The same server, another database."""
    return psycopg.conninfo.make_conninfo(clean_url(url), dbname=name)


ROOT = Path(__file__).parents[1]
