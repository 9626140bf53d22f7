"""Jobs after others and fan-outs, with a clock and a worker that run them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from conftest import Database
from pqclock.clock.clock import Clock
from processes.fleet import eventually
from worker.bench import Bench


@pytest.fixture
def ticking(database: Database, bench: Bench) -> Iterator[Bench]:
    """A worker's app, with a clock that leads."""
    clock = Clock(database.url)
    thread = threading.Thread(target=clock.run)
    thread.start()
    eventually(lambda: clock.state == "leading")
    yield bench
    clock.stop()
    thread.join()


def test_each_runs_after_those_that_it_names(ticking: Bench) -> None:
    order: list[str] = []
    app = ticking.app

    @app.task("step")
    def step(name: str, fails: bool = False) -> None:
        order.append(name)
        if fails:
            raise LookupError(name)

    a, b = step.job(name="a"), step.job(name="b")
    c = step.using(after=[a, b]).job(name="c")
    bad = step.using(after=[c]).job(name="bad", fails=True)
    d = step.using(after=[c]).job(name="d")
    never = step.using(after=[bad, d]).job(name="never")
    handles = app.enqueue_many([a, b, c, bad, d, never])
    ticking.start()
    assert handles[4].wait(10) == "succeeded"
    assert handles[5].wait(10) == "cancelled"
    assert ticking.error(handles[5].id) == f"job {handles[3].id} failed"
    assert sorted(order[:2]) == ["a", "b"]
    assert order[2] == "c"
    assert sorted(order[3:]) == ["bad", "d"]


def test_retries_are_waited_for(ticking: Bench) -> None:
    runs: list[int] = []

    @ticking.app.task("shaky", max_attempts=2)
    def shaky() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise LookupError

    plain = ticking.app.task("plain")(lambda: None)
    first = shaky.enqueue()
    behind = plain.using(after=[first]).enqueue()
    ticking.start()
    eventually(lambda: ticking.state(first.id) == "scheduled")
    assert ticking.state(behind.id) == "scheduled"
    ticking.app.jobs.run(first)
    assert behind.wait(10) == "succeeded"


@pytest.mark.parametrize("history", ["all", "failures", "none"])
def test_a_fan_out_tells_how_far_it_has_come(ticking: Bench, history: str) -> None:
    app, got = ticking.app, []

    @app.task("chunk", history=history)
    def chunk(items: list[int], fails: int = -1) -> None:
        if fails in items:
            raise LookupError
        got.extend(items)

    done = app.task("done")(lambda: "done")
    whole = app.fan_out("chunk", range(100), chunk=10, then=done.job())
    failing = app.fan_out("chunk", range(30), chunk=10, args={"fails": 15}, then=done.job())
    assert whole.progress() == (0, 0, 10)
    ticking.start()
    assert whole.wait(10) == (10, 0, 10)
    assert whole.then is not None
    assert failing.then is not None
    assert whole.then.result(10) == "done"
    # What keeps no failures cannot tell of them afterwards; who waits for them is told all the same.
    assert asyncio.run(_waited(failing)) == ((3, 0, 3) if history == "none" else (2, 1, 3))
    assert failing.then.wait(10) == "cancelled"
    assert sorted(got) == sorted([*range(100), *range(10), *range(20, 30)])


async def _waited(whole: Any) -> Any:
    try:
        await whole.progress_async()
        return await whole.wait_async("10s")
    finally:
        await whole.app.close_async()


def test_ten_thousand_parts(ticking: Bench) -> None:
    app = ticking.app
    app.task("chunk", batch=1000)(lambda jobs: None)
    done = app.task("done")(lambda: None)
    whole = app.fan_out("chunk", range(10_000), chunk=1, then=done.job())
    assert whole.progress() == (0, 0, 10_000)
    ticking.start("*:1000")
    assert whole.then is not None
    assert whole.then.wait(30) == "succeeded"
    assert whole.progress() == (10_000, 0, 10_000)
    assert ticking.database.value("SELECT count(*) FROM pqclock.job_after") == 0


def test_a_chain_of_a_thousand(ticking: Bench) -> None:
    app = ticking.app
    link = app.task("link")(lambda: None)
    chain = [link.job()]
    for _ in range(999):
        chain.append(link.using(after=[chain[-1]]).job())
    handles = app.enqueue_many(chain)
    ticking.start()
    assert handles[-1].wait(60) == "succeeded"
