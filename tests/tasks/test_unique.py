"""Unique jobs and gates as applications write them: what tasks say, what calls say, and whose transaction it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pqclock import App, ArgumentError, Task, Unique, UniqueConflict
from pqclock.store.callers.on_psycopg import OnConnection

if TYPE_CHECKING:
    from conftest import Database

JOBS = "SELECT unique_key, unique_until, gates, units FROM pqclock.job ORDER BY id"


@pytest.fixture
def report(app: App) -> Task[..., Any]:
    """A task with a key, gates and a default that fills one."""

    @app.task("report", unique=Unique("r:{day}"), throttle=["stripe:{account}", "db"], fuse="db", units=3)
    def report(day: str = "", account: str = "none", more: object = None) -> None: ...

    return report


def test_what_a_task_says_holds_for_its_jobs(database: Database, report: Task[..., Any]) -> None:
    first = report.enqueue(day="mon")
    assert (first.inserted, first.state) == (True, "ready")
    again = report.enqueue(day="mon", account="other")
    assert (again.id, again.inserted, again.state) == (first.id, False, "ready")
    assert database.rows(JOBS) == [("r:mon", "finished", ["fuse:db", "throttle:db", "throttle:stripe:none"], 3)]
    assert database.value("SELECT pqclock.enqueue('report', '{\"day\": \"mon\"}')") == first.id


def test_a_call_goes_before_the_task(database: Database, report: Task[..., Any]) -> None:
    report.using(unique=Unique("x:{account}", until="1h"), throttle="a:{day}", fuse=[], units=1).enqueue(day="mon")
    report.using(unique_key="{day}", throttle=[], fuse=[]).enqueue(day="mon")
    assert database.rows(JOBS) == [("x:none", "time", ["throttle:a:mon"], 1), ("{day}", "finished", None, None)]


def test_a_literal_key_is_taken_under_the_terms_of_the_task(database: Database, app: App) -> None:
    strict = app.task("strict", unique=Unique("{n}", until="started", on_conflict="raise"))(lambda n=0: None)
    strict.using(unique_key="k").enqueue()
    assert database.rows(JOBS) == [("k", "started", None, None)]
    with pytest.raises(UniqueConflict):
        strict.using(unique_key="k").enqueue()


def test_many_at_once_come_in_input_order(app: App, report: Task[..., Any]) -> None:
    handles = app.enqueue_many([report.job(day=str(n % 3)) for n in range(9)])
    assert [handle.inserted for handle in handles] == [True] * 3 + [False] * 6
    assert [handle.id for handle in handles] == [handle.id for handle in handles[:3]] * 3


@pytest.mark.parametrize("published", [True, False])
def test_in_the_transaction_of_the_caller(database: Database, report: Task[..., Any], published: bool) -> None:
    if published:
        report.enqueue(day="before")
    with psycopg.connect(database.url) as conn:
        first = report.using(conn=conn).enqueue(day="mon")
        assert not report.using(conn=conn).enqueue(day="mon").inserted
        with pytest.raises(UniqueConflict) as error:
            report.using(conn=conn, unique=Unique("r:{day}", on_conflict="raise")).enqueue(day="mon")
        assert error.value.job_id == first.id
        with pytest.raises(
            ArgumentError, match=r"unique key '\{more.id\}' needs the argument 'more.id', which is missing"
        ):
            report.using(conn=conn, unique=Unique("{more.id}")).enqueue(day="tue")
        report.using(conn=conn).enqueue(day="tue")
        assert conn.execute(
            "SELECT count(*) FROM pqclock.job WHERE unique_key LIKE 'r:%e' OR unique_key = 'r:mon'"
        ).fetchone() == (2 + published,)
        conn.rollback()
    assert report.enqueue(day="mon").inserted


def test_on_an_event_loop(database: Database, app: App, report: Task[..., Any]) -> None:
    async def run() -> None:
        first = await report.enqueue_async(day="mon")
        assert not (await report.enqueue_async(day="mon")).inserted
        async with await psycopg.AsyncConnection.connect(database.url) as conn:
            with pytest.raises(UniqueConflict):
                await report.using(conn=conn, unique=Unique("r:{day}", on_conflict="raise")).enqueue_async(day="mon")
            handle = await report.using(conn=conn).enqueue_async(day="mon")
            assert (handle.id, handle.inserted) == (first.id, False)
        await app.close_async()

    asyncio.run(run())


def test_a_schedule_put_at_run_time_has_them_too(database: Database, app: App) -> None:
    app.schedules.put(
        "s", task="mail", every="1h", unique={"key": "{args.a}"}, throttle=["x:{args.a}"], args={"a": "1"}
    )
    first = app.schedules.trigger("s")
    assert app.schedules.trigger("s").id == first.id
    assert database.rows(JOBS) == [("1", "finished", ["throttle:x:1"], 1)]
    with pytest.raises(ArgumentError, match=r"throttle\[0\].* in a schedule an argument is {args.a}"):
        app.schedules.put("t", task="mail", every="1h", throttle=["x:{a}"])


@pytest.mark.parametrize("times", [2, 9])
def test_an_enqueue_of_ours_that_was_in_a_deadlock_is_tried_again(
    report: Task[..., Any], monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    report.enqueue(day="mon")
    left, run = [times], OnConnection.run

    def fail(conn: OnConnection, text: bytes, params: Any) -> Any:
        if b"insert_jobs" in text and left[0]:
            left[0] -= 1
            raise psycopg.errors.DeadlockDetected("deadlock detected")
        return run(conn, text, params)

    monkeypatch.setattr(OnConnection, "run", fail)
    if times == 2:
        assert report.enqueue(day="tue").inserted
    else:
        with pytest.raises(psycopg.errors.DeadlockDetected):
            report.enqueue(day="tue")
