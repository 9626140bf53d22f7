"""Whether a worker hears of jobs, and what it does when it does not; when a process has done enough."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from conftest import Database
from pqclock.worker import hearing
from pqclock.worker.hearing import Ear
from pqclock.worker.recycling import Limits, resident
from processes.fleet import eventually
from worker.bench import Bench


def test_a_worker_that_hears_itself_looks_rarely(database: Database) -> None:
    ear = Ear()
    ear.begin(database.session)
    eventually(lambda: ear.hear(database.session))
    database.session.conn.execute("NOTIFY pqclock, 'ready default'")
    eventually(lambda: "ready default" in ear.hear(database.session))
    assert ear.poll_every == hearing.POLL_EVERY


def test_one_that_does_not_looks_often_and_says_so_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hearing, "PROBE_WITHIN", 0.0)
    # As when the next statement goes to another session.
    monkeypatch.setattr("pqclock.store.listening.listen", lambda session: None)
    ear = Ear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            ear.begin(database.session)
            assert ear.hear(database.session) == []
    assert ear.poll_every == hearing.POLL_ONLY_EVERY
    assert [record.message.count("--poll-only") for record in caplog.records] == [1]


def test_a_worker_that_only_polls_does_its_work(bench: Bench) -> None:
    @bench.app.task("t")
    def handler() -> int:
        return 1

    bench.start("*:1", poll_only=True)
    assert handler.enqueue().result("5s") == 1
    listeners = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND datname = current_database()"
    assert bench.database.value(listeners) == 0


def test_limits_are_reached_by_jobs_or_memory() -> None:
    assert Limits().reached(10**9) is None
    assert Limits(jobs=3).reached(2) is None
    assert Limits(jobs=3).reached(3) == "it has run 3 jobs"
    assert Limits(memory=10**12).reached(3) is None
    assert "MB of memory" in str(Limits(memory=10**6).reached(3))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell of its processes in /proc")
def test_the_memory_of_a_process_is_known() -> None:
    assert 10**6 < resident(os.getpid()) < 10**10
