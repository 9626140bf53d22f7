"""Ticks that are due while a job of their schedule is unfinished, on a real server: judged at their time, not ahead."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from pqclock.clock.applier import apply
from pqclock.clock.planner import Planner
from pqclock.rules.schedule import Schedule
from pqclock.store import jobs, leadership
from pqclock.store.jobs import ClaimedJob
from store.samples import HOUR, MINUTE, NOW, SECOND, a_worker, claim, finish

if TYPE_CHECKING:
    from conftest import Database

JOBS = "SELECT tick, state::text, held FROM pqclock.job ORDER BY id"
LEDGER = "SELECT tick, count::int, outcome, reason FROM pqclock.tick ORDER BY tick"
HISTORY = "SELECT tick, state, error FROM pqclock.job_history ORDER BY id"


class Minutely:
    """A schedule that ticks every minute, a leader's planner, and a worker."""

    def __init__(self, database: Database, overlap: str, **more: object) -> None:
        self.database = database
        schedule = Schedule("a", "mail", cron="* * * * *", overlap=overlap, **more)  # type: ignore[arg-type]
        apply(database.session, "default", "1", [schedule], explicit=True, now=NOW)
        self.planner = Planner(database.session, leadership.elect(database.session, 1, NOW))
        self.worker = a_worker(database.session)

    def turn(self, now: datetime) -> None:
        """What the leader does at an instant."""
        while self.planner.step(now).more:
            pass
        jobs.promote(self.database.session, 100, now)

    def run(self, now: datetime) -> ClaimedJob:
        """Take up the one job that is ready."""
        (job,) = claim(self.database.session, self.worker, now=now)
        return job


def test_what_may_overlap_is_inserted_ahead_and_the_rest_at_its_time(database: Database) -> None:
    schedules = [Schedule(o, "mail", cron="* * * * *", overlap=o) for o in ("allow", "skip", "wait", "replace")]
    apply(database.session, "default", "1", schedules, explicit=True, now=NOW)
    planner = Planner(database.session, leadership.elect(database.session, 1, NOW))
    keys = "SELECT s.key FROM pqclock.job AS j JOIN pqclock.schedule AS s ON s.id = j.schedule_id ORDER BY j.tick, s.id"
    while planner.step(NOW + 30 * SECOND).more:
        pass
    assert database.rows(keys) == [("allow",)]
    planned = planner.step(NOW + 59 * SECOND)
    assert planned.plan_again_at is not None
    assert planned.plan_again_at <= NOW + MINUTE
    while planner.step(NOW + MINUTE).more:
        pass
    due = "SELECT s.key, j.run_at FROM pqclock.job AS j JOIN pqclock.schedule AS s ON s.id = j.schedule_id WHERE j.tick = %s"
    assert sorted(database.rows(due, NOW + MINUTE)) == [(s.key, NOW + MINUTE) for s in sorted(schedules, key=str)]


def test_skip_lets_a_tick_in_when_nothing_is_unfinished(database: Database) -> None:
    minutely = Minutely(database, "skip")
    minutely.turn(NOW + MINUTE)
    job = minutely.run(NOW + MINUTE)
    minutely.turn(NOW + 2 * MINUTE)
    # A job that waits for its next attempt is unfinished too.
    finish(database.session, job, "scheduled", "failed", delay=3600.0)
    minutely.turn(NOW + 3 * MINUTE)
    assert len(database.rows(JOBS)) == 1
    database.session.conn.execute("DELETE FROM pqclock.job")
    minutely.turn(NOW + 4 * MINUTE)
    assert database.rows(LEDGER) == [
        (NOW + MINUTE, 1, "inserted", None),
        (NOW + 2 * MINUTE, 1, "skipped", "overlap"),
        (NOW + 3 * MINUTE, 1, "skipped", "overlap"),
        (NOW + 4 * MINUTE, 1, "inserted", None),
    ]


def test_wait_holds_one_tick_until_the_one_before_has_ended(database: Database) -> None:
    minutely = Minutely(database, "wait")
    minutely.turn(NOW + MINUTE)
    first = minutely.run(NOW + MINUTE)
    for minute in (2, 3, 4):
        minutely.turn(NOW + minute * MINUTE)
    assert database.rows(JOBS) == [(NOW + MINUTE, "running", False), (NOW + 2 * MINUTE, "scheduled", True)]
    assert [outcome for *_, outcome, _ in database.rows(LEDGER)] == ["inserted", "inserted", "skipped", "skipped"]
    assert claim(database.session, minutely.worker, now=NOW + 4 * MINUTE) == []
    listener = database.connect()
    listener.conn.execute("LISTEN pqclock")
    finish(database.session, first, "succeeded", "succeeded")
    assert any(n.payload == "release" for n in listener.conn.notifies(timeout=5, stop_after=1))
    listener.close()
    promotion = jobs.promote(database.session, 100, NOW + 4 * MINUTE + SECOND)
    assert promotion.promoted == 1
    assert minutely.run(NOW + 4 * MINUTE + SECOND).tick == NOW + 2 * MINUTE


def test_replace_cancels_what_is_unfinished_and_a_run_that_goes_on_counts_no_more(database: Database) -> None:
    minutely = Minutely(database, "replace")
    minutely.turn(NOW + MINUTE)
    running = minutely.run(NOW + MINUTE)
    listener = database.connect()
    listener.conn.execute("LISTEN pqclock")
    minutely.turn(NOW + 2 * MINUTE)
    told = f"cancelled {minutely.worker} {running.id}"
    assert any(n.payload == told for n in listener.conn.notifies(timeout=5, stop_after=10))
    listener.close()
    minutely.turn(NOW + 3 * MINUTE)
    assert database.rows(JOBS) == [(NOW + 3 * MINUTE, "ready", False)]
    assert database.rows(HISTORY) == [
        (NOW + MINUTE, "cancelled", "replaced by the job of the tick 2026-11-22T12:02:00Z"),
        (NOW + 2 * MINUTE, "cancelled", "replaced by the job of the tick 2026-11-22T12:03:00Z"),
    ]
    assert not finish(database.session, running, "succeeded", "succeeded")
    assert database.rows("SELECT job_id, outcome FROM pqclock.attempt") == [(running.id, "cancelled")]


@pytest.mark.parametrize(
    ("overlap", "ledger"),
    [
        ("skip", [(1, "inserted", None), (2, "skipped", "overlap")]),
        ("wait", [(1, "inserted", None), (1, "inserted", None), (1, "skipped", "overlap")]),
        ("replace", [(2, "coalesced", "overlap"), (1, "inserted", None)]),
    ],
)
def test_missed_ticks_that_come_together_overlap_one_another(
    database: Database, overlap: str, ledger: list[tuple[int, str, str | None]]
) -> None:
    minutely = Minutely(database, overlap, catch_up="all", end=NOW + 4 * MINUTE)
    minutely.turn(NOW)
    minutely.turn(NOW + HOUR)
    rows = [(count, outcome, reason) for _, count, outcome, reason in database.rows(LEDGER)]
    assert rows == [*ledger, (1, "skipped", "ended")]


def test_jobs_from_before_overlap_was_declared_count_as_unfinished(database: Database) -> None:
    minutely = Minutely(database, "allow", end=NOW + 10 * MINUTE)
    minutely.turn(NOW + MINUTE)
    changed = Schedule("a", "mail", cron="* * * * *", overlap="skip")
    apply(database.session, "default", "2", [changed], explicit=True, now=NOW + MINUTE + SECOND)
    minutely.turn(NOW + 2 * MINUTE)
    assert database.rows(LEDGER) == [(NOW + MINUTE, 1, "inserted", None), (NOW + 2 * MINUTE, 1, "skipped", "overlap")]


def test_a_triggered_job_counts_as_unfinished(database: Database) -> None:
    from pqclock.store import runtime

    minutely = Minutely(database, "skip")
    runtime.trigger(database.session, "a", now=NOW + SECOND)
    minutely.turn(NOW + MINUTE)
    assert database.rows(LEDGER) == [(NOW + MINUTE, 1, "skipped", "overlap")]


def test_a_tick_and_the_end_of_the_job_before_meet_without_loss(database: Database) -> None:
    """Two connections at once, many times: a held job is released in the end, and no two run together."""
    minutely = Minutely(database, "wait")
    other = database.connect()
    begin = threading.Barrier(2)
    try:
        for minute in range(1, 30, 2):
            minutely.turn(NOW + minute * MINUTE)
            job = minutely.run(NOW + minute * MINUTE)

            def end(job: ClaimedJob = job) -> None:
                begin.wait()
                finish(other, job, "succeeded", "succeeded")

            thread = threading.Thread(target=end)
            thread.start()
            begin.wait()
            minutely.turn(NOW + (minute + 1) * MINUTE)
            thread.join()
            jobs.promote(database.session, 10, NOW + (minute + 1) * MINUTE)
            finish(database.session, minutely.run(NOW + (minute + 1) * MINUTE), "succeeded", "succeeded")
    finally:
        other.close()
    assert database.value("SELECT count(*) FROM pqclock.job_history WHERE state = 'succeeded'") == 30


def test_a_missed_tick_does_not_replace_a_later_one(database: Database) -> None:
    minutely = Minutely(database, "replace")
    minutely.turn(NOW)
    minutely.turn(NOW + HOUR)
    assert database.rows("SELECT tick FROM pqclock.job") == [(NOW + HOUR,)]
    assert database.rows(HISTORY) == []


@pytest.mark.parametrize("overlap", ["skip", "wait", "replace"])
def test_no_grace_still_leaves_the_time_to_decide(database: Database, overlap: str) -> None:
    minutely = Minutely(database, overlap, grace=0 * SECOND, catch_up="none")
    for minute in range(1, 4):
        minutely.turn(NOW + minute * MINUTE + SECOND / 100)
        database.session.conn.execute("DELETE FROM pqclock.job")
    assert database.rows(LEDGER) == [(NOW + minute * MINUTE, 1, "inserted", None) for minute in range(1, 4)]


def test_a_job_that_somebody_holds_lets_only_its_own_schedule_wait(database: Database) -> None:
    schedules = [Schedule(key, "mail", cron="* * * * *", overlap="replace") for key in ("held", "other")]
    apply(database.session, "default", "1", schedules, explicit=True, now=NOW)
    planner = Planner(database.session, leadership.elect(database.session, 1, NOW))
    leadership.wait_briefly(database.session)
    while planner.step(NOW + MINUTE).more:
        pass
    key_of = "SELECT s.key, j.tick FROM pqclock.job AS j JOIN pqclock.schedule AS s ON s.id = j.schedule_id ORDER BY 1"
    other = database.connect()
    try:
        with other.transaction():
            other.conn.execute(
                "SELECT 1 FROM pqclock.job AS j JOIN pqclock.schedule AS s ON s.id = j.schedule_id "
                "WHERE s.key = 'held' FOR UPDATE OF j"
            )
            planner.step(NOW + 2 * MINUTE)
            assert database.rows(key_of) == [("held", NOW + MINUTE), ("other", NOW + 2 * MINUTE)]
    finally:
        other.close()
    while planner.step(NOW + 2 * MINUTE + SECOND).more:
        pass
    assert database.rows(key_of) == [("held", NOW + 2 * MINUTE), ("other", NOW + 2 * MINUTE)]


def test_what_is_due_now_goes_before_what_is_planned_ahead(database: Database) -> None:
    schedules = [Schedule(f"k-{n:04}", "mail", cron="* * * * *") for n in range(2_000)]
    judged = Schedule("judged", "mail", cron="31 * * * * *", overlap="skip")
    apply(database.session, "default", "1", [*schedules, judged], explicit=True, now=NOW)
    planner = Planner(database.session, leadership.elect(database.session, 1, NOW))
    while planner.step(NOW + 35 * SECOND).more:
        pass
    planner.step(NOW + 91 * SECOND)
    due = "SELECT count(*) FROM pqclock.ticks WHERE schedule_key = 'judged' AND tick = %s"
    assert database.value(due, NOW + 91 * SECOND) == 1
