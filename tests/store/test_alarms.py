"""Promises: which runs should have begun, which queues wait too long, and who is told."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pqclock.clock.applier import apply
from pqclock.clock.planner import Planner
from pqclock.rules.promises import promise_of
from pqclock.rules.schedule import Schedule
from pqclock.store import alarms, jobs, leadership, pauses, processes, runtime
from pqclock.store.alarms import Change
from pqclock.store.database import Session, connect
from store.samples import DAY, HOUR, MINUTE, NOW, SECOND, a_worker, claim, enqueue, finish, new

if TYPE_CHECKING:
    from conftest import Database

LATER = timedelta(minutes=10)


class Watched:
    """A schedule that ticks at every full hour and promises a run within ten minutes, and a clock's planner."""

    def __init__(self, database: Database, **more: Any) -> None:
        self.database, self.session = database, database.session
        self.worker_id = a_worker(database.session)
        fields = {"every": HOUR, "task": "mail", "alert_after": LATER, "catch_up": "none", **more}
        self.schedule = Schedule(key="hourly", **fields)
        runtime.put(self.session, [self.schedule], NOW + MINUTE)
        process_id = processes.register(self.session, "clock", pid=1, host="box", code_version="1", now=NOW)
        self._planner = Planner(self.session, leadership.elect(self.session, process_id, NOW))

    def plan(self, at: datetime) -> None:
        """Insert what is due by then, and make it ready."""
        while self._planner.step(at).more:
            pass
        jobs.promote(self.session, 100, at)

    def run(self, at: datetime) -> int:
        """Begin what is ready, and end it."""
        claimed = claim(self.session, self.worker_id, now=at)
        for job in claimed:
            assert finish(self.session, job, "succeeded", "succeeded", started_at=at, finished_at=at)
        return len(claimed)

    def judge(self, at: datetime) -> list[Change]:
        if not alarms.look(self.session, at).due:
            return []
        return alarms.judge(self.session, at)[0] + alarms.judge_queues(self.session, at)

    def kinds(self, at: datetime) -> list[tuple[str, str, bool]]:
        return [(change.kind, change.subject, change.message is not None) for change in self.judge(at)]

    @property
    def open(self) -> list[tuple[str, str]]:
        return [(row.kind, row.subject) for row in alarms.open_alarms(self.session)]


@pytest.fixture
def watched(database: Database) -> Watched:
    return Watched(database)


BEGUN, ENDED = [("missed", "hourly", True)], [("missed", "hourly", False)]
FIRST = NOW + HOUR


def test_a_run_that_has_not_begun_in_time_raises_the_alarm_once(watched: Watched) -> None:
    assert watched.judge(NOW + 2 * MINUTE) == []
    watched.plan(FIRST)
    assert watched.judge(FIRST + LATER - SECOND) == []
    (change,) = watched.judge(FIRST + LATER + SECOND)
    job_id = watched.database.value("SELECT id FROM pqclock.job")
    assert change.message == (
        f"schedule hourly: no run of the tick 2026-11-22T13:00:00Z has begun within 10m: see `pqclock explain {job_id}`"
    )
    assert watched.judge(FIRST + LATER + MINUTE) == [] and watched.open == [("missed", "hourly")]
    assert watched.run(FIRST + 20 * MINUTE) == 1
    assert watched.kinds(FIRST + 21 * MINUTE) == ENDED and watched.open == []
    # The next tick is promised anew.
    watched.plan(FIRST + HOUR)
    assert watched.judge(FIRST + HOUR + LATER - SECOND) == []
    assert watched.kinds(FIRST + HOUR + LATER + SECOND) == BEGUN


def test_runs_in_time_raise_nothing_for_a_day(watched: Watched) -> None:
    at = FIRST
    while at < NOW + DAY:
        watched.plan(at)
        assert watched.judge(at + MINUTE) == []
        assert watched.run(at + 9 * MINUTE) == 1
        assert watched.judge(at + LATER + 2 * SECOND) == []
        at += HOUR
    assert watched.database.value("SELECT count(*) FROM pqclock.alarm") == 0


def test_one_that_runs_for_long_has_begun(watched: Watched) -> None:
    watched.plan(FIRST)
    assert len(claim(watched.session, watched.worker_id, now=FIRST)) == 1
    assert watched.judge(FIRST + 30 * MINUTE) == []


def test_one_that_failed_has_begun_and_so_has_one_that_is_tried_again(watched: Watched) -> None:
    watched.plan(FIRST)
    (job,) = claim(watched.session, watched.worker_id, now=FIRST)
    assert finish(watched.session, job, "scheduled", "failed", delay=3600.0, started_at=FIRST, finished_at=FIRST)
    assert watched.judge(FIRST + 30 * MINUTE) == []


def test_a_clock_that_does_not_plan_is_noticed(watched: Watched) -> None:
    watched.plan(NOW + MINUTE)
    (change,) = watched.judge(FIRST + LATER + SECOND)
    assert change.message is not None and "has not planned it: see `pqclock status`" in change.message
    # Back again, it does not catch up: the run of the next tick ends the alarm.
    watched.plan(FIRST + 30 * MINUTE)
    assert watched.judge(FIRST + 31 * MINUTE) == []
    watched.plan(FIRST + HOUR)
    assert watched.judge(FIRST + HOUR + SECOND) == []
    assert watched.run(FIRST + HOUR + SECOND) == 1
    assert watched.kinds(FIRST + HOUR + MINUTE) == ENDED


def test_an_expired_job_never_began(database: Database) -> None:
    watched = Watched(database, expires_in=MINUTE)
    watched.plan(FIRST)
    assert len(jobs.expire(watched.session, 10, now=FIRST + 2 * MINUTE)) == 1
    assert watched.kinds(FIRST + LATER + SECOND) == BEGUN


def test_what_a_person_cancelled_was_wished(watched: Watched) -> None:
    watched.plan(FIRST)
    assert jobs.cancel_tasks(watched.session, ["mail"], "not today") == 1
    assert watched.judge(FIRST + 30 * MINUTE) == []


def test_a_pause_ends_the_alarm_and_promises_nothing(watched: Watched) -> None:
    watched.plan(FIRST)
    assert watched.kinds(FIRST + LATER + SECOND) == BEGUN
    runtime.pause(watched.session, "hourly", note="known", now=FIRST + 12 * MINUTE)
    assert watched.kinds(FIRST + 13 * MINUTE) == ENDED
    for hour in range(1, 5):
        watched.plan(FIRST + hour * HOUR)
        assert watched.judge(FIRST + hour * HOUR + 30 * MINUTE) == []
    # Of before, it is still owed.
    runtime.resume(watched.session, "hourly", now=FIRST + 5 * HOUR + MINUTE)
    assert watched.kinds(FIRST + 5 * HOUR + 3 * MINUTE) == BEGUN


@pytest.mark.parametrize("change", ["remove", "disable", "promise nothing"])
def test_whoever_takes_the_promise_back_ends_the_alarm(change: str, watched: Watched) -> None:
    watched.plan(FIRST)
    assert watched.kinds(FIRST + LATER + SECOND) == BEGUN
    later = FIRST + 12 * MINUTE
    if change == "remove":
        runtime.remove(watched.session, "hourly", now=later)
    elif change == "disable":
        runtime.put(watched.session, [Schedule("hourly", "mail", every=HOUR, alert_after=LATER, enabled=False)], later)
    else:
        runtime.put(watched.session, [Schedule("hourly", "mail", every=HOUR)], later)
    assert watched.open == [] and watched.judge(later + HOUR) == []
    assert watched.database.value("SELECT count(*) FROM pqclock.promise") == 0


def test_what_was_declared_before_promises_from_then_on(database: Database) -> None:
    session = database.session
    runtime.put(session, [Schedule("hourly", "mail", every=HOUR, catch_up="none")], NOW)
    runtime.put(session, [Schedule("hourly", "mail", every=HOUR, catch_up="none", alert_after=LATER)], NOW + DAY)
    assert alarms.judge(session, NOW + DAY + MINUTE) == ([], False)


def test_spread_and_jitter_put_the_promise_off(database: Database) -> None:
    watched = Watched(database, spread=timedelta(minutes=5), jitter=timedelta(seconds=90))
    assert database.value("SELECT within FROM pqclock.promise") == timedelta(minutes=16, seconds=30)
    watched.plan(FIRST + 7 * MINUTE)
    assert watched.judge(FIRST + 16 * MINUTE) == []
    assert watched.kinds(FIRST + 17 * MINUTE) == BEGUN


@pytest.mark.parametrize("every", [SECOND, timedelta(days=400)])
def test_every_period_is_looked_at(every: timedelta, database: Database) -> None:
    watched = Watched(database, every=every, alert_after=timedelta(seconds=30))
    watched.plan(NOW + 2 * MINUTE)
    found = watched.kinds(NOW + 3 * MINUTE)
    assert found == (BEGUN if every == SECOND else [])
    assert watched.database.value("SELECT look_at IS NOT NULL FROM pqclock.promise")


def test_an_end_is_the_end_of_the_promise(database: Database) -> None:
    watched = Watched(database, every=None, at=FIRST)
    watched.plan(FIRST)
    assert watched.run(FIRST) == 1
    assert watched.judge(FIRST + HOUR) == []
    assert watched.database.value("SELECT look_at FROM pqclock.promise") is None


def test_many_that_look_at_once_begin_one_alarm(watched: Watched) -> None:
    watched.plan(FIRST)
    found: list[Change] = []
    ready = threading.Barrier(6)

    def judge(session: Session) -> None:
        ready.wait()
        for second in range(5):
            found.extend(alarms.judge(session, FIRST + LATER + (second + 1) * SECOND)[0])

    sessions = [connect(watched.database.url, "pqclock", "test") for _ in range(6)]
    threads = [threading.Thread(target=judge, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for session in sessions:
        session.close()
    assert [(change.kind, change.subject) for change in found] == [("missed", "hourly")]
    assert watched.database.value("SELECT count(*) FROM pqclock.alarm") == 1


# Queues.


def slo(session: Session, at: datetime) -> list[tuple[str, bool]]:
    return [(c.subject, c.message is not None) for c in alarms.judge_queues(session, at)]


def test_a_queue_keeps_what_its_name_says(database: Database) -> None:
    session = database.session
    enqueue(session, new(queue="latency_15m"), new(queue="eu_latency_1h"), new(queue="latency_soon"), new(queue="mice"))
    assert slo(session, NOW + timedelta(minutes=15)) == []
    (change,) = alarms.judge_queues(session, NOW + timedelta(minutes=15, seconds=1))
    assert change.subject == "latency_15m" and change.message is not None
    assert change.message.startswith(
        "queue latency_15m: jobs wait longer than the 15m that were promised (job 1 did for 15m1s "
    )
    assert slo(session, NOW + 61 * MINUTE) == [("eu_latency_1h", True)]
    claim(session, a_worker(session), now=NOW)
    assert slo(session, NOW + 62 * MINUTE) == [("eu_latency_1h", False), ("latency_15m", False)]


def declare(session: Session, slos: dict[str, str], set_name: str = "default") -> None:
    apply(session, set_name, str(sorted(slos.items())), (), (), slos, explicit=True, now=NOW)


def test_files_say_it_before_the_name_and_the_strictest_set_wins(database: Database) -> None:
    session = database.session
    declare(session, {"latency_15m": "1h", "mice": "5m"})
    declare(session, {"mice": "90s"}, "other")
    assert alarms.slos(session) == {"latency_15m": HOUR, "mice": timedelta(seconds=90)}
    enqueue(session, new(queue="latency_15m"), new(queue="mice"))
    assert slo(session, NOW + 2 * MINUTE) == [("mice", True)]
    declare(session, {}, "other")
    declare(session, {"mice": "1d"})
    assert slo(session, NOW + 2 * MINUTE) == [("mice", False)]
    assert alarms.slos_of_set(session, "default") == {"mice": "1d"}


def test_the_oldest_counts_whatever_its_priority_and_gates(database: Database) -> None:
    session = database.session
    declare(session, {"mice": "10m", "elephants": "10m"})
    enqueue(session, new(queue="mice", priority=5), new(queue="elephants", options='{"throttle": ["x"]}'))
    enqueue(session, *[new(queue="mice") for _ in range(50)], now=NOW + 8 * MINUTE)
    changes = alarms.judge_queues(session, NOW + 11 * MINUTE)
    assert [(c.subject, "job 1 " in (c.message or "") or "job 2 " in (c.message or "")) for c in changes] == [
        ("elephants", True), ("mice", True),
    ]  # fmt: skip


def test_a_paused_queue_promises_nothing_and_neither_do_jobs_to_come(database: Database) -> None:
    session = database.session
    enqueue(session, new(queue="latency_1m"), new(queue="latency_2m", run_at=NOW + DAY))
    pauses.pause(session, "queue", "latency_1m")
    assert slo(session, NOW + HOUR) == []
    pauses.resume(session, "queue", "latency_1m")
    assert slo(session, NOW + HOUR) == [("latency_1m", True)]


@pytest.mark.parametrize(
    ("queue", "length"),
    [
        ("latency_15m", 900),
        ("eu_latency_1h30m", 5400),
        ("latency_", None),
        ("latency", None),
        ("latency_x", None),
        ("a", 7),
    ],
)
def test_promises_of_names(queue: str, length: int | None) -> None:
    found = promise_of(queue, {"a": timedelta(seconds=7)})
    assert found == (None if length is None else timedelta(seconds=length))


# Who is told.


def told(session: Session) -> Sequence[tuple[str, bool]]:
    return [(news.subject, news.ended_at is not None) for news in alarms.claim_untold(session)]


def test_news_are_told_once_the_beginning_before_the_end(database: Database) -> None:
    session, other = database.session, connect(database.url, "pqclock", "test")
    assert alarms.begin(session, "slo", "mice", "slow") and not alarms.begin(session, "slo", "mice", "slower")
    assert alarms.end(session, "slo", "mice") and not alarms.end(session, "slo", "mice")
    assert alarms.begin(session, "slo", "mice", "slow again")
    first, second = alarms.claim_untold(session)
    assert (first.message, first.ended_at, second.message) == ("slow", None, "slow again")
    assert told(other) == []
    alarms.told(session, first)
    (over,) = alarms.claim_untold(other)
    assert over.id == first.id and over.ended_at is not None
    alarms.told(other, over)
    alarms.told(session, second)
    assert told(session) == []
    other.close()


def test_whoever_took_news_and_vanished_is_replaced_and_old_news_are_none(database: Database) -> None:
    session = database.session
    alarms.begin(session, "missed", "a", "x")
    assert told(session) == [("a", False)] and told(session) == []
    database.session.conn.execute("UPDATE pqclock.alarm SET telling_at = telling_at - interval '61 seconds'")
    assert told(session) == [("a", False)]
    database.session.conn.execute(
        "UPDATE pqclock.alarm SET raised_at = raised_at - interval '61 minutes', telling_at = NULL"
    )
    assert told(session) == []


def test_the_rest_of_many_is_told_in_one_sentence_and_its_ends_to_nobody(database: Database) -> None:
    session, other = database.session, connect(database.url, "pqclock", "test")
    for n in range(30):
        alarms.begin(session, "missed", f"s{n}", f"no run of {n}")
    alarms.end(session, "missed", "s3")
    first, second = alarms.claim_untold(session, 2)
    alarms.told(session, first)
    rest = alarms.claim_rest(other)
    assert rest is not None and len(rest.rest) == 28 and second.id not in rest.rest
    assert rest.message == "and 28 more alarms, the first of them: no run of 2; see `pqclock status`"
    assert alarms.claim_rest(session) is None and told(session) == []
    # Nobody heard of it.
    session.conn.execute("UPDATE pqclock.alarm SET telling_at = telling_at - interval '61 seconds'")
    rest = alarms.claim_rest(session)
    assert rest is not None and len(rest.rest) == 29 and rest.tries == 2
    alarms.told(session, rest)
    session.conn.execute("UPDATE pqclock.alarm SET telling_at = telling_at - interval '61 seconds'")
    assert alarms.claim_rest(other) is None and told(other) == []
    alarms.end(session, "missed", "s20")
    alarms.end(session, "missed", "s0")
    assert told(session) == [("s0", True)]
    other.close()


def test_old_news_are_none_in_one_sentence_either(database: Database) -> None:
    session = database.session
    for subject in ("a", "b"):
        alarms.begin(session, "missed", subject, "x")
    session.conn.execute("UPDATE pqclock.alarm SET raised_at = raised_at - interval '61 minutes' WHERE subject = 'a'")
    rest = alarms.claim_rest(session)
    assert rest is not None and rest.message.startswith("and 1 more alarm, ")


def test_an_alarm_goes_with_the_new_key_of_its_schedule(watched: Watched) -> None:
    watched.plan(FIRST)
    assert watched.kinds(FIRST + LATER + SECOND) == BEGUN
    fields = {"every": HOUR, "alert_after": LATER, "catch_up": "none"}
    renamed = Schedule("hourly-mail", "mail", was=("hourly",), **fields)  # type: ignore[arg-type]
    runtime.put(watched.session, [renamed], FIRST + 12 * MINUTE)
    assert watched.open == [("missed", "hourly-mail")]
    assert watched.judge(FIRST + 13 * MINUTE) == []
    watched.run(FIRST + 14 * MINUTE)
    assert watched.kinds(FIRST + 15 * MINUTE) == [("missed", "hourly-mail", False)] and watched.open == []


def test_what_is_over_is_forgotten_in_slices(database: Database) -> None:
    session = database.session
    for subject in "abc":
        alarms.begin(session, "missed", subject, "x", NOW)
    for subject in "ab":
        alarms.end(session, "missed", subject, NOW + HOUR)
    assert alarms.forget(session, 1, before=NOW + DAY) == 1
    assert alarms.forget(session, 5, before=NOW + DAY) == 1
    assert [row.subject for row in alarms.open_alarms(session)] == ["c"]
