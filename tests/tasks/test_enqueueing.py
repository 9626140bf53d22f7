"""Enqueueing on a real server: one, many, on a loop, and in the caller's transaction."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row

from pqclock import App, Retry, Task
from pqclock.errors import DatabaseUnreachable, Refused, SettingsError

if TYPE_CHECKING:
    from conftest import Database

JOBS = "SELECT id, task, args, state::text FROM pqclock.job ORDER BY id"
NOBODY = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def mail(app: App) -> Task[..., Any]:
    """A registered task."""

    @app.task("mail", queue="mice", retry=Retry(max_attempts=3))
    def mail(to: str = "", n: int = 0) -> None: ...

    return mail


def on_a_loop(app: App, work: Callable[[], Awaitable[Any]]) -> Any:
    """Run `work` on an event loop of its own, and close the app's connections there."""

    async def run() -> Any:
        try:
            return await work()
        finally:
            await app.close_async()

    return asyncio.run(run())


def test_an_enqueue_inserts_a_job_and_publishes_its_task(database: Database, mail: Task[..., Any]) -> None:
    handle = mail.enqueue(to="a")
    assert (handle.inserted, handle.state) == (True, "ready")
    assert database.rows(JOBS) == [(handle.id, "mail", {"to": "a"}, "ready")]
    assert database.rows("SELECT name, queue, max_attempts, code_version FROM pqclock.task") == [
        ("mail", "mice", 3, "1")
    ]
    assert database.value("SELECT max_attempts FROM pqclock.job") == 3


def test_a_task_that_is_registered_later_is_published_too(database: Database, app: App, mail: Task[..., Any]) -> None:
    mail.enqueue()
    app.task("other")(lambda: None).enqueue()
    assert database.rows("SELECT name FROM pqclock.task ORDER BY 1") == [("mail",), ("other",)]


def test_the_async_twin_does_the_same(database: Database, app: App, mail: Task[..., Any]) -> None:
    handle = on_a_loop(app, lambda: mail.using(delay="1h").enqueue_async(to="a"))
    assert handle.state == "scheduled"
    assert database.rows(JOBS) == [(handle.id, "mail", {"to": "a"}, "scheduled")]
    assert database.value("SELECT count(*) FROM pqclock.task") == 1


def test_many_may_begin_at_once_on_a_fresh_loop(database: Database, app: App, mail: Task[..., Any]) -> None:
    async def all_at_once() -> set[int]:
        return {handle.id for handle in await asyncio.gather(*(mail.enqueue_async(n=n) for n in range(20)))}

    assert len(on_a_loop(app, all_at_once)) == 20
    assert len(on_a_loop(app, all_at_once)) == 20
    assert database.value("SELECT count(*) FROM pqclock.job") == 40


def test_many_jobs_come_back_in_order(database: Database, app: App, mail: Task[..., Any]) -> None:
    handles = app.enqueue_many([mail.job(n=n) for n in range(5000)])
    rows = database.rows("SELECT id, (args ->> 'n')::int FROM pqclock.job ORDER BY id")
    assert rows == [(handle.id, n) for n, handle in enumerate(handles)]
    assert app.enqueue_many([]) == []


@pytest.mark.parametrize("row_factory", [None, dict_row])
def test_a_job_is_part_of_the_callers_transaction(database: Database, mail: Task[..., Any], row_factory: Any) -> None:
    options = {"row_factory": row_factory} if row_factory else {}
    with psycopg.connect(database.url, **options) as conn:
        handle = mail.using(conn=conn).enqueue(to="a")
        assert database.rows(JOBS) == []
        conn.rollback()
        assert database.rows(JOBS) == []
        handle = mail.using(conn=conn).enqueue(to="b")
        conn.commit()
        assert database.rows(JOBS) == [(handle.id, "mail", {"to": "b"}, "ready")]
        assert mail.app.enqueue_many([mail.job(to="c")], conn=conn)[0].id > handle.id


@pytest.mark.parametrize("row_factory", [None, dict_row])
def test_a_job_is_part_of_the_callers_async_transaction(
    database: Database, app: App, mail: Task[..., Any], row_factory: Any
) -> None:
    options = {"row_factory": row_factory} if row_factory else {}

    async def work() -> int:
        async with await psycopg.AsyncConnection.connect(database.url, **options) as conn:
            await mail.using(conn=conn).enqueue_async(to="a")
            await conn.rollback()
            handle = await mail.using(conn=conn).enqueue_async(to="b")
            assert database.rows(JOBS) == []
            await conn.commit()
            return handle.id

    job_id = on_a_loop(app, work)
    assert database.rows(JOBS) == [(job_id, "mail", {"to": "b"}, "ready")]


def test_before_anybody_published_a_task_its_code_speaks_for_it(database: Database, mail: Task[..., Any]) -> None:
    with psycopg.connect(database.url) as conn:
        mail.using(conn=conn).enqueue()
    assert database.value("SELECT count(*) FROM pqclock.task") == 0
    assert database.rows("SELECT queue, max_attempts FROM pqclock.job") == [("mice", 3)]


def test_without_an_address_the_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="no database address: set PQCLOCK_DATABASE_URL"):
        App().task("mail")(lambda: None).enqueue()


def test_the_address_and_the_schema_may_come_from_variables(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PQCLOCK_DATABASE_URL", database.url)
    app = App()
    app.task("mail")(lambda: None).enqueue()
    app.close()
    assert database.value("SELECT count(*) FROM pqclock.job") == 1
    monkeypatch.setenv("PQCLOCK_SCHEMA", "other_one")
    app = App()
    with pytest.raises(Refused, match="run `pqclock migrate`"):
        app.task("mail")(lambda: None).enqueue()
    app.close()


def test_a_database_without_tables_is_refused_on_every_way(empty_url: str) -> None:
    app = App(empty_url)
    mail = app.task("mail")(lambda: None)
    with psycopg.connect(empty_url) as conn:
        for way in (mail, mail.using(conn=conn)):
            with pytest.raises(Refused, match="no tables of pqclock, or old ones: run `pqclock migrate`"):
                way.enqueue()
            conn.rollback()
    with pytest.raises(Refused, match="run `pqclock migrate`"):
        on_a_loop(app, mail.enqueue_async)
    with pytest.raises(Refused, match="run `pqclock migrate`"):
        app.job_result(1)
    app.close()


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    app = App(NOBODY)
    mail = app.task("mail")(lambda: None)
    with pytest.raises(DatabaseUnreachable, match=r"PostgreSQL at 127.0.0.1:1/none cannot be reached .*refused"):
        mail.enqueue()
    with pytest.raises(DatabaseUnreachable, match=r"PostgreSQL at 127.0.0.1:1/none cannot be reached .*refused"):
        on_a_loop(app, mail.enqueue_async)


def test_hostile_arguments_are_only_data(database: Database, mail: Task[..., Any]) -> None:
    hostile = json.dumps("'; DROP TABLE pqclock.job; -- %(n)s %s {schema}")
    handle = mail.enqueue(to=hostile)
    assert database.rows(JOBS) == [(handle.id, "mail", {"to": hostile}, "ready")]
