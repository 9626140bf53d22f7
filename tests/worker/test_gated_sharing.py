"""A worker between jobs behind gates and free ones: both get their share, and neither is stopped by the other."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from pqclock.store import jobs
from pqclock.store.jobs import NewJob
from pqclock.worker import claims as claims_module
from pqclock.worker import hearing
from processes.fleet import eventually
from store.gated import claim, enqueue_gated, throttle
from worker.bench import Bench


@pytest.mark.parametrize("size", [1, 4])
def test_jobs_behind_gates_get_half_of_the_executors(bench: Bench, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(hearing, "POLL_EVERY", 60.0)
    bench.app.task("free")(lambda: ran.append("free"))
    bench.app.task("gated")(lambda: ran.append("gated"))
    throttle(bench.database.session, "wide", concurrency=1000)
    jobs.insert(bench.database.session, [NewJob("free", "{}")] * 300)
    enqueue_gated(bench.database.session, "throttle:wide", count=300, task="gated")
    bench.start(f"*:{size}")
    eventually(lambda: len(ran) >= 200, within=20)
    assert 80 <= ran[:200].count("gated") <= 120


def test_what_was_left_to_wait_for_better_ones_follows_them_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(hearing, "POLL_EVERY", 60.0)
    bench.app.task("free")(lambda: ran.append("free"))
    bench.app.task("gated")(lambda: ran.append("gated"))
    throttle(bench.database.session, "wide", concurrency=1000)
    jobs.insert(bench.database.session, [NewJob("free", "{}", priority=-1)] * 20)
    enqueue_gated(bench.database.session, "throttle:wide", task="gated")
    bench.start("*:2")
    eventually(lambda: len(ran) == 21)
    assert "gated" in ran[-2:]


def test_jobs_that_cannot_be_taken_are_not_asked_for_without_end(bench: Bench) -> None:
    bench.app.task("gated")(lambda: None)
    throttle(bench.database.session, "wide", concurrency=1000)
    enqueue_gated(bench.database.session, "throttle:wide", task="gated")
    bench.database.session.conn.execute("UPDATE pqclock.job SET expires_at = now()")
    bench.start("*:2")
    eventually(lambda: bench.database.value("SELECT count(*) FROM pqclock.lane WHERE gate_id = 0") == 1)
    before = bench.database.value("SELECT last_value FROM pqclock.lane_turn")
    time.sleep(0.5)
    after = bench.database.value("SELECT last_value FROM pqclock.lane_turn")
    assert int(str(after)) - int(str(before)) < 5


def test_a_fault_behind_gates_stops_no_free_jobs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise psycopg.errors.NumericValueOutOfRange("bigint out of range")

    monkeypatch.setattr(claims_module, "claim_gated", broken)
    bench.app.task("free")(lambda: None)
    bench.start("*:2")
    bench.comes_to(bench.put("free"), "succeeded")


def test_strays_behind_gates_run_again_without_a_clock(bench: Bench) -> None:
    ran: list[str] = []
    bench.app.task("gated")(lambda: ran.append("gated"))
    throttle(bench.database.session, "one", concurrency=1)
    enqueue_gated(bench.database.session, "throttle:one", task="gated")
    assert len(claim(bench.database.session, now=None, tasks=["gated"], worker_id=99).jobs) == 1
    jobs.give_back(bench.database.session, 99, [])
    bench.start("*:2")
    eventually(lambda: ran == ["gated"])
