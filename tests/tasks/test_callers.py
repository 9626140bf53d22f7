"""Enqueueing in the caller's transaction, on every library's connections: the job is there exactly when the rest is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg_pool
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import sessionmaker

from pqclock import App, Task, Unique
from pqclock.errors import ArgumentError, Refused, UniqueConflict
from pqclock.store import insertion
from tasks.callers import ASYNC_WAYS, WAYS, AsyncWay, Way, django_database, engine

if TYPE_CHECKING:
    from conftest import Database

JOBS = "SELECT id, args FROM pqclock.job ORDER BY id"
ALL = "SELECT args, queue, priority::int, labels, max_attempts::int, run_at, unique_key FROM pqclock.job"
WHEN = datetime(2030, 5, 17, 9, 30, 0, 250_000, tzinfo=UTC)


@pytest.fixture
def mail(app: App) -> Task[..., Any]:
    """A registered task."""
    return app.task("mail", queue="mice")(lambda to="", n=0: None)


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three jobs make two slices."""
    monkeypatch.setattr(insertion, "SLICE_JOBS", 2)


def on_a_loop(database: Database, name: str, work: Callable[[AsyncWay], Awaitable[Any]]) -> Any:
    """Run `work` with a way of its own."""

    async def run() -> Any:
        async with ASYNC_WAYS[name](database.url) as way:
            return await work(way)

    return asyncio.run(run())


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, database: Database) -> Any:
    """Each library's connection in turn."""
    with WAYS[request.param](database.url) as way:
        yield way


@pytest.fixture(params=ASYNC_WAYS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of each library's async connection in turn."""
    return str(request.param)


def test_a_job_vanishes_with_the_callers_rollback(database: Database, mail: Task[..., Any], way: Way) -> None:
    mail.using(conn=way.conn).enqueue(to="a")
    assert database.rows(JOBS) == []
    way.rollback()
    handle = mail.using(conn=way.conn).enqueue(to="ü: %s %(n)s :n $1")
    assert database.rows(JOBS) == []
    way.commit()
    assert database.rows(JOBS) == [(handle.id, {"to": "ü: %s %(n)s :n $1"})]
    assert (handle.inserted, handle.state) == (True, "ready")


def test_a_job_vanishes_with_the_callers_async_rollback(database: Database, mail: Task[..., Any], name: str) -> None:
    async def work(way: AsyncWay) -> int:
        await mail.using(conn=way.conn).enqueue_async(to="a")
        await way.rollback()
        handle = await mail.using(conn=way.conn).enqueue_async(to="ü: %s %(n)s :n $1")
        assert database.rows(JOBS) == []
        await way.commit()
        return handle.id

    job_id = on_a_loop(database, name, work)
    assert database.rows(JOBS) == [(job_id, {"to": "ü: %s %(n)s :n $1"})]


EVERYTHING = [({"n": 1}, "it.s", -3, ["größer", 'a"b'], 7, WHEN, "k:1")]


def test_values_of_every_type_arrive(database: Database, mail: Task[..., Any], way: Way) -> None:
    way.execute(
        "SET LOCAL TimeZone = 'America/New_York'; SET LOCAL DateStyle = 'SQL, DMY'; SET LOCAL IntervalStyle = sql_standard"
    )
    described = mail.using(
        run_at=WHEN,
        queue="it.s",
        priority=-3,
        labels=["größer", 'a"b'],
        max_attempts=7,
        unique_key="k:1",
        conn=way.conn,
    )
    assert described.enqueue(n=1).state == "scheduled"
    way.commit()
    assert database.rows(ALL) == EVERYTHING
    mail.using(delay=timedelta(days=200, microseconds=5), conn=way.conn).enqueue()
    way.commit()
    waits = database.value("SELECT run_at - created_at FROM pqclock.job WHERE unique_key IS NULL")
    assert waits == timedelta(days=200, microseconds=5)


def test_values_of_every_type_arrive_from_a_loop(database: Database, mail: Task[..., Any], name: str) -> None:
    async def work(way: AsyncWay) -> None:
        await mail.using(
            run_at=WHEN,
            queue="it.s",
            priority=-3,
            labels=["größer", 'a"b'],
            max_attempts=7,
            unique_key="k:1",
            conn=way.conn,
        ).enqueue_async(n=1)
        await way.commit()

    on_a_loop(database, name, work)
    assert database.rows(ALL) == EVERYTHING


def test_what_is_undone_of_many_leaves_the_rest_of_the_transaction(
    database: Database, mail: Task[..., Any], way: Way, small_slices: None
) -> None:
    jobs = (mail.using(unique=Unique(key="{n}", on_conflict="raise")).job(n=n) for n in (1, 2, 3, 4, 1))
    mail.using(conn=way.conn).enqueue(to="before")
    with pytest.raises(UniqueConflict, match="the unique key '1' is taken by job"):
        mail.app.enqueue_many(jobs, conn=way.conn)
    handles = mail.app.enqueue_many((mail.job(n=n) for n in range(5)), conn=way.conn)
    way.commit()
    found = database.rows(JOBS)
    assert [args for _, args in found] == [{"to": "before"}, *({"n": n} for n in range(5))]
    assert [job_id for job_id, _ in found[1:]] == [handle.id for handle in handles]


def test_what_is_undone_of_many_on_a_loop_leaves_the_rest(
    database: Database, mail: Task[..., Any], name: str, small_slices: None
) -> None:
    async def work(way: AsyncWay) -> None:
        jobs = (mail.using(unique=Unique(key="{n}", on_conflict="raise")).job(n=n) for n in (1, 2, 3, 4, 1))
        await mail.using(conn=way.conn).enqueue_async(to="before")
        with pytest.raises(UniqueConflict):
            await mail.app.enqueue_many_async(jobs, conn=way.conn)
        await mail.app.enqueue_many_async((mail.job(n=n) for n in range(5)), conn=way.conn)
        await way.commit()

    on_a_loop(database, name, work)
    assert [args for _, args in database.rows(JOBS)] == [{"to": "before"}, *({"n": n} for n in range(5))]


def test_a_transaction_that_has_failed_is_told(database: Database, mail: Task[..., Any], way: Way) -> None:
    with pytest.raises(Exception, match="division by zero"):
        way.execute("SELECT 1 / 0")
    with pytest.raises(ArgumentError, match=r"^conn, of type \w+, is in a transaction that has failed: "):
        mail.using(conn=way.conn).enqueue()
    way.rollback()
    way.execute("SET TRANSACTION READ ONLY")
    with pytest.raises(ArgumentError, match="is in a transaction that is read-only: pass a connection that may write"):
        mail.using(conn=way.conn).enqueue()
    way.rollback()
    assert database.rows(JOBS) == []


def test_a_transaction_that_has_failed_is_told_on_a_loop(database: Database, mail: Task[..., Any], name: str) -> None:
    async def work(way: AsyncWay) -> None:
        with pytest.raises(Exception, match="division by zero"):
            await way.execute("SELECT 1 / 0")
        with pytest.raises(ArgumentError, match=r"^conn, of type \w+, is in a transaction that has failed: "):
            await mail.using(conn=way.conn).enqueue_async()
        await way.rollback()

    on_a_loop(database, name, work)


def test_a_closed_connection_is_told(mail: Task[..., Any], way: Way) -> None:
    way.execute("SELECT 1")
    way.close()
    with pytest.raises(ArgumentError, match=r"^conn, of type \w+, (is closed|was closed|cannot be used now)"):
        mail.using(conn=way.conn).enqueue()


def test_a_closed_connection_is_told_on_a_loop(database: Database, mail: Task[..., Any], name: str) -> None:
    async def work(way: AsyncWay) -> None:
        await way.close()
        with pytest.raises(ArgumentError, match=r"^conn, of type \w+, (is closed|cannot be used now)"):
            await mail.using(conn=way.conn).enqueue_async()

    on_a_loop(database, name, work)


def test_a_sync_connection_is_not_awaited(mail: Task[..., Any], way: Way) -> None:
    with pytest.raises(ArgumentError, match=r"is sync: call enqueue\(\) and enqueue_many\(\) with it"):
        asyncio.run(mail.using(conn=way.conn).enqueue_async())


def test_an_async_connection_is_awaited(database: Database, mail: Task[..., Any], name: str) -> None:
    async def work(way: AsyncWay) -> None:
        with pytest.raises(
            ArgumentError, match=r"is async: await enqueue_async\(\) and enqueue_many_async\(\) with it"
        ):
            mail.using(conn=way.conn).enqueue()

    on_a_loop(database, name, work)


RUNNING = "UPDATE pqclock.job SET state = 'running', worker_id = 1, lease = 9000000000 RETURNING id::text"
STEP = {"lease": "9000000000", "checkpoint": '{"cursor": "ü"}'}


def test_a_checkpoint_is_part_of_the_callers_transaction(
    database: Database, app: App, mail: Task[..., Any], way: Way
) -> None:
    mail.enqueue()
    step = {"id": database.value(RUNNING), **STEP}
    for end in (way.rollback, way.commit):
        assert database.value("SELECT checkpoint FROM pqclock.job") is None
        assert len(app._connections.run("jobs.checkpoint_within", step, way.conn)) == 1
        end()
    assert database.value("SELECT checkpoint FROM pqclock.job") == {"cursor": "ü"}
    assert len(app._connections.run("jobs.checkpoint_within", {**step, "lease": "8"}, way.conn)) == 0


def test_a_checkpoint_is_part_of_the_callers_async_transaction(
    database: Database, app: App, mail: Task[..., Any], name: str
) -> None:
    mail.enqueue()
    step = {"id": database.value(RUNNING), **STEP}

    async def work(way: AsyncWay) -> None:
        assert len(await app._connections.run_async("jobs.checkpoint_within", step, way.conn)) == 1
        await way.commit()

    on_a_loop(database, name, work)
    assert database.value("SELECT checkpoint FROM pqclock.job") == {"cursor": "ü"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            object,
            "conn is of type object: pass a connection of psycopg or asyncpg, a connection or session of SQLAlchemy",
        ),
        (
            lambda: psycopg_pool.ConnectionPool(open=False),
            "conn is of type ConnectionPool, which has no transaction: pass a connection of the pool",
        ),
        (
            lambda: sqlalchemy.create_engine("postgresql+psycopg://"),
            "conn is of type Engine, which has no transaction: pass a Connection of the engine, or a Session",
        ),
        (
            lambda: create_async_engine("postgresql+asyncpg://"),
            "conn is of type AsyncEngine, which has no transaction: pass an AsyncConnection of the engine",
        ),
        (sessionmaker, "conn is of type sessionmaker, which has no transaction: pass a Session that it has made"),
    ],
)
def test_what_has_no_transaction_is_refused(mail: Task[..., Any], make: Any, message: str) -> None:
    conn = make()
    with pytest.raises(ArgumentError, match=message):
        mail.using(conn=conn).enqueue()


def test_another_database_system_is_refused(database: Database, mail: Task[..., Any]) -> None:
    made = sqlalchemy.create_engine("sqlite://")
    with (
        made.connect() as conn,
        pytest.raises(ArgumentError, match="leads to sqlite: jobs can only be put into Postgre"),
    ):
        mail.using(conn=conn).enqueue()
    made.dispose()
    with django_database(database.url):
        with pytest.raises(ArgumentError, match="leads to sqlite: jobs can only be put into PostgreSQL"):
            mail.using(conn="lite").enqueue()
        with pytest.raises(
            ArgumentError, match="conn 'none' is no database of Django's settings: there are default, lite"
        ):
            mail.using(conn="none").enqueue()


def test_outside_of_a_block_django_writes_at_once(database: Database, mail: Task[..., Any], small_slices: None) -> None:
    with django_database(database.url):
        mail.using(conn="default").enqueue(n=1)
        assert len(database.rows(JOBS)) == 1
        mail.app.enqueue_many([mail.job(n=n) for n in range(5)], conn="default")
    assert len(database.rows(JOBS)) == 6


def test_many_jobs_need_a_transaction(database: Database, mail: Task[..., Any], small_slices: None) -> None:
    with engine(database.url) as made, made.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        assert mail.using(conn=conn).enqueue(n=1).inserted
        with pytest.raises(ArgumentError, match="is in no transaction, which that many jobs need: begin one"):
            mail.app.enqueue_many([mail.job(n=n) for n in range(5)], conn=conn)
    assert len(database.rows(JOBS)) == 1


def test_a_database_without_tables_is_told_on_a_session(empty_url: str) -> None:
    app = App(empty_url)
    mail = app.task("mail")(lambda: None)
    with engine(empty_url) as made, made.connect() as conn, pytest.raises(Refused, match="run `pqclock migrate`"):
        mail.using(conn=conn).enqueue()
    app.close()


def test_nothing_is_imported_that_the_caller_does_not_use(database: Database) -> None:
    code = (
        "import sys, psycopg, pqclock\n"
        f"app = pqclock.App({database.url!r})\n"
        "mail = app.task('mail')(lambda: None)\n"
        f"with psycopg.connect({database.url!r}) as conn: mail.using(conn=conn).enqueue()\n"
        "try: mail.using(conn=object()).enqueue()\n"
        "except ValueError: pass\n"
        "try: mail.using(conn='default').enqueue()\n"
        "except ValueError as error: print(error)\n"
        "app.close(); print(sorted({'sqlalchemy', 'django', 'asyncpg'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines() == [
        "conn is the text 'default', which would name a database of Django, and Django is not used here",
        "[]",
    ]
    assert len(database.rows(JOBS)) == 1


def test_a_task_is_not_published_in_the_callers_transaction(database: Database, mail: Task[..., Any], way: Way) -> None:
    mail.using(conn=way.conn).enqueue()
    way.commit()
    assert database.value("SELECT count(*) FROM pqclock.task") == 0
    with psycopg.connect(database.url) as conn:
        assert conn.execute("SELECT queue FROM pqclock.job").fetchall() == [("mice",)]
