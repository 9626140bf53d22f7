"""Django's connections around the runs of a real worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, sync_to_async
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from conftest import Database
from pqclock.integrations.django import connections_handed_back
from pqclock.tasks.context import CurrentJob
from pqclock.testing import drain, inline
from tasks.callers import django_database
from worker.bench import Bench

Configure = Callable[..., None]
_UNLESS_SAID = {"CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False}


@pytest.fixture
def configure(bench: Bench) -> Iterator[Configure]:
    """Set what DATABASES says of connections; those of all threads are gone at the end."""
    with django_database(bench.database.url):
        yield lambda **options: connections.settings["default"].update(options)
        connections.settings["default"].update(_UNLESS_SAID)
        SyncToAsync.single_thread_executor.submit(_forget_all).result(5)


def _forget_all() -> None:
    connections.close_all()
    for conn in connections.all(initialized_only=True):
        del connections[conn.alias]


def _pid() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid: int = cursor.fetchone()[0]
        return pid


@pytest.fixture
def tasks(bench: Bench, configure: Configure) -> Bench:
    """Tasks that tell on which connection they ran."""

    @bench.app.task("sync")
    def plain() -> int:
        return _pid()

    @bench.app.task("async")
    async def asynchronous() -> int:
        return await sync_to_async(_pid)()

    @bench.app.task("close")
    def close() -> None:
        connections.close_all()

    return bench


def pid_of(bench: Bench, task: str) -> Any:
    job_id = bench.put(task)
    assert bench.comes_to(job_id, "succeeded", "failed") == "succeeded", bench.error(job_id)
    return bench.database.value("SELECT result FROM pqclock.jobs WHERE id = %s", job_id)


def drop(database: Database, pid: int) -> None:
    assert database.value("SELECT pg_terminate_backend(%s, 5000)", pid) is True


def is_open(database: Database, pid: int) -> bool:
    return database.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid) == 1


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("checks", [False, True])
def test_a_dropped_connection_is_not_the_next_jobs(tasks: Bench, configure: Configure, kind: str, checks: bool) -> None:
    configure(CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=checks)
    tasks.app.around_job(connections_handed_back)
    tasks.start("*:1")
    first = pid_of(tasks, kind)
    assert pid_of(tasks, kind) == first
    drop(tasks.database, first)
    second = pid_of(tasks, kind)
    assert second != first and pid_of(tasks, kind) == second
    tasks.comes_to(tasks.put("close"), "succeeded")


def test_without_it_the_next_job_fails(tasks: Bench) -> None:
    tasks.start("*:1")
    drop(tasks.database, pid_of(tasks, "sync"))
    job_id = tasks.put("sync")
    assert tasks.comes_to(job_id, "succeeded", "failed") == "failed"
    tasks.comes_to(tasks.put("close"), "succeeded")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_age_of_connections_is_kept_to(tasks: Bench, configure: Configure, kind: str) -> None:
    configure(CONN_MAX_AGE=0)
    tasks.app.around_job(connections_handed_back)
    tasks.start("*:1")
    first = pid_of(tasks, kind)
    second = pid_of(tasks, kind)
    assert first != second and not is_open(tasks.database, first)


def test_what_a_run_has_left_open_is_rolled_back(
    tasks: Bench, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure(CONN_MAX_AGE=None)
    tasks.app.around_job(connections_handed_back)
    tasks.database.session.conn.execute("CREATE TABLE orders (customer text)")

    @tasks.app.task("leaves.atomic")
    def atomic() -> None:
        transaction.atomic().__enter__()
        _insert()

    @tasks.app.task("leaves.autocommit")
    def autocommit() -> None:
        transaction.set_autocommit(False)
        _insert()

    tasks.start("*:1")
    for name in ("leaves.atomic", "leaves.autocommit"):
        tasks.comes_to(tasks.put(name), "succeeded")
        pid_of(tasks, "sync")
    assert tasks.database.value("SELECT count(*) FROM orders") == 0
    assert tasks.database.value("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'") == 0
    (told,) = [record.getMessage() for record in caplog.records if record.name == "pqclock.integrations.django"]
    assert "(leaves.atomic) left an atomic block open on the database 'default'" in told
    tasks.comes_to(tasks.put("close"), "succeeded")


def _insert() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO orders VALUES ('ada')")


def test_a_block_around_the_run_is_left_alone(tasks: Bench) -> None:
    def surrounding(job: CurrentJob) -> AbstractContextManager[None]:
        block: AbstractContextManager[None] = transaction.atomic()
        return block

    tasks.database.session.conn.execute("CREATE TABLE orders (customer text)")
    tasks.app.around_job(connections_handed_back)
    tasks.app.around_job(surrounding)
    tasks.app.around_job(connections_handed_back)
    tasks.app.task("insert")(_insert)
    tasks.start("*:1")
    tasks.comes_to(tasks.put("insert"), "succeeded")
    assert tasks.database.value("SELECT count(*) FROM orders") == 1


@pytest.mark.parametrize("within", [True, False], ids=["atomic", "autocommit"])
def test_in_tests_connections_stay_as_they_are(tasks: Bench, within: bool) -> None:
    tasks.app.around_job(connections_handed_back)
    handler = tasks.app.tasks["sync"]
    block = transaction.atomic() if within else CaptureQueriesContext(connection)
    with block, CaptureQueriesContext(connection) as queries:
        mine = _pid()
        with inline(tasks.app):
            assert handler.enqueue().result() == mine
        handler.using(queue="drained").enqueue()
        (ran,) = drain(tasks.app, raise_errors=True)
        assert ran.result == mine == _pid()
    assert len(queries) == 4


async def _on_a_loop(bench: Bench) -> str:
    with inline(bench.app):
        handle = await bench.app.tasks["nothing"].enqueue_async()
    return handle.state


def test_a_plain_handler_inline_on_an_event_loop(tasks: Bench) -> None:
    import asyncio

    tasks.app.around_job(connections_handed_back)
    tasks.app.task("nothing")(lambda: None)
    assert asyncio.run(_on_a_loop(tasks)) == "succeeded"


def test_a_connection_that_cannot_be_handed_back_is_given_up(
    tasks: Bench, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure(CONN_MAX_AGE=None)
    tasks.app.around_job(connections_handed_back)

    @tasks.app.task("breaks")
    def breaks() -> int:
        pid = _pid()
        connection.close_if_unusable_or_obsolete = None
        return pid

    tasks.start("*:1")
    first = pid_of(tasks, "breaks")
    assert pid_of(tasks, "sync") != first
    assert any(
        record.levelno == logging.ERROR and "could not be handed back" in record.message for record in caplog.records
    )
    tasks.comes_to(tasks.put("close"), "succeeded")
