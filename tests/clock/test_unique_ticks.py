"""Ticks whose jobs are unique, and those that pass gates: what is decided at their time, and by whom it is delayed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pqclock.clock.applier import apply
from pqclock.clock.planner import Planner
from pqclock.rules.schedule import Schedule
from pqclock.rules.unique import Unique
from pqclock.store import jobs, leadership, runtime, tasks
from pqclock.store.jobs import Entered, NewJob
from store.samples import HOUR, MINUTE, NOW, SECOND, a_worker, claim, finish

if TYPE_CHECKING:
    from conftest import Database

JOBS = "SELECT tick, state::text, unique_key FROM pqclock.job ORDER BY id"
LEDGER = "SELECT tick, outcome, reason FROM pqclock.tick ORDER BY tick"
PLANNED = "SELECT count(DISTINCT schedule_id) FROM pqclock.tick WHERE outcome = 'inserted'"


class Minutely:
    """Schedules that tick every minute, and a leader's planner that waits as briefly as a leader does."""

    def __init__(self, database: Database, *schedules: Schedule) -> None:
        self.database = database
        apply(database.session, "default", "1", schedules, explicit=True, now=NOW)
        self.planner = Planner(database.session, leadership.elect(database.session, 1, NOW))
        leadership.wait_briefly(database.session)
        self.worker = a_worker(database.session)

    def turn(self, now: Any) -> None:
        """What the leader does at an instant."""
        for _ in range(200):
            if not self.planner.step(now).more:
                jobs.promote(self.database.session, 100, now)
                return
        raise AssertionError("the planner does not come to rest")


def unique(key: str = "a", **more: Any) -> Schedule:
    terms = {name: more.pop(name) for name in ("until", "on_conflict", "replace") if name in more}
    return Schedule(more.pop("name", "s"), "mail", cron="* * * * *", unique=Unique(key, **terms), **more)


def enqueue(database: Database, key: str = "a", **more: Any) -> Entered:
    options = json.dumps({"unique_key": key})
    return jobs.enter(database.session, [NewJob("mail", '{"by": "hand"}', options=options, **more)], now=NOW)[0]


def publish(database: Database, options: dict[str, object], **more: object) -> None:
    nothing = dict.fromkeys(("queue", "priority", "max_attempts", "labels"))
    tasks.publish(
        database.session,
        [{"name": "mail", **nothing, "arg_defaults": {}, "options": options, "code_version": "1", **more}],
    )


@pytest.mark.parametrize("on_conflict", ["skip", "raise"])
def test_a_tick_that_meets_its_key_is_skipped(database: Database, on_conflict: str) -> None:
    minutely = Minutely(database, unique(on_conflict=on_conflict))
    minutely.turn(NOW + 59 * SECOND)
    assert database.rows(JOBS) == []
    minutely.turn(NOW + MINUTE)
    minutely.turn(NOW + 2 * MINUTE)
    assert database.rows(JOBS) == [(NOW + MINUTE, "ready", "a")]
    (job,) = claim(database.session, minutely.worker, now=NOW + 2 * MINUTE)
    finish(database.session, job, "succeeded", "succeeded")
    minutely.turn(NOW + 3 * MINUTE)
    assert database.rows(LEDGER) == [
        (NOW + MINUTE, "inserted", None),
        (NOW + 2 * MINUTE, "skipped", "unique"),
        (NOW + 3 * MINUTE, "inserted", None),
    ]
    assert database.rows("SELECT count(*) FROM pqclock.unique_key") == [(1,)]


def test_a_tick_may_change_the_job_that_waits(database: Database) -> None:
    minutely = Minutely(database, unique("r:{args.n}", on_conflict="replace", args={"n": "1", "tick": "{tick}"}))
    met = enqueue(database, "r:1", run_at=NOW + HOUR)
    minutely.turn(NOW + MINUTE)
    assert database.rows(LEDGER) == [(NOW + MINUTE, "skipped", "unique")]
    row = "SELECT id, state::text, run_at, args ->> 'tick', tick FROM pqclock.job"
    assert database.rows(row) == [(met.id, "ready", NOW + MINUTE, "2026-11-22T12:01:00Z", None)]


def test_overlap_and_unique_hold_together(database: Database) -> None:
    minutely = Minutely(database, unique(overlap="replace"), unique("b", name="t", overlap="skip"))
    minutely.turn(NOW + MINUTE)
    minutely.turn(NOW + 2 * MINUTE)
    # The one that replaces has the key of the one that it replaced; the other is left out as the first reason has it.
    assert database.rows("SELECT tick, unique_key FROM pqclock.job ORDER BY 2") == [
        (NOW + 2 * MINUTE, "a"),
        (NOW + MINUTE, "b"),
    ]
    assert database.rows("SELECT key FROM pqclock.unique_key ORDER BY 1") == [("a",), ("b",)]
    enqueue(database, "c")
    assert database.rows("SELECT reason FROM pqclock.tick WHERE outcome = 'skipped'") == [("overlap",)]


def test_a_tick_that_meets_a_key_of_others_replaces_nothing(database: Database) -> None:
    minutely = Minutely(database, unique("{args.tick}", overlap="replace", args={"tick": "{tick:%M}"}))
    minutely.turn(NOW + MINUTE)
    enqueue(database, "02")
    minutely.turn(NOW + 2 * MINUTE)
    assert database.rows("SELECT unique_key FROM pqclock.job ORDER BY id") == [("01",), ("02",)]
    minutely.turn(NOW + 3 * MINUTE)
    assert database.rows("SELECT unique_key FROM pqclock.job ORDER BY id") == [("02",), ("03",)]


def test_an_open_transaction_that_holds_a_key_delays_no_other_schedule(database: Database) -> None:
    keys = [f"k-{n:02}" for n in range(20)]
    schedules = [unique("{args.k}", name=key, args={"k": key}) for key in keys]
    minutely = Minutely(database, *schedules, *(Schedule(f"free-{key}", "mail", cron="* * * * *") for key in keys))
    other = database.connect()
    try:
        with other.transaction():
            jobs.enter(other, [NewJob("mail", "{}", options='{"unique_key": "k-07"}')], now=NOW)
            minutely.turn(NOW + MINUTE)
            due = "SELECT count(*) FROM pqclock.tick WHERE tick = %s AND outcome = 'inserted'"
            assert database.value(due, NOW + MINUTE) == 39
    finally:
        other.close()
    minutely.turn(NOW + MINUTE + 3 * SECOND)
    assert database.rows(
        "SELECT outcome, reason FROM pqclock.tick WHERE tick = %s AND reason IS NOT NULL", NOW + MINUTE
    ) == [("skipped", "unique")]


def test_missed_ticks_meet_keys_too(database: Database) -> None:
    minutely = Minutely(database, unique(catch_up="all"))
    minutely.turn(NOW + 5 * MINUTE + 30 * SECOND)
    assert database.rows("SELECT outcome, count(*)::int FROM pqclock.tick GROUP BY 1 ORDER BY 1") == [
        ("inserted", 1),
        ("skipped", 4),
    ]


def test_what_a_task_says_of_its_jobs_holds_for_ticks(database: Database) -> None:
    publish(database, {"unique": {"key": "t:{n}"}, "throttle": ["stripe:{n}"], "units": 3}, arg_defaults={"n": 7})
    minutely = Minutely(database, Schedule("s", "mail", cron="* * * * *"))
    minutely.turn(NOW + 59 * SECOND)
    assert database.rows(JOBS) == []
    minutely.turn(NOW + MINUTE)
    minutely.turn(NOW + 2 * MINUTE)
    assert database.rows(JOBS) == [(NOW + MINUTE, "ready", "t:7")]
    assert database.rows("SELECT gates, units FROM pqclock.job") == [(["throttle:stripe:7"], 3)]
    assert database.rows("SELECT queue, gates, units FROM pqclock.arrival") == [("default", ["throttle:stripe:7"], 3)]
    assert database.rows(LEDGER)[1] == (NOW + 2 * MINUTE, "skipped", "unique")


def test_gates_of_a_schedule_are_filled_from_its_arguments(database: Database) -> None:
    schedule = Schedule(
        "s", "mail", cron="* * * * *", args={"account": "{key}"}, throttle=("db", "stripe:{args.account}"), fuse=("db",)
    )
    minutely = Minutely(database, schedule)
    minutely.turn(NOW + MINUTE)
    gates = ["fuse:db", "throttle:db", "throttle:stripe:s"]
    assert database.rows("SELECT DISTINCT gates, units FROM pqclock.job") == [(gates, 1)]
    assert claim(database.session, minutely.worker, now=NOW + MINUTE) == []


def test_a_tick_inserted_before_its_task_was_published_gets_its_gates(database: Database) -> None:
    minutely = Minutely(database, Schedule("s", "mail", cron="* * * * *"))
    minutely.turn(NOW)
    assert database.rows("SELECT lane IS NULL FROM pqclock.job") == [(True,)]
    publish(database, {"throttle": ["db"]}, queue="mice")
    assert database.rows("SELECT queue, gates, units FROM pqclock.job") == [("mice", ["throttle:db"], 1)]
    assert database.value("SELECT lane = pqclock.lane_of(queue, task, gates, units) FROM pqclock.job") is True


def test_a_task_that_becomes_unique_takes_back_what_was_inserted_ahead(database: Database) -> None:
    now = database.value("SELECT clock_timestamp()")
    minutely = Minutely(database, Schedule("s", "mail", every=SECOND))
    while minutely.planner.step(now).more:  # type: ignore[arg-type]
        pass
    ahead = "SELECT count(*) FROM pqclock.job WHERE tick > clock_timestamp() AND unique_key IS NULL"
    assert database.value(ahead) != 0
    publish(database, {"unique": {"key": "t"}})
    assert database.value(ahead) == 0
    assert database.rows("SELECT judged, version FROM pqclock.schedule") == [(True, 2)]
    publish(database, {"unique": {"key": "t"}}, queue="mice")
    assert database.rows("SELECT judged, version FROM pqclock.schedule") == [(True, 2)]


def test_an_argument_that_nobody_gives_breaks_only_its_schedule(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    bad = Schedule("bad", "mail", cron="* * * * *", throttle=("stripe:{args.account}",))
    minutely = Minutely(database, bad, Schedule("good", "mail", cron="* * * * *"))
    minutely.turn(NOW + MINUTE)
    assert database.value(PLANNED) == 1
    assert "task 'mail': throttle 'stripe:{args.account}' needs the argument 'args.account'" in caplog.text


def test_a_trigger_meets_the_key_of_the_last_one(database: Database) -> None:
    runtime.put(database.session, [unique("x:{args.n}", args={"n": 1}, throttle=("db",))], NOW)
    first = runtime.trigger(database.session, "s", now=NOW)
    assert first.inserted
    assert runtime.trigger(database.session, "s", now=NOW) == Entered(first.id, "ready", inserted=False)
    assert runtime.trigger(database.session, "s", {"n": 2}, now=NOW).inserted
    assert database.rows("SELECT unique_key, gates FROM pqclock.job ORDER BY id") == [
        ("x:1", ["throttle:db"]),
        ("x:2", ["throttle:db"]),
    ]
