"""The command in this process: in a folder of its own, with no settings but those of the test."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pqclock.cli import main


@dataclass
class Done:
    """What a call of the command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        (line,) = self.out.splitlines()
        return json.loads(line)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Call `command("jobs", "list", ...)`; variables of settings are set by keyword."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("PQCLOCK_", "PG")) or name in ("DATABASE_URL", "FORCE_COLOR"):
            monkeypatch.delenv(name)

    def call(*args: str, **environ: str) -> Done:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = main(args)
        seen = capsys.readouterr()
        return Done(code, seen.out, seen.err)

    return call


# TEMPORARY BELOW

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from pqclock.store import migrate
from pqclock.store.database import Session, connect

SERVER = "postgresql://postgres@127.0.0.1:55432/"
_numbers = itertools.count()


@dataclass
class Database:
    url: str
    session: Session


@pytest.fixture(scope="session")
def _template() -> Iterator[str]:
    name = f"cli_template_{os.getpid()}"
    with psycopg.connect(SERVER + "postgres", autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
        session = connect(SERVER + name, "pqclock", "test")
        migrate.migrate(session)
        session.close()
        yield name
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(_template: str) -> Iterator[Database]:
    name = f"cli_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(SERVER + "postgres", autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {_template}")
        session = connect(SERVER + name, "pqclock", "test")
        yield Database(SERVER + name, session)
        session.close()
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
