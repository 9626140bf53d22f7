"""Batch tasks: one call for many jobs, and a verdict on each."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from pqclock import ArgumentError, Job, Retry, Snooze
from processes.fleet import eventually
from worker.bench import Bench


def test_one_call_gets_the_jobs_of_one_claim_and_names_those_that_failed(bench: Bench) -> None:
    calls: list[list[dict[str, Any]]] = []

    @bench.app.task("t", batch=100, retry=Retry(max_attempts=2, base="1h"))
    def handler(jobs: list[Job]) -> dict[int, Exception]:
        calls.append([job.args for job in jobs])
        verdicts: dict[int, Exception] = {job.id: ValueError("bad") for job in jobs if job.args["n"] == 3}
        return verdicts | {job.id: Snooze("1h") for job in jobs if job.args["n"] == 4}

    handles = bench.app.enqueue_many([handler.job(n=n) for n in range(150)])
    bench.start("*:1")
    eventually(lambda: bench.database.value("SELECT count(*) FROM pqclock.job") == 2)
    assert sorted(len(call) for call in calls) == [50, 100]
    assert sorted(job["n"] for call in calls for job in call) == list(range(150))
    assert bench.attempts(handles[3].id) == ["failed"]
    assert bench.error(handles[3].id) == "ValueError: bad"
    assert bench.attempts(handles[4].id) == ["snoozed"]
    assert bench.attempts(handles[5].id) == ["succeeded"]


def test_an_asynchronous_one_may_fail_as_a_whole(bench: Bench) -> None:
    @bench.app.task("t", batch=10)
    async def handler(jobs: list[Job]) -> None:
        raise RuntimeError(f"{len(jobs)} at once")

    handles = bench.app.enqueue_many([handler.job() for _ in range(3)])
    bench.start("*:1")
    for handle in handles:
        assert handle.wait("5s") == "failed"
        assert bench.error(handle.id) == "RuntimeError: 3 at once"


def test_it_waits_for_more_jobs_as_long_as_it_may(bench: Bench) -> None:
    calls: list[int] = []

    @bench.app.task("t", batch=3, batch_wait="30s")
    def handler(jobs: list[Job]) -> None:
        calls.append(len(jobs))

    worker = bench.start("*:1")
    first = handler.enqueue()
    eventually(lambda: bench.state(first.id) == "running")
    rest = [handler.enqueue() for _ in range(2)]
    for handle in (first, *rest):
        assert handle.wait("20s") == "succeeded"
    assert calls == [3]
    waiting = handler.enqueue()
    eventually(lambda: bench.state(waiting.id) == "running")
    worker.stop()
    eventually(lambda: bench.state(waiting.id) == "ready")
    assert bench.attempts(waiting.id) == []


def test_it_waits_no_longer(bench: Bench) -> None:
    begun: list[float] = []

    @bench.app.task("t", batch=3, batch_wait="200ms")
    def handler(jobs: list[Job]) -> None:
        begun.append(time.monotonic())

    bench.start("*:1")
    put = time.monotonic()
    handler.enqueue().wait("5s")
    assert begun[0] - put >= 0.2


def test_other_tasks_and_gates_go_on_beside_it(bench: Bench) -> None:
    seen: list[int] = []
    hold = threading.Event()

    @bench.app.task("t", batch=4, throttle="x")
    def handler(jobs: list[Job]) -> None:
        seen.append(len(jobs))
        hold.wait(10)

    @bench.app.task("plain")
    def plain() -> str:
        return "done"

    bench.app.rules.put("throttle.x", concurrency=2)
    handles = bench.app.enqueue_many([handler.job() for _ in range(6)])
    bench.start("*:2")
    eventually(lambda: seen == [2])
    assert plain.enqueue().result("5s") == "done"
    hold.set()
    assert [handle.wait("5s") for handle in handles] == ["succeeded"] * 6
    assert max(seen) == 2


def test_a_wrong_verdict_fails_them_all(bench: Bench) -> None:
    @bench.app.task("t", batch=5)
    def handler(jobs: list[Job]) -> Any:
        return {-1: ValueError()}

    bench.start("*:1")
    handle = handler.enqueue()
    assert handle.wait("5s") == "failed"
    assert "by id" in bench.error(handle.id)


def test_a_timeout_ends_the_whole_call(bench: Bench) -> None:
    @bench.app.task("t", batch=5, timeout="100ms")
    def handler(jobs: list[Job]) -> None:
        while True:
            pass

    handles = bench.app.enqueue_many([handler.job() for _ in range(3)])
    bench.start("*:1")
    assert [handle.wait("5s") for handle in handles] == ["failed"] * 3
    assert bench.error(handles[2].id).startswith("Timeout: ")


@pytest.mark.parametrize(
    ("options", "said"),
    [({"batch": 0}, "batch 0"), ({"batch_wait": "1s"}, "give batch"), ({"batch": 3}, "the list of jobs")],
)
def test_what_makes_no_batch_is_refused(bench: Bench, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):

        @bench.app.task("t", **options)
        def handler() -> None: ...
