"""Leadership under faults: strangers with the lock, leaders that hang, a server that is restarted at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from conftest import Database
from pqclock import embedded
from pqclock.store import leadership
from pqclock.store.database import connect
from processes.fleet import Fleet, children_of, eventually, is_alive
from processes.test_clocks import (
    EVERY_SECOND,
    check_ledger,
    leader,
    new_leader,
    one_leads_one_stands_by,
    seconds_until_a_later_term,
)
from processes.test_faults import one, reachable

Record = Callable[[str, object], None]


def records(fleet: Fleet, process: subprocess.Popen[bytes], level: str) -> list[str]:
    """The messages of a level in the JSON log of a process."""
    lines = [json.loads(line) for line in fleet.log_of(process).splitlines() if line.startswith("{")]
    return [line["message"] for line in lines if line["level"] == level]


def overs(fleet: Fleet, process: subprocess.Popen[bytes]) -> list[str]:
    """The ends of alarms in the log of a process."""
    return [text for text in records(fleet, process, "info") if text.startswith("is over after")]


def test_a_stranger_with_the_lock_is_named_and_the_silence_is_told_by_standbys_and_workers_until_it_is_over(
    fleet: Fleet, database: Database
) -> None:
    fleet.schedules(EVERY_SECOND)
    first = fleet.clock()
    worker = fleet.worker("*:4", "--log-format", "json")
    eventually(lambda: leader(database))
    first.kill()
    first.wait()
    stranger = database.connect("report")
    eventually(lambda: leadership.try_lock(stranger))
    pid = stranger.conn.info.backend_pid
    second = fleet.clock()
    begun = time.monotonic()
    (named,) = eventually(lambda: records(fleet, second, "error"))
    assert time.monotonic() - begun < 5.0
    assert f"SELECT pg_terminate_backend({pid})" in named and "no clock" in named
    eventually(lambda: any("no clock leads" in text for text in records(fleet, worker, "error")), within=20)
    eventually(lambda: any("no clock leads" in text for text in records(fleet, second, "error")), within=20)
    assert len(records(fleet, second, "error")) == 2
    stranger.close()
    eventually(lambda: leader(database))
    eventually(lambda: len(overs(fleet, second)) == 2)
    eventually(lambda: len(overs(fleet, worker)) == 1)


def backend_of_leader(database: Database) -> int:
    """The server process of the leader's session, on this machine."""
    pid = int(str(database.value("SELECT backend_pid FROM pqclock.leader")))
    comm = Path(f"/proc/{pid}/comm")
    if not comm.exists() or "postgres" not in comm.read_text():
        pytest.skip("the server is on another machine, so its processes cannot be frozen")
    return pid


def test_a_leader_whose_database_session_hangs_ends_itself_and_its_supervisor_starts_another(
    fleet: Fleet, database: Database
) -> None:
    fleet.schedules(EVERY_SECOND)
    everything = fleet.start("--app", "processes.apps:app", "--log-format", "json")
    pid, epoch = eventually(lambda: leader(database))
    assert pid in children_of(everything)
    standby = fleet.clock()
    eventually(lambda: "standing by" in fleet.log_of(standby))
    backend = backend_of_leader(database)
    os.kill(backend, signal.SIGSTOP)
    try:
        (told,) = eventually(lambda: records(fleet, standby, "error"))
        assert f"server process {backend}" in told and "has not beaten for" in told and "is ended now" in told
        eventually(lambda: not is_alive(pid), within=20)
        assert "the loop of the clock hangs" in fleet.log_of(everything)
        assert "a turn of the leader: this process ends itself" in fleet.log_of(everything)
        eventually(lambda: "the clock ended with code 1 and is started again" in fleet.log_of(everything))
        eventually(lambda: fleet.log_of(everything).count("standing by") == 1)
    finally:
        # A server that was restarted meanwhile has ended it by force.
        with suppress(ProcessLookupError):
            os.kill(backend, signal.SIGCONT)
    eventually(lambda: new_leader(database, epoch))


def test_a_standby_ends_a_leader_that_does_not_beat_and_leads(fleet: Fleet, database: Database) -> None:
    fleet.schedules(EVERY_SECOND)
    # A clock whose session the server does not end, as one that is busy with nothing.
    hung = database.connect("clock")
    assert leadership.try_lock(hung)
    epoch = leadership.elect(hung, 1)
    begun = time.monotonic()
    standby = fleet.clock()
    pid, _ = eventually(lambda: new_leader(database, epoch))
    assert pid == standby.pid
    assert 5.0 < time.monotonic() - begun < 12.0
    with pytest.raises(psycopg.OperationalError):
        hung.conn.execute("SELECT 1")
    hung.close()


def test_after_an_immediate_restart_of_the_server_ticks_flow_within_two_seconds(
    own_server: embedded.Server, tmp_path: Path, record_property: Record
) -> None:
    fleet = Fleet(tmp_path, own_server.url)
    fleet.schedules(EVERY_SECOND)
    try:
        assert fleet.start("migrate").wait(10) == 0
        clocks = [fleet.clock(), fleet.clock()]
        eventually(lambda: one(own_server.url, "SELECT count(*) FROM pqclock.ticks"))
        epoch = one(own_server.url, "SELECT epoch FROM pqclock.leader")
        eventually(lambda: any("standing by" in fleet.log_of(clock) for clock in clocks))
        begun = one(own_server.url, "SELECT clock_timestamp()")
        postmaster = int(str(one(own_server.url, "SELECT pg_read_file('postmaster.pid')")).split()[0])
        # What `pg_ctl restart -m immediate` sends; the keeper starts it again.
        os.kill(postmaster, signal.SIGQUIT)
        eventually(lambda: not is_alive(postmaster))
        eventually(lambda: reachable(own_server.url))
        accepted = time.monotonic()
        promoting = """SELECT l.epoch > %s AND EXISTS (
            SELECT 1 FROM pqclock.job AS j WHERE j.state = 'ready' AND j.run_at > %s) FROM pqclock.leader AS l"""
        restarted = one(own_server.url, "SELECT pg_postmaster_start_time()")
        eventually(lambda: one(own_server.url, promoting, epoch, restarted))
        took = time.monotonic() - accepted
        record_property("seconds until ticks flow", took)
        print(f"ticks flow {took:.2f} s after the server takes connections")
        assert took < 2.0
        assert [clock.poll() for clock in clocks] == [None, None]
        session = connect(own_server.url, "pqclock", "test")
        assert isinstance(begun, datetime)
        check_ledger(Database(own_server.url, session), begun)
        session.close()
    finally:
        fleet.end()


def test_a_resignation_hands_over_soon(fleet: Fleet, database: Database, record_property: Record) -> None:
    fleet.schedules(EVERY_SECOND)
    clocks = {clock.pid: clock for clock in (fleet.clock(), fleet.clock())}
    waits = []
    for _ in range(3):
        eventually(lambda: one_leads_one_stands_by(fleet, database, clocks))
        pid, epoch = eventually(lambda: leader(database))
        leaving = clocks.pop(pid)
        leaving.send_signal(signal.SIGTERM)
        waits.append(seconds_until_a_later_term(database, epoch))
        assert leaving.wait(5) == 0
        successor = fleet.clock()
        clocks[successor.pid] = successor
    record_property("seconds of each hand-over", waits)
    print("hand-overs:", *(f"{wait:.3f} s" for wait in waits))
    assert max(waits) < 2.0
