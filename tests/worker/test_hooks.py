"""What surrounds every run, who hears of failures, and which ends are kept."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from pqclock import ArgumentError, Cancel, Failure, Retry, Snooze, current_job
from pqclock.tasks.context import CurrentJob
from processes.fleet import eventually
from worker.bench import Bench


def test_runs_happen_inside_of_all_managers_in_their_order(bench: Bench) -> None:
    seen: list[str] = []

    def surrounding(name: str) -> None:
        @bench.app.around_job
        @contextmanager
        def manager(job: CurrentJob) -> Iterator[None]:
            seen.append(f"{name} in {job.task}")
            assert current_job() is job
            try:
                yield
            finally:
                seen.append(f"{name} out")

    surrounding("outer")
    surrounding("inner")

    @bench.app.task("plain")
    def plain() -> None:
        seen.append("run")

    @bench.app.task("async")
    async def asynchronous() -> None:
        seen.append("run")

    bench.start("*:1")
    for name in ("plain", "async"):
        seen.clear()
        bench.comes_to(bench.put(name), "succeeded")
        assert seen == [f"outer in {name}", f"inner in {name}", "run", "inner out", "outer out"]


def test_a_manager_may_be_asynchronous_for_async_tasks_alone(bench: Bench) -> None:
    seen: list[str] = []

    @bench.app.around_job
    @asynccontextmanager
    async def manager(job: CurrentJob) -> AsyncIterator[None]:
        seen.append("in")
        yield
        seen.append("out")

    @bench.app.task("async")
    async def asynchronous() -> None:
        seen.append("run")

    @bench.app.task("plain")
    def plain() -> None:
        raise AssertionError

    bench.start("*:1")
    bench.comes_to(bench.put("async"), "succeeded")
    assert seen == ["in", "run", "out"]
    job_id = bench.put("plain")
    bench.comes_to(job_id, "failed")
    assert "for a synchronous task" in bench.error(job_id)


def test_a_manager_that_fails_fails_the_run_and_the_outer_ones_end(bench: Bench) -> None:
    seen: list[str] = []

    @bench.app.around_job
    @contextmanager
    def outer(job: CurrentJob) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            seen.append(str(error))
            raise

    @bench.app.around_job
    @contextmanager
    def broken(job: CurrentJob) -> Iterator[None]:
        raise RuntimeError("no tracing today")
        yield

    @bench.app.task("t")
    def handler() -> None:
        seen.append("run")

    bench.start("*:1")
    job_id = bench.put("t")
    bench.comes_to(job_id, "failed")
    assert bench.error(job_id) == "RuntimeError: no tracing today"
    assert seen == ["no tracing today"]


class Gone(LookupError):
    pass


def test_reports_hear_of_every_failure_and_of_nothing_else(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Failure] = []

    @bench.app.on_error
    def broken(failure: Failure) -> None:
        raise RuntimeError("the tracker is down")

    bench.app.on_error(heard.append)

    @bench.app.task("t", retry=Retry(max_attempts=2, base="0s", discard=[Gone]))
    def handler(kind: str) -> None:
        if kind == "snooze" and current_job().run_at == current_job().granted_at:
            raise Snooze("1h")
        errors = {"cancel": Cancel("why"), "gone": Gone("away"), "fail": ValueError("bad")}
        if kind in errors:
            raise errors[kind]

    bench.start("*:1")
    for kind in ("fine", "cancel", "gone"):
        assert (
            handler.enqueue(kind=kind).wait("5s")
            == {"fine": "succeeded", "cancel": "cancelled", "gone": "discarded"}[kind]
        )
    job = handler.enqueue(kind="fail")
    assert job.wait("5s") == "failed"
    eventually(lambda: len(heard) == 3)
    assert [(f.reason, f.message, f.retry_in is not None) for f in heard] == [
        ("discarded", "Gone: away", False),
        ("retried", "ValueError: bad", True),
        ("retries used up", "ValueError: bad", False),
    ]
    assert heard[2].job is not None
    assert heard[2].job.attempt == heard[2].attempt == 2
    assert (heard[2].job_id, heard[2].task, type(heard[2].error)) == (job.id, "t", ValueError)
    assert sum(record.levelno == logging.ERROR and "report" in record.message for record in caplog.records) == 3


@pytest.mark.parametrize("verb", ["around_job", "on_error"])
def test_what_cannot_be_called_is_refused(bench: Bench, verb: str) -> None:
    with pytest.raises(ArgumentError, match="must be given a function"):
        getattr(bench.app, verb)(3)


@pytest.mark.parametrize(("history", "kept"), [("all", (1, 3)), ("failures", (1, 2)), ("none", (0, 0))])
def test_only_what_is_wanted_is_kept(bench: Bench, history: str, kept: tuple[int, int]) -> None:
    @bench.app.task("t", history=history, retry=Retry(max_attempts=2, base="0s"))
    def handler(fails: bool) -> None:
        if fails:
            raise ValueError

    bench.start("*:1")
    handler.enqueue(fails=True)
    handler.enqueue(fails=False)
    eventually(lambda: bench.database.value("SELECT count(*) FROM pqclock.job") == 0)
    failed = bench.database.value("SELECT count(*) FROM pqclock.job_history WHERE state = 'failed'")
    attempts = bench.database.value("SELECT count(*) FROM pqclock.attempt")
    assert (failed, attempts) == kept
    succeeded = bench.database.value("SELECT count(*) FROM pqclock.job_history WHERE state = 'succeeded'")
    assert succeeded == (1 if history == "all" else 0)


def test_reports_hear_of_jobs_that_died_elsewhere(bench: Bench) -> None:
    heard: list[Failure] = []
    bench.app.on_error(heard.append)

    @bench.app.task("t")
    def handler() -> None: ...

    bench.start("*:1")
    row = "INSERT INTO pqclock.unreported (job_id, task, attempt, reason, message, retried, noted_at) VALUES "
    bench.database.session.conn.execute(row + "(7, 't', 1, 'crashed', 'crashed: it died', true, now())")
    eventually(lambda: bool(heard))
    (failure,) = heard
    assert (failure.job_id, failure.reason, failure.message) == (7, "crashed", "crashed: it died")
    assert failure.retry_in is not None
