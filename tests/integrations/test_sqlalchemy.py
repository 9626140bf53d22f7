"""SQLAlchemy's sessions around the runs of a real worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import scoped_session, sessionmaker

from conftest import Database
from integrations.child_app import app
from pqclock import ArgumentError, current_job
from pqclock.integrations.sqlalchemy import sessions_handed_back
from pqclock.testing import drain, inline
from tasks.callers import asyncpg_address, engine
from worker.bench import Bench

INSERT = sqlalchemy.text("INSERT INTO orders VALUES ('ada')")
COUNT = sqlalchemy.text("SELECT count(*) FROM orders")


@pytest.fixture
def orders(database: Database) -> Callable[[], object]:
    """A table of orders; tells how many there are."""
    database.session.conn.execute("CREATE TABLE orders (customer text)")
    return lambda: database.value("SELECT count(*) FROM orders")


@pytest.fixture
def shop(bench: Bench) -> Iterator[Any]:
    """A session of each thread."""
    with engine(bench.database.url) as made:
        registry = scoped_session(sessionmaker(made))
        yield registry
        registry.remove()


def idle_in_transaction(database: Database) -> object:
    return database.value("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'")


def result(bench: Bench, task: str, args: str = "{}", within: float = 5.0) -> Any:
    job_id = bench.put(task, args)
    assert bench.comes_to(job_id, "succeeded", "failed", within=within) == "succeeded", bench.error(job_id)
    return bench.database.value("SELECT result FROM pqclock.jobs WHERE id = %s", job_id)


def test_what_a_session_has_left_open_is_rolled_back(bench: Bench, shop: Any, orders: Callable[[], object]) -> None:
    bench.app.around_job(sessions_handed_back(shop))

    @bench.app.task("leave")
    def leave() -> None:
        shop.execute(INSERT)

    @bench.app.task("fail")
    def fail() -> None:
        with pytest.raises(sqlalchemy.exc.ProgrammingError):
            shop.execute(sqlalchemy.text("SELECT no_such_column"))

    @bench.app.task("count")
    def count() -> int:
        found: int = shop.execute(COUNT).scalar_one()
        return found

    bench.start("*:1")
    for task in ("leave", "fail"):
        result(bench, task)
        assert idle_in_transaction(bench.database) == 0
        assert result(bench, "count") == 0
    assert orders() == 0


def test_what_a_report_has_left_open_is_not_the_next_jobs(
    bench: Bench, shop: Any, orders: Callable[[], object]
) -> None:
    bench.app.around_job(sessions_handed_back(shop))
    bench.app.on_error(lambda failure: shop.execute(INSERT))

    @bench.app.task("fail")
    def fail() -> None:
        raise ValueError

    @bench.app.task("commit")
    def commit() -> None:
        shop.commit()

    bench.start("*:1")
    bench.comes_to(bench.put("fail"), "failed")
    result(bench, "commit")
    assert orders() == 0


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_async_sessions(bench: Bench, driver: str, orders: Callable[[], object]) -> None:
    url = bench.database.url
    address = asyncpg_address(url) if driver == "asyncpg" else conninfo_to_dict(url)
    made = create_async_engine(f"postgresql+{driver}://", connect_args=address)
    shop = async_scoped_session(async_sessionmaker(made), scopefunc=asyncio.current_task)
    bench.app.around_job(sessions_handed_back(shop))

    @bench.app.task("leave")
    async def leave() -> None:
        await shop.execute(INSERT)

    @bench.app.task("stuck", timeout="200ms")
    async def stuck() -> None:
        await shop.execute(INSERT)
        await shop.execute(sqlalchemy.text("SELECT pg_sleep(60)"))

    @bench.app.task("count")
    async def count() -> int:
        found: int = (await shop.execute(COUNT)).scalar_one()
        return found

    @bench.app.task("dispose")
    async def dispose() -> None:
        await made.dispose()

    bench.start("*:2")
    result(bench, "leave")
    bench.comes_to(bench.put("stuck"), "failed")
    assert result(bench, "count") == 0
    assert shop.registry.registry == {}
    assert made.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert idle_in_transaction(bench.database) == 0
    result(bench, "dispose")
    assert orders() == 0


def test_a_session_of_the_loops_thread_belongs_to_no_coroutine(bench: Bench, shop: Any) -> None:
    with engine(bench.database.url) as made:
        own = scoped_session(sessionmaker(made), scopefunc=lambda: current_job().id)
        bench.app.around_job(sessions_handed_back(shop, own))

        @bench.app.task("async")
        async def asynchronous() -> list[bool]:
            found = [shop.registry.has(), own.registry.has()]
            shop()
            own()
            return found

        @bench.app.task("end")
        async def end() -> None:
            shop.remove()

        bench.start("*:1")
        assert [result(bench, "async") for _ in range(2)] == [[False, False], [True, False]]
        assert own.registry.registry == {}
        result(bench, "end")


def test_a_session_of_the_test_is_left_alone(bench: Bench, shop: Any, orders: Callable[[], object]) -> None:
    bench.app.around_job(sessions_handed_back(shop))

    @bench.app.task("count")
    def count() -> int:
        found: int = shop.execute(COUNT).scalar_one()
        return found

    shop.execute(INSERT)
    with inline(bench.app):
        assert count.enqueue().result() == 1
    count.enqueue()
    assert [ran.result for ran in drain(bench.app, raise_errors=True)] == [1]
    shop.commit()
    shop.remove()
    count.enqueue()
    assert [ran.result for ran in drain(bench.app, raise_errors=True)] == [1]
    assert not shop.registry.has()
    assert orders() == 1


def test_a_session_that_cannot_be_closed_fails_no_job(
    bench: Bench, shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench.app.around_job(sessions_handed_back(shop))

    def broken() -> None:
        raise RuntimeError("no")

    @bench.app.task("break")
    def breaks() -> None:
        shop().close = broken

    @bench.app.task("use")
    def use() -> int:
        found: int = shop.execute(sqlalchemy.text("SELECT 1")).scalar_one()
        return found

    bench.start("*:1")
    result(bench, "break")
    assert result(bench, "use") == 1
    assert "a session could not be closed, and is given up" in [record.message for record in caplog.records]


def test_in_a_child_process(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, orders: Callable[[], object]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("SHOP_DATABASE_URL", database.url)
    bench = Bench(database, app, "integrations.child_app:app")
    try:
        bench.start("*:1")
        left = result(bench, "order", '{"commit": false}', within=15)
        done = result(bench, "order", '{"commit": true}', within=15)
        assert left == done
        assert orders() == 1
    finally:
        bench.end()


@pytest.mark.parametrize("given", [3, sessionmaker()])
def test_what_is_no_registry_is_refused(given: Any) -> None:
    with pytest.raises(ArgumentError, match=r"must be given a scoped_session or an async_scoped_session, not a"):
        sessions_handed_back(given)
    with pytest.raises(ArgumentError, match="was given nothing"):
        sessions_handed_back()
