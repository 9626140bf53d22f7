"""However a handler ends, its job ends as well, its executor is free again, and its neighbours are not touched."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pqclock import Cancel, Retry, Snooze
from worker.bench import Bench, messages


def test_a_reason_that_is_no_text_cancels(bench: Bench) -> None:
    @bench.app.task("t")
    def handler() -> None:
        raise Cancel(ValueError("why"))

    bench.start("*:1")
    job_id = bench.put("t")
    assert bench.comes_to(job_id, "cancelled") == "cancelled"
    assert bench.error(job_id) == "why"


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("detached")


def test_a_result_that_cannot_be_shown_is_not_kept(bench: Bench) -> None:
    @bench.app.task("t")
    def handler() -> Any:
        return Unprintable()

    bench.start("*:1")
    jobs = [bench.put("t"), bench.put("t")]
    for job_id in jobs:
        bench.comes_to(job_id, "succeeded")
        assert "the result is not kept: RuntimeError: detached" in bench.error(job_id)


class Shared(dict[str, object]):
    """Another thread adds to it while it is read."""

    def items(self) -> Any:
        for item in super().items():
            self[f"more-{len(self)}"] = 1
            yield item


def test_a_result_that_changes_while_it_is_read_is_not_kept(bench: Bench) -> None:
    @bench.app.task("t")
    def handler() -> Any:
        return Shared(a=1)

    bench.start("*:1")
    for job_id in (bench.put("t"), bench.put("t")):
        bench.comes_to(job_id, "succeeded")
        assert "changed size during iteration" in bench.error(job_id)


class Later(Snooze):
    def __init__(self) -> None:
        pass


class Never(Cancel):
    def __init__(self) -> None:
        pass


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(("error", "state"), [(Later, "failed"), (Never, "cancelled"), (Mute, "failed")])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_an_error_that_breaks_its_own_rules_ends_the_job(
    bench: Bench, error: type[Exception], state: str, colour: str
) -> None:
    def handler() -> None:
        raise error

    async def async_handler() -> None:
        raise error

    bench.app.task("t")(async_handler if colour == "async" else handler)
    bench.start("*:1")
    for job_id in (bench.put("t"), bench.put("t")):
        assert bench.comes_to(job_id, "failed", "cancelled", "succeeded") == state


UNREADABLE = {
    "ValueError": '{"n": 1e5000}',
    "RecursionError": '{"n": ' + "[" * 3000 + "]" * 3000 + "}",
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_arguments_that_cannot_be_read_fail_their_own_job_at_once(bench: Bench, kind: str) -> None:
    @bench.app.task("t", retry=Retry(max_attempts=5))
    def handler(n: int = 0) -> int:
        return n

    ids = [bench.put("t"), bench.put("t", UNREADABLE[kind]), bench.put("t", '{"n": 2}')]
    bench.start("*:3")
    assert [bench.comes_to(job_id, "succeeded", "failed") for job_id in ids] == ["succeeded", "failed", "succeeded"]
    assert bench.database.rows(
        "SELECT outcome, attempt, error_type FROM pqclock.attempt WHERE job_id = %s", ids[1]
    ) == [("failed", 1, kind)]
    assert "its arguments cannot be read" in bench.error(ids[1])


def blind(function: Callable[[], Any]) -> Callable[[], Any]:
    """A decorator that does not see what it wraps."""

    @functools.wraps(function)
    def wrapper() -> Any:
        return function()

    return wrapper


async def coroutine() -> None:
    raise AssertionError("nobody awaited it")


def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(("function", "what"), [(coroutine, "coroutine"), (generator, "generator")])
def test_a_handler_whose_body_never_ran_has_failed(bench: Bench, function: Callable[[], Any], what: str) -> None:
    bench.app.task("t", retry=Retry(max_attempts=5))(blind(function))
    bench.start()
    job_id = bench.put("t")
    assert bench.comes_to(job_id, "failed", "succeeded") == "failed"
    assert f"returned a {what}" in bench.error(job_id)
    assert "decorator" in bench.error(job_id)
    assert bench.attempts(job_id) == ["failed"]


def test_a_handler_that_a_stop_ends_is_not_reported_as_failed(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    begun = threading.Event()

    @bench.app.task("t")
    async def handler() -> None:
        begun.set()
        await asyncio.sleep(60)

    worker = bench.start(stop_timeout=0.1)
    job_id = bench.put("t")
    assert begun.wait(5)
    worker.stop()
    bench.end()
    assert bench.state(job_id) == "ready"
    assert messages(caplog.records, logging.ERROR) == []


def test_a_failure_is_reported_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    @bench.app.task("t")
    def handler() -> None:
        raise ConnectionError("no line")

    bench.start()
    job_id = bench.put("t")
    bench.comes_to(job_id, "failed")
    assert messages(caplog.records, logging.ERROR) == [
        f"job {job_id} (t) failed at attempt 1 of 1: ConnectionError: no line"
    ]
