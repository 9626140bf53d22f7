"""Workers are told of a queue's first jobs at once, of those after them once in a while, and of all of them in the end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

from conftest import Database
from pqclock import App
from pqclock.store.listening import hear, listen
from pqclock.tasks import waking
from pqclock.tasks.waking import Waking

KIND = ("mail.send", None)
READY = "ready default"


@pytest.fixture
def app(database: Database) -> Iterator[App]:
    app = App(database_url=database.url)
    app.task("mail.send")(lambda: None)
    app.task("mail.bounce")(lambda: None)
    yield app
    app.close()


@pytest.fixture
def heard(database: Database) -> Iterator[Callable[[], list[str]]]:
    """What has arrived so far, but for what tells of tasks."""
    ear = database.connect("ear")
    listen(ear)
    payloads: list[str] = []

    def hear_now() -> list[str]:
        for _ in range(2):
            ear.conn.execute("SELECT 1")
        payloads.extend(payload for payload in hear(ear) if payload.startswith(("ready", "gated")))
        return payloads

    yield hear_now
    ear.close()


def come(told: Waking, wake: str | None = READY) -> bool:
    """A job comes in; gives whether it was quiet."""
    quiet = told.is_quiet(KIND)
    told.came(KIND, wake, quiet=quiet)
    return quiet


def test_only_the_first_tells_of_itself(
    database: Database, heard: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "WINDOW", 60.0)
    monkeypatch.setattr(waking, "AT_ONCE", 1)
    told = Waking(database.connect)
    assert [come(told) for _ in range(3)] == [False, True, True]
    assert not told.is_quiet(("mail.bounce", None))
    assert heard() == []
    told.flush()
    told.flush()
    assert heard() == [READY]


def test_a_window_ends_with_a_notification_which_begins_the_next_one(
    database: Database, heard: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "WINDOW", 0.2)
    told = Waking(database.connect)
    began = time.monotonic()
    quiet = []
    while len(heard()) < 3:
        quiet.append(come(told))
        assert time.monotonic() - began < 10
    assert time.monotonic() - began >= 0.595
    # The first few are told of at once, and after that none is any more.
    assert quiet == [False] * waking.AT_ONCE + [True] * (len(quiet) - waking.AT_ONCE)


def test_what_comes_at_a_walk_is_told_of_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "WINDOW", 0.02)
    told = Waking(database.connect)
    for _ in range(10):
        assert not come(told)
        time.sleep(0.01)


def test_what_the_database_did_not_make_ready_is_never_quiet(database: Database) -> None:
    told = Waking(database.connect)
    assert [come(told, wake=None) for _ in range(2)] == [False, False]


def test_its_thread_ends_when_nothing_comes_and_begins_again(
    database: Database, heard: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "IDLE", 0.05)
    told = Waking(database.connect)
    for times in (1, 2):
        come(told)
        told.came(KIND, READY, quiet=True)
        for thread in threading.enumerate():
            if thread.name == "pqclock-waking":
                thread.join(10)
                assert not thread.is_alive()
        assert len(heard()) == times


def test_what_cannot_be_told_is_left_to_the_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "WINDOW", 60.0)
    monkeypatch.setattr(waking, "AT_ONCE", 1)

    def fail() -> NoReturn:
        raise ConnectionError("away")

    told = Waking(fail)
    come(told)
    come(told)
    told.flush()


def test_of_many_enqueues_few_notify_and_none_is_forgotten(
    app: App, heard: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "WINDOW", 60.0)
    monkeypatch.setattr(waking, "AT_ONCE", 1)
    for _ in range(20):
        app.tasks["mail.send"].enqueue()
    assert heard() == [READY]
    # It is known by now where the jobs of the other task go.
    app.tasks["mail.bounce"].enqueue()
    app.tasks["mail.bounce"].enqueue()
    assert heard() == [READY] * 2
    app.close()
    assert heard() == [READY] * 3


def test_another_queue_and_a_callers_transaction_tell_at_once(
    app: App, database: Database, heard: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "WINDOW", 60.0)
    monkeypatch.setattr(waking, "AT_ONCE", 1)
    task = app.tasks["mail.send"]
    task.enqueue()
    task.enqueue()
    task.using(queue="slow").enqueue()
    task.using(conn=database.session.conn).enqueue()
    assert heard() == [READY, "ready slow", READY]


def test_it_is_the_same_on_an_event_loop(
    app: App, heard: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "WINDOW", 0.3)
    monkeypatch.setattr(waking, "AT_ONCE", 1)

    async def enqueue() -> None:
        for _ in range(5):
            await app.tasks["mail.send"].enqueue_async()
        await app.close_async()

    asyncio.run(enqueue())
    assert heard() == [READY] * 2


def test_jobs_due_soon_tell_the_clock_each_time(app: App, database: Database) -> None:
    ear = database.connect("ear")
    listen(ear)
    for _ in range(3):
        app.tasks["mail.send"].using(delay="1s").enqueue()
    ear.conn.execute("SELECT 1")
    assert [payload for payload in hear(ear) if payload == "clock"] == ["clock"] * 3
    ear.close()


def test_a_process_tells_of_its_last_jobs_when_it_ends(database: Database, heard: Callable[[], list[str]]) -> None:
    script = (
        "import sys; from pqclock import App; from pqclock.tasks import waking; waking.WINDOW, waking.AT_ONCE = 60.0, 1; "
        "app = App(database_url=sys.argv[1]); task = app.task('mail.send')(lambda: None); task.enqueue(); task.enqueue()"
    )
    subprocess.run([sys.executable, "-c", script, database.url], check=True, timeout=60)
    assert heard() == [READY] * 2
