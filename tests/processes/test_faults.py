"""Faults around the processes: no database, a pooler, a restarted server; each with its exit code or its recovery."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from conftest import Database
from pqclock import embedded
from pqclock.store.database import connect
from processes.fleet import Fleet, eventually
from processes.pooler import Pooler
from processes.test_clocks import EVERY_SECOND, check_ledger, leader

NOBODY = "postgresql://127.0.0.1:1/nothing"


@pytest.mark.parametrize("role", [["clock"], ["worker", "--app", "processes.apps:app"]])
def test_a_role_without_its_database_waits_and_ends_with_3(fleet: Fleet, role: list[str]) -> None:
    process = fleet.start(*role, "--wait", "300ms", PQCLOCK_DATABASE_URL=NOBODY)
    assert process.wait(10) == 3
    assert "PQCLOCK_DATABASE_URL" in fleet.log_of(process)


@pytest.mark.parametrize("role", [["clock"], ["worker", "--app", "processes.apps:app"]])
def test_a_role_on_an_unmigrated_database_ends_with_4(fleet: Fleet, empty_url: str, role: list[str]) -> None:
    process = fleet.start(*role, PQCLOCK_DATABASE_URL=empty_url)
    assert process.wait(10) == 4
    assert "pqclock migrate" in fleet.log_of(process)


@pytest.mark.parametrize(
    ("app", "words"),
    [("processes.nowhere:app", "cannot be loaded"), ("processes.apps:note", "name a pqclock.App"), ("x y", "allowed")],
)
def test_a_worker_without_a_right_app_ends_with_2(fleet: Fleet, app: str, words: str) -> None:
    process = fleet.start("worker", "--app", app)
    assert process.wait(10) == 2
    assert words in fleet.log_of(process)


def test_a_clock_behind_a_transaction_pooler_ends_with_4_and_names_the_setting(
    fleet: Fleet, database: Database
) -> None:
    with Pooler(database.url) as pooler:
        clock = fleet.start("clock", PQCLOCK_DATABASE_URL=pooler.url)
        assert clock.wait(10) == 4
        assert "PQCLOCK_CLOCK_DATABASE_URL" in fleet.log_of(clock)
        direct = fleet.start("clock", PQCLOCK_DATABASE_URL=pooler.url, PQCLOCK_CLOCK_DATABASE_URL=database.url)
        eventually(lambda: leader(database))
        assert direct.poll() is None


def test_a_crash_of_the_server_loses_no_tick_and_no_job(own_server: embedded.Server, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, own_server.url)
    fleet.schedules(EVERY_SECOND)
    try:
        migrate = fleet.start("migrate")
        assert migrate.wait(10) == 0
        fleet.clock()
        fleet.worker()
        eventually(lambda: one(own_server.url, "SELECT count(*) FROM pqclock.jobs WHERE state = 'succeeded'"))
        begun = one(own_server.url, "SELECT clock_timestamp()")
        postmaster = int(str(one(own_server.url, "SELECT pg_read_file('postmaster.pid')")).split()[0])
        os.kill(postmaster, signal.SIGKILL)
        since = eventually(lambda: reachable(own_server.url))
        done = "SELECT count(*) > 2 FROM pqclock.jobs WHERE state = 'succeeded' AND tick > %s"
        eventually(lambda: one(own_server.url, done, since))
        session = connect(own_server.url, "pqclock", "test")
        assert isinstance(begun, datetime)
        check_ledger(Database(own_server.url, session), begun)
        session.close()
        twice = "SELECT count(*) FROM (SELECT id FROM pqclock.jobs GROUP BY id HAVING count(*) > 1) AS d"
        assert one(own_server.url, twice) == 0
    finally:
        fleet.end()


def test_the_demo_stops_by_itself_and_sums_up_as_json(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pqclock", "demo", "--json", "--for", "4s"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    embedded.erase(tmp_path / ".pqclock")
    assert done.returncode == 0, done.stderr
    assert "PQCLOCK_DATABASE_URL" in done.stderr
    summary = json.loads(done.stdout)["demo"]
    assert summary["ticks_inserted"] >= 4
    assert summary["jobs_run"] >= 4
    assert 0 < summary["lateness_p50_ms"] <= summary["lateness_p99_ms"]


def test_plain_pqclock_runs_everything_on_the_embedded_server(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "")
    fleet.schedules(EVERY_SECOND)
    try:
        process = fleet.start("--app", "processes.apps:app")
        eventually(lambda: '"applied set' in fleet.log_of(process) or "applied set" in fleet.log_of(process))
        with_server = eventually(lambda: embedded.attach(tmp_path / ".pqclock"))
        eventually(lambda: one(with_server.url, "SELECT count(*) > 1 FROM pqclock.jobs WHERE state = 'succeeded'"))
        with_server.close()
        process.terminate()
        assert process.wait(15) == 0
    finally:
        fleet.end()
        embedded.erase(tmp_path / ".pqclock")


def one(url: str, statement: str, *params: object) -> object:
    """The first column of the first row, on a connection of its own."""
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute(statement.encode(), params or None).fetchone()
    assert row is not None
    return row[0]


def reachable(url: str) -> object:
    """The server's time, once it takes connections again."""
    try:
        return one(url, "SELECT clock_timestamp()")
    except psycopg.OperationalError:
        return None
