"""Waiting for a job, and its result."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pqclock import App, JobHandle
from pqclock.errors import JobFailed, JobNotFinished, UnknownJob
from store.samples import claim, finish

if TYPE_CHECKING:
    from conftest import Database


@pytest.fixture
def handle(app: App) -> JobHandle:
    """The handle of a job that waits."""
    return app.task("mail")(lambda: None).enqueue()


def end(database: Database, state: str = "succeeded", **more: Any) -> None:
    """Run the one job that waits."""
    session = database.connect()
    (job,) = claim(session)
    assert finish(session, job, state, state, **more)
    session.close()


def test_a_result_comes_back_as_json_values(database: Database, handle: JobHandle) -> None:
    end(database, result='{"lines": [1, 2.5, null, "ü"]}')
    assert handle.wait() == "succeeded"
    assert handle.result() == {"lines": [1, 2.5, None, "ü"]}


def test_a_job_that_returned_nothing_has_the_result_none(database: Database, handle: JobHandle) -> None:
    end(database)
    assert handle.result() is None


def test_a_job_that_failed_tells_why(database: Database, handle: JobHandle) -> None:
    end(database, "failed", error="ValueError: no such address")
    assert handle.wait("1s") == "failed"
    with pytest.raises(JobFailed, match=f"job {handle.id} failed: ValueError: no such address") as failure:
        handle.result()
    assert (failure.value.state, failure.value.error) == ("failed", "ValueError: no such address")


@pytest.mark.parametrize("timeout", [0, "20ms", 0.02])
def test_a_job_that_has_not_ended_in_time_is_no_failure_of_it(handle: JobHandle, timeout: Any) -> None:
    for look in (handle.wait, handle.result):
        with pytest.raises(JobNotFinished, match=f"job {handle.id} has not ended within {timeout}"):
            look(timeout)


def test_a_wait_ends_with_the_job(database: Database, handle: JobHandle) -> None:
    ending = threading.Timer(0.1, end, [database], {"result": "1"})
    ending.start()
    assert handle.result(timeout="30s") == 1
    ending.join()


def test_a_job_that_nobody_knows_is_named(app: App, handle: JobHandle) -> None:
    with pytest.raises(UnknownJob, match="job 404 is not in the database: its transaction was rolled back"):
        JobHandle(404, True, "ready", app).wait("1s")


def test_the_async_twins_do_the_same(database: Database, app: App, handle: JobHandle) -> None:
    async def work() -> Any:
        try:
            with pytest.raises(JobNotFinished):
                await handle.result_async()
            await asyncio.to_thread(end, database, result="[1]")
            assert await handle.wait_async("10s") == "succeeded"
            return await handle.result_async()
        finally:
            await app.close_async()

    assert asyncio.run(work()) == [1]
