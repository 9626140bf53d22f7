"""Handlers, managers and reports that do what nobody expects: no job is lost by it, and no other one suffers."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from pqclock import Checkpoint, Failure, Job, Retry
from pqclock.tasks.context import CurrentJob
from pqclock.worker import outcomes, run, runs
from pqclock.worker.deadlines import Deadlines
from processes.fleet import eventually
from worker.bench import Bench, messages


def test_a_coroutine_that_ends_the_program_ends_itself_alone(bench: Bench) -> None:
    async def ends() -> None:
        sys.exit(3)

    @bench.app.task("ends", max_attempts=1)
    async def handler() -> None:
        await asyncio.gather(ends(), asyncio.sleep(10))

    @bench.app.task("other")
    async def other() -> None:
        await asyncio.sleep(0)

    bench.start("*:2")
    job_id = bench.put("ends")
    bench.comes_to(job_id, "failed")
    assert bench.error(job_id) == "SystemExit: 3"
    bench.comes_to(bench.put("other"), "succeeded")


def test_a_report_that_ends_the_program_is_one_that_failed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outcomes, "WRITE_OFF_AFTER", 0.05)
    heard: list[Failure] = []
    bench.app.on_error(lambda failure: sys.exit(1))
    bench.app.on_error(heard.append)
    go_on = threading.Event()

    @bench.app.task("stuck", timeout="20ms", max_attempts=1)
    def stuck() -> None:
        go_on.wait(10)

    bench.start("*:3")
    jobs = [bench.put("stuck")]
    bench.comes_to(jobs[0], "failed")
    jobs.append(bench.put("stuck"))
    bench.comes_to(jobs[1], "failed")
    eventually(lambda: [failure.job_id for failure in heard] == jobs)
    go_on.set()
    assert sum("failed itself" in message for message in messages(caplog.records, logging.ERROR)) == 2


@pytest.mark.parametrize("kind", ["a coroutine", "a timeout"])
def test_a_report_that_takes_long_holds_nothing_else_up(
    kind: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "WRITE_OFF_AFTER", 0.05)
    go_on, told = threading.Event(), threading.Event()

    def slow(failure: Failure) -> None:
        told.set()
        go_on.wait(10)

    bench.app.on_error(slow)

    @bench.app.task("bad", max_attempts=1)
    async def bad() -> None:
        raise ValueError

    @bench.app.task("stuck", timeout="20ms", max_attempts=1)
    def stuck() -> None:
        go_on.wait(10)

    @bench.app.task("good", timeout="100ms", max_attempts=1)
    async def good() -> None:
        await asyncio.sleep(10 if kind == "a timeout" else 0)

    bench.start("*:3", stop_timeout=5)
    bench.put("bad" if kind == "a coroutine" else "stuck")
    assert told.wait(5)
    bench.comes_to(bench.put("good"), "succeeded", "failed")
    go_on.set()


def test_reports_are_told_before_a_worker_has_stopped(bench: Bench) -> None:
    heard: list[Failure] = []
    begun = threading.Event()

    def slow(failure: Failure) -> None:
        begun.set()
        time.sleep(0.3)
        heard.append(failure)

    bench.app.on_error(slow)

    @bench.app.task("bad", max_attempts=1)
    async def bad() -> None:
        raise ValueError

    @bench.app.task("worse", max_attempts=1)
    def worse() -> None:
        raise ValueError

    worker = bench.start("*:2")
    bench.put("bad")
    bench.put("worse")
    assert begun.wait(5)
    eventually(lambda: bench.database.value("SELECT count(*) FROM pqclock.job") == 0)
    worker.stop()
    eventually(bench.ended)
    assert len(heard) == 2


def test_deadlines_that_were_called_off_take_no_room() -> None:
    deadlines = Deadlines()
    happened = threading.Event()
    kept = [deadlines.at(time.monotonic() + 3600, lambda: None) for _ in range(10)]
    for _ in range(5_000):
        deadlines.at(time.monotonic() + 3600, lambda: None).call_off()
    assert len(deadlines) < 500
    deadlines.at(time.monotonic() + 0.01, happened.set)
    assert happened.wait(5)
    for deadline in kept:
        deadline.call_off()
    deadlines.stop()


def test_arguments_that_cannot_be_read_spoil_no_batch(bench: Bench) -> None:
    called: list[int] = []

    @bench.app.task("batch", batch=10)
    def handler(jobs: list[Job]) -> None:
        called.extend(job.id for job in jobs)

    bad = bench.put("batch", '{"n": ' + "9" * 5_000 + "}")
    good = [bench.put("batch") for _ in range(3)]
    bench.start("*:1")
    for job_id in good:
        bench.comes_to(job_id, "succeeded")
    bench.comes_to(bad, "failed")
    assert called == good
    assert "cannot be read" in bench.error(bad)


def test_what_a_manager_swallows_is_no_failure(bench: Bench) -> None:
    bench.app.around_job(lambda job: suppress(KeyError))

    @bench.app.task("t", max_attempts=1)
    def handler() -> None:
        raise KeyError("swallowed")

    @bench.app.task("a", max_attempts=1)
    async def coroutine() -> None:
        raise KeyError("swallowed")

    @bench.app.task("b", batch=3, max_attempts=1)
    def batch(jobs: list[Job]) -> None:
        raise KeyError("swallowed")

    bench.start()
    for task in ("t", "a", "b"):
        assert bench.comes_to(bench.put(task), "succeeded", "failed") == "succeeded"


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_no_manager_swallows_that_a_job_goes_back(kind: str, bench: Bench) -> None:
    @contextmanager
    def careless(job: CurrentJob) -> Iterator[None]:
        with suppress(BaseException):
            yield

    bench.app.around_job(careless)
    passed = threading.Event()

    if kind == "plain":

        @bench.app.task("t")
        def handler(cursor: int = 0) -> Iterator[Checkpoint]:
            while True:
                cursor += 1
                yield Checkpoint(cursor)
                passed.set()
                time.sleep(0.01)

    else:

        @bench.app.task("t")
        async def coroutine(cursor: int = 0) -> Any:
            while True:
                cursor += 1
                yield Checkpoint(cursor)
                passed.set()
                await asyncio.sleep(0.01)

    worker = bench.start("*:1", stop_timeout=5)
    job_id = bench.put("t")
    assert passed.wait(5)
    worker.stop()
    eventually(bench.ended)
    assert bench.state(job_id) == "ready"


class Hostile(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


def test_an_error_that_ends_the_program_when_it_is_shown_is_an_error(bench: Bench) -> None:
    @bench.app.task("t", max_attempts=1)
    def handler() -> None:
        raise Hostile

    bench.start("*:1")
    job_id = bench.put("t")
    bench.comes_to(job_id, "failed")
    assert "Hostile" in bench.error(job_id)


def test_a_job_that_cannot_be_begun_runs_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "AGAIN_AFTER", 0.1)
    broken, real = [None] * 2, run.Run

    def begun(*args: Any) -> run.Run:
        if broken:
            broken.pop()
            raise MemoryError
        return real(*args)

    monkeypatch.setattr(runs, "Run", begun)

    @bench.app.task("t", retry=Retry(max_attempts=1))
    def handler() -> None:
        pass

    @bench.app.task("a", retry=Retry(max_attempts=1))
    async def coroutine() -> None:
        pass

    bench.start("*:2")
    for job_id in [bench.put("t"), bench.put("a")]:
        bench.comes_to(job_id, "succeeded", within=10)
        assert bench.attempts(job_id) == ["succeeded"]


def test_a_worker_that_has_done_enough_lets_what_runs_come_to_its_end(bench: Bench) -> None:
    from pqclock.worker.recycling import Limits

    go_on, begun = threading.Event(), threading.Event()

    @bench.app.task("long")
    def long() -> None:
        begun.set()
        go_on.wait(10)

    @bench.app.task("short")
    def short() -> None:
        pass

    worker = bench.start("*:2", stop_timeout=0.1, limits=Limits(jobs=2))
    job_id = bench.put("long")
    assert begun.wait(5)
    bench.put("short")
    worker._next_poll = 0.0
    worker._wakeup.wake()
    eventually(lambda: worker.recycled, 10)
    behind = bench.put("short")
    time.sleep(0.5)
    assert bench.state(job_id) == "running"
    assert bench.state(behind) == "ready"
    go_on.set()
    bench.comes_to(job_id, "succeeded")
    eventually(bench.ended)


def test_a_stop_does_not_wait_as_long_as_a_replacement(bench: Bench) -> None:
    from pqclock.worker.recycling import Limits

    go_on, begun = threading.Event(), threading.Event()

    @bench.app.task("long")
    def long() -> None:
        begun.set()
        go_on.wait(10)

    @bench.app.task("short")
    def short() -> None:
        pass

    worker = bench.start("*:2", stop_timeout=0.1, limits=Limits(jobs=2))
    job_id = bench.put("long")
    assert begun.wait(5)
    bench.put("short")
    worker._next_poll = 0.0
    worker._wakeup.wake()
    eventually(lambda: worker.recycled, 10)
    worker.stop()
    eventually(bench.ended)
    assert bench.state(job_id) == "ready"
    go_on.set()


def test_a_worker_tells_of_handlers_that_go_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    from pqclock.rules.pools import parse_pools
    from pqclock.worker.worker import Worker

    monkeypatch.setattr(outcomes, "WRITE_OFF_AFTER", 0.05)
    go_on = threading.Event()

    @bench.app.task("stuck", timeout="20ms", max_attempts=1)
    def stuck() -> None:
        go_on.wait(10)

    worker = Worker(bench.app, bench.database.url, "pqclock", parse_pools("*:1"), timedelta(seconds=0.3))
    in_time: list[bool] = []
    thread = threading.Thread(target=lambda: in_time.append(worker.run()))
    thread.start()
    bench.comes_to(bench.put("stuck"), "failed")
    worker.stop()
    thread.join(10)
    go_on.set()
    assert in_time == [False]
