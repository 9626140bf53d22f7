"""`pqclock schedules backfill` against a real server."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pqclock.cli.backfilling import backfill as verb
from pqclock.rules.schedule import Schedule
from pqclock.store import backfilling, runtime, schedules
from store.samples import claim, finish

Command = Callable[..., Any]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
JOBS = "SELECT count(*) FROM pqclock.job"


@pytest.fixture
def now(database: Any) -> datetime:
    """The last whole hour, by the database; the schedule `hourly` is there since the one before."""
    found = schedules.database_now(database.session).replace(minute=0, second=0, microsecond=0)
    runtime.put(database.session, [Schedule("hourly", "mail", cron="0 * * * *")], found - HOUR)
    runtime.pause(database.session, "hourly", now=found - HOUR)
    return found


@pytest.fixture
def backfill(database: Any, command: Command) -> Command:
    """`pqclock schedules backfill`, with the address of the test's database."""
    return lambda *args: command("schedules", "backfill", *args, PQCLOCK_DATABASE_URL=database.url)


def span(since: datetime, until: datetime) -> tuple[str, ...]:
    return ("--from", since.isoformat(), "--to", until.isoformat(), "--force")


def test_a_range_is_told_and_inserted(database: Any, backfill: Command, now: datetime) -> None:
    done = backfill("hourly", *span(now - 3 * HOUR, now))
    assert (done.code, done.out) == (0, "")
    told, end = done.err.splitlines()
    assert told.startswith("schedule hourly: 3 ticks from ") and told.endswith(": 3 without a job, 0 with one")
    assert end == (
        "schedule hourly: 3 of 3 jobs inserted, none finished yet; see `pqclock jobs list --schedule hourly`"
    )
    assert database.value(JOBS) == 3
    assert backfill("hourly", *span(now - 3 * HOUR, now)).err.endswith("0 without a job, 3 with one\n")


def test_json(database: Any, backfill: Command, now: datetime) -> None:
    done = backfill("hourly", *span(now - 2 * HOUR, now), "--priority", "5", "--newest-first", "--json")
    assert (done.code, done.err) == (0, "")
    assert (done.json["version"], done.json["next"]) == (1, None)
    (row,) = done.json["backfills"]
    since, last = ((now - n * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ") for n in (2, 1))
    until = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert row == {
        **{"key": "hourly", "since": since, "until": until, "first": since, "last": last, "ticks": 2, "excluded": 0},
        **{"already_there": 0, "missing": 2, "inserted": 2, "finished": 0, "failed": 0},
    }
    assert database.rows("SELECT tick, priority FROM pqclock.job ORDER BY id") == [
        (now - HOUR, 5),
        (now - 2 * HOUR, 5),
    ]


def test_a_plan_writes_nothing_and_says_where_the_range_is_cut(database: Any, backfill: Command, now: datetime) -> None:
    done = backfill("hourly", *span(now - 3 * HOUR, now + 9 * HOUR), "--plan")
    assert done.code == 0 and "without a job" in done.err and "on are left to the clock" in done.err
    assert database.value(JOBS) == 0
    assert "the range has no ticks" in backfill("hourly", *span(now - 50 * timedelta(minutes=1), now), "--plan").err


def test_many_are_asked_for_twice(
    database: Any, backfill: Command, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = ("hourly", *span(now - 1001 * HOUR, now), "--at-once", "2000")
    done = backfill(*wide)
    assert done.code == 2 and "1001 jobs would be inserted" in done.err and "--yes" in done.err
    assert database.value(JOBS) == 0
    assert backfill(*wide, "--plan").code == 0
    assert backfill(*wide, "--yes").code == 0
    assert database.value(JOBS) == 1001
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    done = backfill("hourly", *span(now - 3000 * HOUR, now))
    assert done.code == 1 and done.err.endswith("nothing was inserted\n")


def test_it_waits_for_the_end_and_failures_give_1(
    database: Any, backfill: Command, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work_off(_: float) -> None:
        for job in claim(database.session, now=datetime.max.replace(tzinfo=UTC)):
            state = "failed" if job.tick == now - 2 * HOUR else "succeeded"
            assert finish(database.session, job, state, state)

    sleeping(monkeypatch, work_off)
    monkeypatch.setattr("store.samples.NOW", now + HOUR)
    done = backfill("hourly", *span(now - 3 * HOUR, now), "--at-once", "1", "--wait")
    assert done.code == 1 and "3 of 3 jobs inserted, 3 finished, 1 of them failed" in done.err
    assert backfill("hourly", *span(now - 4 * HOUR, now), "--wait", "--json").json["backfills"][0]["finished"] == 1


def test_an_interrupt_says_how_to_go_on(
    database: Any, backfill: Command, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    sleeping(monkeypatch, interrupt)
    done = backfill("hourly", *span(now - 3 * HOUR, now), "--at-once", "2")
    assert done.code == 130
    assert done.err.endswith("schedule hourly: 2 of 3 jobs inserted; run it again to go on\n")
    assert database.value(JOBS) == 2


def test_it_says_so_when_nobody_works(
    database: Any, backfill: Command, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if sum(waited) > 30:
            database.session.conn.execute("DELETE FROM pqclock.job")

    sleeping(monkeypatch, sleep)
    done = backfill("hourly", *span(now - 3 * HOUR, now), "--at-once", "2")
    assert done.code == 0 and done.err.count("no job of it has ended for 10 s: see `pqclock processes`") == 1


def sleeping(monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None]) -> None:
    """Have a backfill do this whenever it waits for jobs."""
    monkeypatch.setattr("pqclock.cli.backfilling.time.sleep", sleep)


def test_the_bar_is_drawn_where_somebody_looks_on(
    backfill: Command, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    done = backfill("hourly", *span(now - 3 * HOUR, now))
    assert done.code == 0 and "3 of 3 jobs inserted" in done.err


def test_what_the_ledger_does_not_remember_is_refused(backfill: Command, now: datetime) -> None:
    done = backfill("hourly", "--from", "2020-01-01", "--to", "2020-01-02", "--json")
    assert (done.code, done.json["error"]["code"]) == (4, "refused")
    assert "--force" in done.err


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (("hourly",), "Missing option '--from'"),
        (("hourly", "--from", "x", "--to", "2020-01-01"), "is no instant"),
        (("hourly", "--from", "2020-01-01", "--to", "2020-01-01"), "the end is exclusive"),
        (("hourly", "--from", "2999-01-01", "--to", "2999-01-02"), "they come by themselves"),
        (("hourly", "--from", "2020-01-01", "--to", "2021-01-01", "--at-once", "0"), "--at-once"),
    ],
)
def test_wrong_usage(args: tuple[str, ...], part: str, backfill: Command, now: datetime) -> None:
    done = backfill(*args)
    assert done.code == 2 and part in done.err and "Traceback" not in done.err


def test_the_default_is_that_of_the_api() -> None:
    (option,) = (param for param in verb.params if param.name == "at_once")
    assert option.default == backfilling.AT_ONCE


def test_an_unknown_key_gets_the_nearest(backfill: Command, now: datetime) -> None:
    done = backfill("hourlx", *span(now - DAY, now))
    assert done.code == 1 and 'did you mean "hourly"?' in done.err
