"""Jobs that are generators: how far they came is kept, and they go on from there."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pqclock import Cancel, Checkpoint, LeaseLost, Retry, current_job
from pqclock.worker import run
from processes.fleet import eventually
from worker.bench import Bench

STORED = "SELECT checkpoint FROM pqclock.job WHERE id = %s"


def stored(bench: Bench, job_id: int) -> dict[str, object]:
    found = bench.database.value(STORED, job_id)
    return found if isinstance(found, dict) else {}


def test_it_runs_to_its_end_and_what_it_returns_is_kept(bench: Bench) -> None:
    @bench.app.task("t")
    def handler(cursor: int | None = None) -> Iterator[Checkpoint | None]:
        for n in range(cursor or 0, 5):
            yield Checkpoint(n + 1, done=n + 1, total=5)
        yield None
        return "all"  # type: ignore[return-value]

    bench.start()
    handle = handler.enqueue()
    assert handle.result("5s") == "all"
    assert bench.attempts(handle.id) == ["succeeded"]


def test_an_asynchronous_one_does_too(bench: Bench) -> None:
    done: list[int] = []

    @bench.app.task("t")
    async def handler(last: int, cursor: int = 0) -> AsyncIterator[Checkpoint]:
        for n in range(cursor, last):
            done.append(n)
            yield Checkpoint(n + 1)

    bench.start()
    assert handler.enqueue(last=3).wait("5s") == "succeeded"
    assert done == [0, 1, 2]


@pytest.mark.parametrize("kind", ["thread", "loop"])
def test_a_stop_gives_it_back_and_the_next_worker_goes_on(bench: Bench, kind: str) -> None:
    done: list[int] = []
    begun = threading.Event()
    stopping = threading.Event()

    def step(n: int) -> Checkpoint:
        done.append(n)
        begun.set()
        if n == 3:
            stopping.wait(10)
        return Checkpoint(n + 1, done=n + 1, total=6)

    if kind == "thread":

        @bench.app.task("t")
        def handler(cursor: int = 0) -> Iterator[Checkpoint]:
            yield from map(step, range(cursor, 6))
    else:

        @bench.app.task("t")
        async def handler_async(cursor: int = 0) -> AsyncIterator[Checkpoint]:
            for n in range(cursor, 6):
                yield step(n)

    worker = bench.start(stop_timeout=5)
    job_id = bench.put("t")
    begun.wait(10)
    eventually(lambda: 3 in done)
    worker.stop()
    eventually(lambda: worker._held._closed)
    stopping.set()
    eventually(lambda: bench.state(job_id) == "ready")
    assert bench.attempts(job_id) == ["interrupted"]
    kept = stored(bench, job_id)
    assert (kept["cursor"], kept["done"], kept["total"]) == (4, 4, 6)
    bench.start(wait=False)
    bench.comes_to(job_id, "succeeded")
    assert done == [0, 1, 2, 3, 4, 5]
    assert bench.database.value("SELECT attempt FROM pqclock.job_history WHERE id = %s", job_id) == 1


def test_how_far_it_came_is_written_while_it_runs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SAVE_EVERY", 0.05)
    end = threading.Event()

    @bench.app.task("t")
    def handler(cursor: int = 0) -> Iterator[Checkpoint]:
        while not end.is_set():
            cursor += 1
            yield Checkpoint(cursor)
            end.wait(0.01)

    bench.start()
    job_id = bench.put("t")
    eventually(lambda: int(str(stored(bench, job_id).get("cursor", 0))) > 5)
    first = stored(bench, job_id)
    eventually(lambda: stored(bench, job_id) != first)
    end.set()
    bench.comes_to(job_id, "succeeded")


def test_a_failure_goes_on_from_the_last_checkpoint(bench: Bench) -> None:
    seen: list[object] = []

    @bench.app.task("t", retry=Retry(max_attempts=2, base="0s"))
    def handler(cursor: dict[str, int] | None = None) -> Iterator[Checkpoint]:
        seen.append((cursor, current_job().cursor))
        yield Checkpoint({"page": 7})
        if cursor is None:
            raise RuntimeError("boom")

    bench.start()
    job_id = bench.put("t")
    bench.comes_to(job_id, "succeeded")
    assert seen == [(None, None), ({"page": 7}, {"page": 7})]


def test_after_its_slice_it_lets_others_go_first(bench: Bench) -> None:
    order: list[str] = []

    @bench.app.task("long", slice="1ms")
    def long(cursor: int = 0) -> Iterator[Checkpoint]:
        for n in range(cursor, 3):
            order.append(f"long {n}")
            if n == 0:
                eventually(lambda: bench.database.value("SELECT count(*) FROM pqclock.job") == 2)
            yield Checkpoint(n + 1)

    @bench.app.task("short")
    def short() -> None:
        order.append("short")

    bench.start("*:1")
    job_id = bench.put("long")
    eventually(lambda: bool(order))
    bench.put("short")
    bench.comes_to(job_id, "succeeded")
    assert order == ["long 0", "short", "long 1", "long 2"]


@pytest.mark.parametrize("bad", [Checkpoint(object()), 7], ids=["cursor", "yield"])
def test_what_is_no_checkpoint_is_a_clear_error(bench: Bench, bad: object) -> None:
    closed = threading.Event()

    @bench.app.task("t")
    def handler() -> Iterator[object]:
        try:
            yield bad
        finally:
            closed.set()

    bench.start()
    job_id = bench.put("t")
    bench.comes_to(job_id, "failed")
    assert "checkpoint" in bench.error(job_id).lower()
    assert closed.is_set()


def test_signals_and_progress_work_in_it_as_elsewhere(bench: Bench) -> None:
    @bench.app.task("t")
    def handler() -> Iterator[None]:
        current_job().progress(3, 4)
        yield
        raise Cancel("enough")

    bench.start()
    job_id = bench.put("t")
    bench.comes_to(job_id, "cancelled")
    assert bench.error(job_id) == "enough"
    kept = bench.database.value("SELECT checkpoint FROM pqclock.job_history WHERE id = %s", job_id)
    assert isinstance(kept, dict)
    assert (kept["done"], kept["total"]) == (3, 4)


def test_callers_do_not_pass_the_cursor(bench: Bench) -> None:
    @bench.app.task("t")
    def handler(cursor: int = 0) -> Iterator[None]:
        yield

    with pytest.raises(TypeError, match="cursor"):
        handler.enqueue(cursor=3)


def test_the_time_of_all_runs_is_added_up(bench: Bench) -> None:
    @bench.app.task("t", slice=timedelta(milliseconds=20))
    def handler(cursor: int = 0) -> Iterator[Checkpoint]:
        for n in range(cursor, 3):
            threading.Event().wait(0.03)
            yield Checkpoint(n + 1)

    bench.start()
    job_id = bench.put("t")
    bench.comes_to(job_id, "succeeded")
    kept = bench.database.value("SELECT checkpoint FROM pqclock.job_history WHERE id = %s", job_id)
    assert isinstance(kept, dict)
    assert kept["spent"] >= 0.09


@pytest.fixture
def conn(bench: Bench) -> Iterator[psycopg.Connection[Any]]:
    """The connection on which a handler does its work."""
    session = bench.database.connect()
    yield session.conn
    bench.end()
    session.close()


def test_a_checkpoint_in_its_own_transaction_is_committed_with_the_work(
    bench: Bench, conn: psycopg.Connection[Any]
) -> None:
    conn.execute("CREATE TABLE done (n integer)")
    tries: list[int] = []

    @bench.app.task("t", retry=Retry(max_attempts=3, base="0s"))
    def handler(cursor: int = 0) -> Iterator[None]:
        tries.append(cursor)
        for n in range(cursor, 4):
            with conn.transaction():
                conn.execute("INSERT INTO done VALUES (%s)", [n])
                current_job().checkpoint(n + 1, done=n + 1, total=4, conn=conn)
                if n == 2 and len(tries) == 1:
                    raise RuntimeError("power cut")
            yield
            if n == 2 and len(tries) == 2:
                raise RuntimeError("power cut")

    bench.start("*:1")
    job_id = bench.put("t")
    bench.comes_to(job_id, "succeeded")
    assert tries == [0, 2, 3]
    assert bench.database.rows("SELECT n FROM done ORDER BY n") == [(0,), (1,), (2,), (3,)]
    assert bench.database.value("SELECT checkpoint ->> 'done' FROM pqclock.job_history") == "4"


def test_a_checkpoint_of_a_job_that_was_lost_undoes_the_work(bench: Bench, conn: psycopg.Connection[Any]) -> None:
    seen: list[str] = []

    @bench.app.task("t")
    def handler() -> None:
        job = current_job()
        bench.database.session.conn.execute("UPDATE pqclock.job SET lease = lease + 1 WHERE id = %s", [job.id])
        try:
            with conn.transaction():
                job.checkpoint(1, conn=conn)
        except LeaseLost as error:
            seen.append(str(error))

    bench.start("*:1")
    job_id = bench.put("t")
    eventually(lambda: bool(seen))
    assert seen == [f"job {job_id} belongs to another worker by now, or has ended: roll back what this run did"]


@pytest.mark.parametrize("kind", ["queue", "task", "label"])
def test_a_pause_gives_it_back_and_its_end_lets_it_go_on(bench: Bench, kind: str) -> None:
    steps: list[int] = []
    enough = threading.Event()

    @bench.app.task("t", queue="q", labels=["l"])
    def handler(cursor: int = 0) -> Iterator[Checkpoint]:
        while not enough.is_set():
            cursor += 1
            steps.append(cursor)
            yield Checkpoint(cursor, done=cursor)
            enough.wait(0.01)

    bench.start("*:1")
    handle = handler.enqueue()
    eventually(lambda: bool(steps))
    verbs = {"queue": bench.app.queues, "task": bench.app.tasks, "label": bench.app.labels}[kind]
    verbs.pause({"queue": "q", "task": "t", "label": "l"}[kind])
    eventually(lambda: bench.state(handle.id) == "ready", 10)
    enough.set()
    assert bench.attempts(handle.id) == ["interrupted"]
    verbs.resume({"queue": "q", "task": "t", "label": "l"}[kind])
    bench.comes_to(handle.id, "succeeded", within=10)
