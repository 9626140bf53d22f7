"""A worker and a clock inside a process: started, stopped, started again, and nothing is left."""

from __future__ import annotations

import asyncio
import signal
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import Database
from pqclock import App, DatabaseUnreachable, Refused, SettingsError
from pqclock.hosting import places
from pqclock.hosting.clock import HostedClock
from processes.fleet import eventually

SESSIONS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = ANY(%s)
"""
OURS = ["pqclock worker", "pqclock finisher", "pqclock clock", "pqclock partitions"]


def sessions(database: Database) -> object:
    return database.value(SESSIONS, OURS)


def processes(database: Database) -> object:
    return database.value("SELECT count(*) FROM pqclock.process")


def test_a_worker_runs_jobs_and_leaves_nothing_behind(app: App, database: Database) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    worker = app.worker(queues="mice:2;elephants:1")
    assert repr(worker) == "<worker, not running>"
    for n in (1, 2):
        with worker as started:
            assert started is worker and worker.running and repr(worker) == "<worker, running>"
            handle = app.tasks["double"].using(queue="elephants").enqueue(n=n)
            assert handle.result("10s") == 2 * n
        assert not worker.running and worker.error is None
        assert processes(database) == 0
        eventually(lambda: sessions(database) == 0)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == handlers
    assert worker.stop() is True


def test_a_clock_applies_the_files_leads_and_leaves_nothing_behind(app: App, database: Database) -> None:
    clock = app.clock()
    assert clock.state == "stopped"
    with clock, app.worker():
        eventually(lambda: clock.state == "leading")
        done = "SELECT count(*) FROM pqclock.jobs WHERE schedule_key = 'often' AND state = 'succeeded'"
        eventually(lambda: int(str(database.value(done))) > 0)
    assert (clock.state, clock.error) == ("stopped", None)
    assert processes(database) == 0
    eventually(lambda: sessions(database) == 0)


def test_both_are_started_and_stopped_on_an_event_loop(app: App, database: Database) -> None:
    async def serve() -> None:
        async with app.worker(), app.clock() as clock:
            handle = await app.tasks["double"].enqueue_async(n=3)
            assert await handle.result_async("10s") == 6
            assert clock.running
        await app.close_async()

    asyncio.run(serve())
    eventually(lambda: sessions(database) == 0)


def test_one_clock_a_host_stands_for_election_and_the_next_one_takes_its_place(app: App, database: Database) -> None:
    with app.clock() as first:
        eventually(lambda: first.state == "leading")
        with app.clock() as second:
            eventually(lambda: second.state == "waiting")
            assert database.value("SELECT count(*) FROM pqclock.process WHERE kind = 'clock'") == 1
            first.stop()
            eventually(lambda: second.state == "leading")


def test_clocks_of_other_schemas_and_databases_have_places_of_their_own(database: Database, empty_url: str) -> None:
    made = [
        places.Place(url, schema).path
        for url, schema in ((database.url, "pqclock"), (database.url, "other"), (empty_url, "pqclock"))
    ]
    assert len(set(made)) == 3


def test_where_no_file_can_be_locked_every_clock_stands(
    app: App, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "missing"))
    with app.clock() as first, app.clock() as second:
        eventually(lambda: {first.state, second.state} == {"leading", "standby"})
    assert "cannot be locked (No such file or directory), so every process of this host stands" in caplog.text


def test_a_second_start_is_refused(app: App) -> None:
    with app.worker() as worker:
        with pytest.raises(Refused, match=r"this worker runs already in process \d+: stop it before"):
            worker.start()
        assert worker.running


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda app: app.worker(queues="mice:x"), r"app\.worker\(\): queues: .*mice:x"),
        (lambda app: app.worker(stop_timeout="soon"), r"app\.worker\(\): stop_timeout: 'soon' is not a duration"),
        (lambda app: app.clock(set="a b"), r"app\.clock\(\): set: 'a b' is not allowed: use up to 100 letters"),
        (lambda app: app.clock(schedules=()), r"app\.clock\(\): schedules: \(\) is not allowed: use paths"),
    ],
)
def test_a_wrong_argument_is_told_at_once(make: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make(App("postgresql://nowhere.invalid/x"))


@pytest.mark.parametrize("verb", ["worker", "clock"])
def test_a_start_without_a_database_says_so_and_leaves_nothing(verb: str, app: App, empty_url: str) -> None:
    gone = getattr(App("postgresql://127.0.0.1:1/x"), verb)(wait="0s")
    with pytest.raises(DatabaseUnreachable, match=r"127\.0\.0\.1:1/x cannot be reached"):
        gone.start()
    empty = getattr(App(empty_url), verb)()
    with pytest.raises(Refused, match="run `pqclock migrate`"), empty:
        pass
    assert not gone.running and not empty.running


def test_files_that_cannot_be_applied_end_the_clock_with_the_reason(
    app: App, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "schedules" / "all.toml").write_text("[schedule.x]\n")
    clock = app.clock().start()
    eventually(lambda: not clock.running)
    assert "all.toml" in str(clock.error) and "the clock inside this process ended" in caplog.text
    clock.stop()
    (tmp_path / "schedules" / "all.toml").write_text('[schedule.x]\ntask = "double"\nevery = "1h"\n')
    with clock:
        eventually(lambda: clock.state == "leading")
        assert clock.error is None


def test_a_stop_gives_what_runs_its_time_and_no_more(app: App, database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @app.task("slow")
    def slow() -> None:
        begun.set()
        go_on.wait(20)

    worker = app.worker().start()
    handle = slow.enqueue()
    assert begun.wait(10)
    assert worker.stop(timeout=timedelta(milliseconds=50)) is False
    assert not worker.running
    assert database.value("SELECT state FROM pqclock.jobs WHERE id = %s", handle.id) == "ready"
    go_on.set()


def test_without_tasks_a_worker_warns(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    with App(database.url).worker():
        assert "import their modules before start()" in caplog.text


def test_a_database_away_for_a_moment_ends_neither(app: App, database: Database) -> None:
    with app.worker() as worker, app.clock() as clock:
        eventually(lambda: clock.state == "leading")
        database.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = ANY(%s)",
            OURS,
        )
        eventually(lambda: clock.state == "leading")
        assert app.tasks["double"].enqueue(n=5).result("10s") == 10
        assert worker.running and isinstance(clock, HostedClock)
