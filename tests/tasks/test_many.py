"""Many jobs in one call: by the slice, in one transaction, in input order, and never held as a whole."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pqclock import App, Task, Unique
from pqclock.errors import ArgumentError, UniqueConflict
from pqclock.store import insertion
from pqclock.store.jobs import NewJob
from pqclock.tasks.enqueueing import Enqueueing
from pqclock.tasks.handle import JobHandle

if TYPE_CHECKING:
    from conftest import Database

COUNT = "SELECT count(*) FROM pqclock.job"
NUMBERS = "SELECT id, (args ->> 'n')::int FROM pqclock.job ORDER BY id"


@pytest.fixture
def mail(app: App) -> Task[..., Any]:
    """A registered task."""
    return app.task("mail", queue="mice")(lambda n=0: None)


@pytest.fixture(params=["threads", "loops"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Sync and async, with slices of ten jobs."""
    monkeypatch.setattr(insertion, "SLICE_JOBS", 10)
    return str(request.param)


def enqueue(app: App, way: str, jobs: Iterable[NewJob]) -> list[JobHandle]:
    """On this way."""

    async def run() -> list[JobHandle]:
        try:
            return await app.enqueue_many_async(jobs)
        finally:
            await app.close_async()

    return app.enqueue_many(jobs) if way == "threads" else asyncio.run(run())


@pytest.mark.parametrize("count", [1, 10, 11, 95])
@pytest.mark.parametrize("kind", [list, iter])
def test_handles_come_in_input_order(
    database: Database, app: App, mail: Task[..., Any], way: str, count: int, kind: Any
) -> None:
    handles = enqueue(app, way, kind([mail.using(priority=n % 7).job(n=n) for n in range(count)]))
    assert database.rows(NUMBERS) == [(handle.id, n) for n, handle in enumerate(handles)]
    assert len(handles) == count
    assert database.value("SELECT bool_and(priority = (args ->> 'n')::int % 7) FROM pqclock.job") is True
    assert database.value("SELECT count(DISTINCT xmin::text) FROM pqclock.job") == 1


def test_nothing_makes_no_jobs(database: Database, app: App, mail: Task[..., Any], way: str) -> None:
    assert enqueue(app, way, iter(())) == enqueue(app, way, []) == []
    assert database.value(COUNT) == 0


def test_what_fails_in_the_middle_undoes_all(database: Database, app: App, mail: Task[..., Any], way: str) -> None:
    def failing() -> Iterator[NewJob]:
        yield from (mail.job(n=n) for n in range(35))
        raise LookupError("no more")

    unique = mail.using(unique=Unique(key="{n}", on_conflict="raise"))
    taken = unique.enqueue(n=35)
    with pytest.raises(LookupError, match="no more"):
        enqueue(app, way, failing())
    with pytest.raises(UniqueConflict, match="the unique key '35' is taken by job") as caught:
        enqueue(app, way, (unique.job(n=n) for n in range(95)))
    assert caught.value.job_id == taken.id
    with pytest.raises(psycopg.errors.CheckViolation, match="queue_is_a_name"):
        enqueue(app, way, (NewJob("mail", "{}", queue="no name" if n == 44 else "mice") for n in range(95)))
    assert database.value(COUNT) == 1
    assert len(enqueue(app, way, [mail.job()])) == 1


@pytest.mark.parametrize("kind", [list, iter])
def test_many_meet_and_pass_what_single_ones_do(
    database: Database, app: App, mail: Task[..., Any], way: str, kind: Any
) -> None:
    first = mail.using(unique=Unique(key="{n}"), throttle="x:{n}").enqueue(n=3)
    handles = enqueue(
        app, way, kind([mail.using(unique=Unique(key="{n}"), throttle="x:{n}").job(n=n % 20) for n in range(50)])
    )
    assert [handle.inserted for handle in handles] == [n < 20 and n != 3 for n in range(50)]
    assert [handle.id for handle in handles] == [handles[n % 20].id for n in range(50)]
    assert handles[3].id == first.id
    assert database.rows("SELECT count(*), count(DISTINCT lane) FROM pqclock.job") == [(20, 20)]
    assert database.value("SELECT bool_and(gates = ARRAY['throttle:x:' || (args ->> 'n')]) FROM pqclock.job") is True


def test_a_generator_is_not_held_as_a_whole(app: App, mail: Task[..., Any], way: str) -> None:
    taken: list[int] = []
    jobs = (mail.job(n=taken.append(n) or n) for n in range(1000))  # type: ignore[func-returns-value]
    parts = Enqueueing(app, jobs).begin()
    for number in range(1, 4):
        next(parts)
        assert len(taken) == 10 * number


def test_the_same_keys_in_another_order_do_not_lock(database: Database, mail: Task[..., Any], way: str) -> None:
    together, faults = threading.Barrier(4), list[BaseException]()

    def many(order: int) -> None:
        jobs = [mail.using(unique_key=f"k{n:03}").job(n=n) for n in range(200)][::order]
        together.wait()
        try:
            mail.app.enqueue_many(jobs)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=many, args=(order,)) for order in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert database.value(COUNT) == 200
    assert database.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ("mail", r"jobs is of type str: pass a list of those made by Task\.job"),
        (7, r"jobs is of type int: pass a list of those made by Task\.job"),
        ([{"n": 1}], r"jobs\[0\] is of type dict: make it with Task\.job"),
    ],
)
def test_what_is_no_job_is_refused(database: Database, app: App, mail: Task[..., Any], jobs: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        app.enqueue_many(jobs)
    with pytest.raises(ArgumentError, match=r"jobs\[1\] is of type Task: make it with Task\.job"):
        app.enqueue_many([mail.job(), mail])  # type: ignore[list-item]
    assert database.value(COUNT) == 0


def test_large_arguments_make_small_slices() -> None:
    jobs = [NewJob("mail", f'{{"text": "{"x" * 60_000}"}}') for _ in range(300)]
    assert [len(part) for part in insertion.slices(jobs)] == [140, 140, 20]
