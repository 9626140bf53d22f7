"""The plugin in a project of a user: found by pytest itself, cheap, and on the embedded server or one that is named."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Database

Project = Callable[..., subprocess.CompletedProcess[str]]

JOBS = """
from pqclock import App, Retry

app = App()

@app.task("mail.send", retry=Retry(max_attempts=2, base="10m", jitter=0.0))
def send(to):
    if to == "nobody":
        raise LookupError("no such person")
    return f"sent to {to}"
"""

TESTS = """
import pytest
from jobs import app, send

def test_drain(pqclock, pqclock_drain):
    assert pqclock is app
    handle = send.enqueue(to="ada")
    (ran,) = pqclock_drain()
    assert ran.result == handle.result() == "sent to ada"

def test_each_has_a_database_of_its_own(pqclock_db, pqclock):
    assert pqclock_db.rows("SELECT count(*) FROM pqclock.jobs") == [(0,)]
    send.enqueue(to="x")
    assert pqclock_db.rows("SELECT task FROM pqclock.jobs WHERE args ->> 'to' = %s", "x") == [("mail.send",)]

def test_errors(pqclock, pqclock_drain):
    send.enqueue(to="nobody")
    with pytest.raises(LookupError, match="no such person"):
        pqclock_drain(raise_errors=True)

def test_time(pqclock, pqclock_drain, pqclock_time):
    pqclock_time.move_to("2026-03-01T12:00:00+00:00")
    pqclock.schedules.put("hourly", task="mail.send", every="1h", args={"to": "{tick}"})
    pqclock_time.move_by("3h")
    assert [run.result for run in pqclock_drain()] == [f"sent to 2026-03-01T{h}:00:00Z" for h in (13, 14, 15)]

def test_time_is_the_real_one_again(pqclock, pqclock_time):
    from datetime import UTC, datetime, timedelta
    assert pqclock.as_of is None
    assert abs(pqclock_time.now - datetime.now(UTC)) < timedelta(minutes=1)

def test_assert_enqueued(pqclock, assert_enqueued):
    send.enqueue(to="ada")
    assert assert_enqueued(send, to="ada").state == "ready"
    assert_enqueued.never(send, to="bob")

def test_inline(pqclock_inline):
    assert send.enqueue(to="ada").result() == "sent to ada"

@pytest.mark.xfail(strict=True)
def test_what_a_failure_looks_like(pqclock, assert_enqueued):
    send.enqueue(to="ada")
    assert_enqueued(send, to="bob")
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Run pytest in the folder of a project."""

    def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:anyio", *args],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "test_jobs.py").write_text(TESTS)
    return run


@pytest.mark.parametrize("embedded", [True, False], ids=["embedded", "named"])
def test_a_project_with_the_app_in_its_settings(
    project: Project, tmp_path: Path, server_url: str, embedded: bool
) -> None:
    if embedded:
        (tmp_path / "pyproject.toml").write_text('[tool.pqclock]\napp = "jobs:app"\n')
    else:
        (tmp_path / "pytest.ini").write_text("[pytest]\npqclock_app = jobs:app\nfilterwarnings = error\n")
    done = project("-rx", "--xfail-tb", **({} if embedded else {"PQCLOCK_TEST_SERVER": server_url}))
    assert done.returncode == 0, done.stdout
    assert "7 passed, 1 xfailed" in done.stdout
    assert "no job of 'mail.send' with to='bob' was enqueued; 1 job of it:" in done.stdout
    assert "to is 'ada', not 'bob'" in done.stdout


def test_nothing_is_left_on_the_server(project: Project, database: Database, server_url: str, tmp_path: Path) -> None:
    names = "SELECT datname FROM pg_database ORDER BY 1"
    before = database.rows(names)
    (tmp_path / "pytest.ini").write_text("[pytest]\npqclock_app = jobs:app\n")
    assert project("-k", "drain", PQCLOCK_TEST_SERVER=server_url).returncode == 0
    assert database.rows(names) == before


def test_without_an_app_the_way_out_is_told(project: Project, tmp_path: Path) -> None:
    done = project("-k", "test_inline")
    assert done.returncode == 1 and "define a fixture `pqclock_app` that gives your App" in done.stdout, done.stdout
    (tmp_path / "conftest.py").write_text(
        "import pytest\n@pytest.fixture\ndef pqclock_app():\n    import jobs\n    return jobs.app\n"
    )
    assert project("-k", "test_inline").returncode == 0
    gone = project("-k", "test_drain", PQCLOCK_TEST_SERVER="postgresql://127.0.0.1:1/x")
    assert gone.returncode == 1 and "127.0.0.1:1/x cannot be reached" in gone.stdout


def test_the_plugin_loads_nothing_before_it_is_asked(project: Project, tmp_path: Path) -> None:
    (tmp_path / "test_jobs.py").write_text(
        "import sys\n\ndef test_it():\n"
        "    loaded = {name for name in sys.modules if name.partition('.')[0] in ('pqclock', 'psycopg', 'click', 'rich')}\n"
        "    assert loaded == {'pqclock', 'pqclock.testing', 'pqclock.testing.plugin'}\n"
    )
    done = project()
    assert done.returncode == 0, done.stdout
