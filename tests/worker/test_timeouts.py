"""Runs that are longer than they may be: interrupted, and at last not waited for."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from pqclock import Failure, Retry, Timeout, current_job
from pqclock.worker import outcomes, runs
from processes.fleet import eventually
from worker.bench import Bench


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "WRITE_OFF_AFTER", 0.3)
    monkeypatch.setattr(runs, "INTERRUPT_CANCELLED_AFTER", 0.2)


def busy(seconds: float = 10.0) -> None:
    """Lines of Python, at each of which a thread may be interrupted."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_a_thread_is_interrupted_and_the_attempt_counts(bench: Bench) -> None:
    cleaned = threading.Event()

    @bench.app.task("t", timeout="100ms", retry=Retry(max_attempts=2, base="0s"))
    def handler() -> None:
        try:
            busy()
        except Exception:
            pass
        finally:
            cleaned.set()

    bench.start("*:1")
    job_id = bench.put("t")
    bench.comes_to(job_id, "failed")
    assert cleaned.is_set()
    assert bench.error(job_id) == "Timeout: it ran longer than its timeout of 0.1 s"
    assert bench.attempts(job_id) == ["failed", "failed"]
    assert bench.database.value("SELECT DISTINCT error_type FROM pqclock.attempt") == "Timeout"


def test_a_coroutine_is_interrupted_where_it_awaits(bench: Bench) -> None:
    @bench.app.task("t", timeout="50ms")
    async def handler() -> None:
        await asyncio.sleep(30)

    bench.start("*:1")
    job_id = bench.put("t")
    bench.comes_to(job_id, "failed")
    assert bench.error(job_id).startswith("Timeout: ")


def test_a_handler_may_catch_it_and_come_to_an_end(bench: Bench) -> None:
    @bench.app.task("t", timeout="50ms")
    def handler() -> str:
        try:
            busy()
        except Timeout:
            return "what there was"
        return "all"

    bench.start("*:1")
    handle = handler.enqueue()
    assert handle.result("5s") == "what there was"


def test_one_that_goes_on_is_written_off_and_its_executor_comes_back(bench: Bench) -> None:
    go_on = threading.Event()
    failures: list[Failure] = []
    bench.app.on_error(failures.append)

    @bench.app.task("t", timeout="50ms")
    def handler() -> None:
        go_on.wait(10)

    @bench.app.task("other")
    def other() -> None:
        pass

    bench.start("*:1")
    job_id = bench.put("t")
    bench.comes_to(job_id, "failed")
    assert "nobody waits for it any more" in bench.error(job_id)
    behind = bench.put("other")
    assert bench.state(behind) == "ready"
    go_on.set()
    bench.comes_to(behind, "succeeded")
    assert bench.attempts(job_id) == ["failed"]
    assert [failure.reason for failure in failures] == ["timed out"]


def test_nothing_is_interrupted_that_ends_in_time(bench: Bench) -> None:
    @bench.app.task("t", timeout="1ms")
    def handler() -> int:
        return 1

    bench.start("*:4")
    handles = [handler.enqueue() for _ in range(200)]
    ends = {handle.wait("20s") for handle in handles}
    assert ends <= {"succeeded", "failed"}

    @bench.app.task("after")
    def after() -> None:
        busy(0.02)

    bench.end()
    bench.start("*:4", wait=False)
    assert {handle.wait("20s") for handle in [after.enqueue() for _ in range(20)]} == {"succeeded"}


def test_a_cancelled_run_that_does_not_ask_is_interrupted(bench: Bench) -> None:
    begun = threading.Event()

    @bench.app.task("t", retry=Retry(max_attempts=3))
    def handler() -> None:
        begun.set()
        busy()

    worker = bench.start("*:1")
    job_id = bench.put("t")
    begun.wait(10)
    worker._runs.cancel(job_id)
    bench.comes_to(job_id, "cancelled")


def test_one_that_asks_and_returns_is_cancelled(bench: Bench) -> None:
    begun = threading.Event()

    @bench.app.task("t")
    def handler() -> None:
        begun.set()
        eventually(lambda: current_job().cancelled)

    worker = bench.start("*:1")
    job_id = bench.put("t")
    begun.wait(10)
    worker._runs.cancel(job_id)
    bench.comes_to(job_id, "cancelled")


@pytest.mark.parametrize("bad", ["soon", "0s", 5])
def test_a_timeout_that_is_none_is_refused(bench: Bench, bad: Any) -> None:
    with pytest.raises(ValueError, match="timeout"):
        bench.app.task("t", timeout=bad)
