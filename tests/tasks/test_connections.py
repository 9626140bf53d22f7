"""The connections of an app: none is left behind, none is shared with a forked child, and dead ones are replaced."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pqclock import App, Task
from pqclock.address import Address
from pqclock.store.database import query
from pqclock.tasks.connections import Connections, Place
from processes.fleet import eventually

if TYPE_CHECKING:
    from conftest import Database

OURS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pqclock app'"


@pytest.fixture
def mail(app: App) -> Task[..., Any]:
    """A registered task."""

    @app.task("mail")
    def mail(n: int = 0) -> None: ...

    return mail


def opened(database: Database) -> int:
    """How many connections the app has."""
    count = database.value(f"SELECT count(*) {OURS}")
    assert isinstance(count, int)
    return count


def end_them_all(database: Database) -> None:
    """What a restart of the server does to idle connections."""

    def are_gone() -> bool:
        # A pool that grows may be opening one more just now.
        database.rows(f"SELECT pg_terminate_backend(pid) {OURS}")
        return opened(database) == 0

    eventually(are_gone)


def test_a_loop_that_ended_leaves_no_connection_behind(database: Database, app: App, mail: Task[..., Any]) -> None:
    for _ in range(10):
        asyncio.run(mail.enqueue_async())
    # The last loop's is closed at the next look.
    eventually(lambda: opened(database) <= 1, within=3)
    app.close()
    eventually(lambda: opened(database) == 0, within=3)
    assert database.value("SELECT count(*) FROM pqclock.job") == 10


def test_a_dead_connection_costs_nobody_an_enqueue(database: Database, mail: Task[..., Any]) -> None:
    together = threading.Barrier(8)

    def enqueue() -> None:
        together.wait()
        for n in range(10):
            mail.enqueue(n=n)

    threads = [threading.Thread(target=enqueue) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened(database) > 1
    end_them_all(database)
    for n in range(10):
        mail.enqueue(n=n)
    assert database.value("SELECT count(*) FROM pqclock.job") == 90


def test_a_dead_connection_costs_no_event_loop_an_enqueue(database: Database, app: App, mail: Task[..., Any]) -> None:
    async def work() -> None:
        await asyncio.gather(*(mail.enqueue_async(n=n) for n in range(20)))
        await asyncio.to_thread(end_them_all, database)
        for n in range(10):
            await mail.enqueue_async(n=n)
        await app.close_async()

    asyncio.run(work())
    assert database.value("SELECT count(*) FROM pqclock.job") == 30


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_uses_connections_of_its_own(database: Database, app: App, mail: Task[..., Any]) -> None:
    mail.enqueue()
    parents = database.rows(f"SELECT pid {OURS} ORDER BY 1")
    child = os.fork()
    if child == 0:
        try:
            mail.enqueue()
            app.close()
            code = 0
        except BaseException:
            code = 1
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert database.rows(f"SELECT pid {OURS} ORDER BY 1") == parents
    mail.enqueue()
    assert database.rows(f"SELECT pid {OURS} ORDER BY 1") == parents
    assert database.value("SELECT count(*) FROM pqclock.job") == 3


class Share:
    """Stands for the share in an embedded server."""

    closed = False

    def close(self) -> None:
        self.closed = True


def test_a_close_gives_up_the_share_in_an_embedded_server(database: Database) -> None:
    shares: list[Any] = []

    def find() -> Place:
        shares.append(Share())
        return Place(Address(database.url, "a test", shares[-1]), "pqclock")

    own = Connections(find)
    for _ in range(2):
        assert own.run("jobs.result", {"id": 1}) == []
        assert not shares[-1].closed
        own.close()
        assert shares[-1].closed
    assert asyncio.run(own.run_async("jobs.result", {"id": 1})) == []
    own.close()
    assert [share.closed for share in shares] == [True, True, True]
    eventually(lambda: opened(database) == 0, within=3)


def test_closing_while_others_enqueue_fails_nobody_and_leaves_nothing(
    database: Database, app: App, mail: Task[..., Any]
) -> None:
    faults: list[BaseException] = []

    def enqueue() -> None:
        try:
            for n in range(40):
                mail.enqueue(n=n)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=enqueue) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        app.close()
        time.sleep(0.03)
    for thread in threads:
        thread.join()
    app.close()
    assert faults == []
    eventually(lambda: opened(database) == 0, within=3)
    assert database.value("SELECT count(*) FROM pqclock.job") == 160


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that connections of apps have run, in order."""
    names: list[str] = []

    def noted(statement: str, schema: str) -> bytes:
        names.append(statement)
        return query(statement, schema)

    monkeypatch.setattr("pqclock.tasks.connections.query", noted)
    return names


STEPS = ["tasks.publish", "tasks.settle", "jobs.insert"]


@pytest.mark.parametrize("way", ["threads", "loops"])
def test_tasks_that_were_written_are_settled_on_both_ways(mail: Task[..., Any], way: str, ran: list[str]) -> None:
    for _ in range(2):
        assert mail.enqueue() if way == "threads" else asyncio.run(mail.enqueue_async())
    assert ran == [*STEPS, "jobs.insert"]


def test_what_could_not_be_settled_is_settled_later(
    mail: Task[..., Any], ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Connections.run

    def lost(self: Connections, statement: str, params: Any) -> Any:
        if statement == "tasks.settle":
            raise psycopg.OperationalError("lost")
        return run(self, statement, params)

    with monkeypatch.context() as broken:
        broken.setattr(Connections, "run", lost)
        with pytest.raises(psycopg.OperationalError):
            mail.enqueue()
    mail.enqueue()
    assert ran == ["tasks.publish", *STEPS]
