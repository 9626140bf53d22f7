"""`app.schedules`: put, remove, pause, resume, trigger and backfill from Python."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pqclock import App
from pqclock.clock.leader import Leader
from pqclock.errors import ArgumentError, UnknownSchedule
from pqclock.store import backfilling, leadership, processes, schedules
from pqclock.store.backfilling import Backfilled

if TYPE_CHECKING:
    from conftest import Database

ROWS = "SELECT key, state, task, queue, note FROM pqclock.schedules ORDER BY key"


def turn(database: Database) -> None:
    """One turn of a new leader."""
    process_id = processes.register(database.session, "clock", pid=1, host="box", code_version="1")
    Leader(database.session, leadership.elect(database.session, process_id), process_id).turn()


def test_put_change_and_remove(database: Database, app: App) -> None:
    assert app.schedules.put("a", task="mail", every="1s", queue="q") is True
    turn(database)
    assert int(str(database.value("SELECT count(*) FROM pqclock.job"))) >= 59
    assert app.schedules.put("a", task="mail", every=timedelta(seconds=1), queue="q") is False
    assert app.schedules.put("a", task="mail", cron="0 0 1 1 *", timezone="Europe/Berlin") is True
    assert database.rows(ROWS) == [("a", "active", "mail", "default", None)]
    turn(database)
    assert database.value("SELECT count(*) FROM pqclock.job WHERE state = 'scheduled'") == 0
    app.schedules.remove("a")
    with pytest.raises(UnknownSchedule, match="no schedule"):
        app.schedules.remove("a")


def test_a_task_may_be_given_itself(database: Database, app: App) -> None:
    @app.task("mail.send")
    def send() -> None: ...

    app.schedules.put("a", task=send, every="1h")
    assert database.value("SELECT task FROM pqclock.schedules") == "mail.send"


def test_all_faults_come_together_and_nothing_is_written(database: Database, app: App) -> None:
    wanted: list[Any] = [
        {"key": "a", "task": "t", "cron": "61 * * * *", "queue": "no queue"},
        {"key": "Bad Key", "task": "t", "every": "1m"},
        {"key": "c", "every": "1m", "at": "2030-01-01T00:00Z"},
        {"key": "d", "task": "t", "every": "1m", "fuse": ["x:"], "colour": 1},
        {"key": "e", "task": "t", "every": "1m"},
        {"key": "e", "task": "t", "every": "1m"},
        {"task": "t"},
        "f",
    ]
    with pytest.raises(ArgumentError) as caught:
        app.schedules.put_many(wanted)
    message = str(caught.value)
    parts = ['"a": cron', '"a": queue', '"Bad Key"', '"c": at', 'field "task" is missing', '"d": fuse', "colour"]
    assert [
        part for part in [*parts, '"e" is given twice', "schedules[6]", "schedules[7]"] if part not in message
    ] == []
    assert database.rows(ROWS) == []


def test_put_many_gives_what_was_written(database: Database, app: App) -> None:
    many = [{"key": f"customer-{n}", "task": "t", "every": "1h"} for n in (3, 1, 2)]
    assert app.schedules.put_many(many) == ["customer-1", "customer-2", "customer-3"]
    assert app.schedules.put_many([*many[:2], {**many[2], "queue": "q"}]) == ["customer-2"]
    assert app.schedules.put_many([]) == []
    assert len(database.rows(ROWS)) == 3


def test_pause_trigger_and_resume(database: Database, app: App) -> None:
    @app.task("mail", queue="letters", max_attempts=3)
    def mail(day: str = "") -> None: ...

    app.schedules.put("a", task=mail, every="1s", args={"day": "{tick:%d}"})
    app.schedules.pause("a", note="moving")
    assert database.rows(ROWS) == [("a", "paused", "mail", "default", "moving")]
    turn(database)
    assert database.value("SELECT count(*) FROM pqclock.job") == 0
    handle = app.schedules.trigger("a", {"day": "x"})
    assert (handle.inserted, handle.state) == (True, "ready")
    assert database.rows("SELECT id, queue, max_attempts, args, schedule_key, tick FROM pqclock.jobs") == [
        (handle.id, "letters", 3, {"day": "x"}, "a", None)
    ]
    assert app.schedules.resume("a") is True
    assert app.schedules.resume("a") is False
    turn(database)
    assert int(str(database.value("SELECT count(*) FROM pqclock.job WHERE tick IS NOT NULL"))) >= 59


def test_the_connection_is_fine_after_a_refusal(app: App) -> None:
    for _ in range(20):
        with pytest.raises(UnknownSchedule):
            app.schedules.trigger("nothing")
    assert app.schedules.put("a", task="t", every="1h") is True


def test_it_works_from_an_event_loop_through_a_thread(app: App) -> None:
    async def run() -> bool:
        return await asyncio.to_thread(app.schedules.put, "a", task="t", every="1h")

    assert asyncio.run(run()) is True


def test_backfill(database: Database, app: App) -> None:
    @app.task("mail", queue="letters", priority=4)
    def mail(day: str = "") -> None: ...

    app.schedules.put("a", task=mail, every="1h", args={"day": "{tick:%H}"})
    app.schedules.pause("a")
    now = schedules.database_now(database.session)
    since, until = now - timedelta(hours=5), now
    seen = app.schedules.backfill("a", since, until, force=True, dry_run=True)
    assert (seen.ticks, seen.missing, seen.inserted) == (5, 5, 0)
    assert database.value("SELECT count(*) FROM pqclock.job") == 0
    told: list[Backfilled] = []
    done = app.schedules.backfill("a", since, until, force=True, newest_first=True, on_progress=told.append)
    assert (done.inserted, done.first, done.last) == (5, seen.first, seen.last)
    assert told[-1] == done
    rows = database.rows(
        "SELECT queue, priority, schedule_key, args ->> 'day', to_char(tick, 'HH24') FROM pqclock.jobs"
    )
    assert {row[:3] for row in rows} == {("letters", 4, "a")}
    assert all(day == hour for *_, day, hour in rows) and len(rows) == 5
    assert app.schedules.backfill("a", since, until, force=True).already_there == 5


def test_a_backfill_holds_no_connection_while_it_waits(
    database: Database, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.schedules.put("a", task="mail", every="1h")
    now = schedules.database_now(database.session)
    held: list[object] = []

    def sleep(_: float) -> None:
        held.append(database.value("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"))
        database.session.conn.execute("DELETE FROM pqclock.job")

    run = backfilling.run
    monkeypatch.setattr(backfilling, "run", lambda *args, **more: run(*args, **more, sleep=sleep))
    done = app.schedules.backfill("a", now - timedelta(hours=5), now, force=True, at_once=1, wait=True)
    assert (done.inserted, done.finished, done.failed) == (5, 5, 0)
    assert set(held) == {0}


@pytest.mark.parametrize(
    ("since", "until", "sentence"),
    [
        (datetime(2026, 1, 1), datetime(2026, 1, 2), "must be a datetime with a timezone"),
        (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), "the end is exclusive"),
    ],
)
def test_a_bad_range_is_refused(app: App, since: datetime, until: datetime, sentence: str) -> None:
    with pytest.raises(ArgumentError, match=sentence):
        app.schedules.backfill("a", since, until)
