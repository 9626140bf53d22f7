"""Retry, run, cancel, discard: each job at most once, whoever else is at it, and never without its key and its gates."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest

from pqclock.errors import ArgumentError, UnknownJob, UnknownSchedule
from pqclock.store import job_orders, jobs, partitions, processes
from pqclock.store.database import Session
from pqclock.store.job_orders import Changes, Filter
from pqclock.store.job_verbs import VERBS, Changed, How, asked, change
from pqclock.store.listening import listen
from store.samples import DAY, HOUR, MINUTE, NOW, SECOND, a_worker, claim, enqueue, finish, new

if TYPE_CHECKING:
    from conftest import Database

STATES = "SELECT id, state FROM pqclock.jobs ORDER BY id"
LIVE = "SELECT state::text, attempt, crashes, max_attempts, run_at, error FROM pqclock.job WHERE id = %s"


def do(session: Session, verb: str, *ids: int, now: Any = NOW + HOUR, **how: Any) -> list[tuple[int, bool, str]]:
    rows = change(session, VERBS[verb], ids, How(**how), now)
    return [(row.id, row.done, row.outcome) for row in rows]


def order(session: Session, verb: str, how: How | None = None, **fields: Any) -> Changes:
    wanted = Filter(**fields)
    seen = job_orders.preview(session, verb, (), wanted, how)
    return job_orders.carry_out(session, seen, (), wanted, how or How())


def fail(session: Session, *new_jobs: jobs.NewJob) -> list[int]:
    """Jobs that failed for good."""
    ids = enqueue(session, *new_jobs)
    for job in claim(session, tasks=sorted({job.task for job in new_jobs}), limit=1000):
        assert finish(session, job, "failed", "failed", error=f"E{job.id}: Timeout")
    return ids


def heard(ears: Session, number: int = 1) -> list[str]:
    """So many notifications, in the order of their words."""
    return sorted(note.payload for note in ears.conn.notifies(timeout=5, stop_after=number))


def options(**said: Any) -> str:
    return json.dumps(said)


@pytest.mark.parametrize("state", ["failed", "cancelled", "discarded"])
def test_what_has_ended_lives_again_under_its_id(database: Database, state: str) -> None:
    s = database.session
    if state == "failed":
        (job_id,) = fail(s, new(args='{"a": 1}', queue="mice", priority=3, labels='["x"]', max_attempts=1))
    else:
        (job_id,) = enqueue(s, new(args='{"a": 1}', queue="mice", priority=3, labels='["x"]'))
        do(s, "cancel" if state == "cancelled" else "discard", job_id, reason="why")
    with closing(database.connect()) as ears:
        listen(ears)
        assert do(s, "retry", job_id) == [(job_id, True, "ready")]
        assert heard(ears) == ["ready mice"]
    assert database.rows("SELECT state, args, queue, priority, labels FROM pqclock.jobs") == [
        ("ready", {"a": 1}, "mice", 3, ["x"])
    ]
    error = f"E{job_id}: Timeout" if state == "failed" else "why"
    assert database.rows(LIVE, job_id) == [("ready", 0, 0, 1, NOW + HOUR, error)]
    assert database.value("SELECT count(*) FROM pqclock.attempt") == (1 if state == "failed" else 0)
    (again,) = claim(s)
    assert (again.id, again.attempt) == (job_id, 1)
    assert finish(s, again, "succeeded", "succeeded")
    assert database.rows(STATES) == [(job_id, "succeeded")]


def test_what_has_succeeded_runs_again_only_when_that_is_asked_for(database: Database) -> None:
    s = database.session
    (job_id,) = enqueue(s, new())
    (job,) = claim(s)
    finish(s, job, "succeeded", "succeeded")
    assert do(s, "retry", job_id) == [(job_id, False, "succeeded")]
    assert do(s, "retry", job_id, succeeded=True) == [(job_id, True, "ready")]


def test_a_scheduled_job_is_due_now_and_others_are_not_touched(database: Database) -> None:
    s = database.session
    later, ready = enqueue(s, new(run_at=NOW + DAY), new())
    with closing(database.connect()) as ears:
        listen(ears)
        assert do(s, "run", later, ready) == [(later, True, "due"), (ready, False, "state")]
        assert heard(ears) == ["clock"]
    assert jobs.promote(s, 10, NOW + HOUR).promoted == 1
    assert do(s, "run", later) == [(later, False, "state")]
    again, _ = enqueue(s, new(run_at=NOW + DAY), new())
    assert do(s, "retry", again) == [(again, True, "due")]


def test_a_waiting_job_ends_at_once_with_its_key_and_its_reason(database: Database) -> None:
    s = database.session
    keyed = new(options=options(unique_key="k"))
    first, scheduled = enqueue(s, keyed, new(run_at=NOW + DAY))
    assert do(s, "cancel", first, scheduled, reason="cancelled by ann: why") == [
        (first, True, "ended"), (scheduled, True, "ended"),
    ]  # fmt: skip
    assert (
        database.rows("SELECT state, error, finished_at FROM pqclock.job_history")
        == [("cancelled", "cancelled by ann: why", NOW + HOUR)] * 2
    )
    (second,) = enqueue(s, keyed)
    assert second != first
    assert do(s, "discard", second, first) == [(first, False, "state"), (second, True, "ended")]


def test_a_key_is_taken_again_or_the_job_stays(database: Database) -> None:
    s = database.session
    keyed = new(options=options(unique_key="k"))
    (first,) = fail(s, keyed)
    (second,) = enqueue(s, keyed)
    (row,) = change(s, VERBS["retry"], [first], How(), NOW + HOUR)
    assert row == Changed(first, False, "unique", "failed", second)
    do(s, "cancel", second)
    # Of two with the same key, the first one gets it.
    assert do(s, "retry", first, second) == [(first, True, "ready"), (second, False, "unique")]
    assert database.rows("SELECT job_id FROM pqclock.unique_key") == [(first,)]
    assert enqueue(s, keyed) == [first]


@pytest.mark.parametrize(("until", "started", "taken"), [("started", True, 0), ("started", False, 1), ("1h", True, 1)])
def test_a_key_that_was_given_up_for_good_is_not_taken_again(
    database: Database, until: str, started: bool, taken: int
) -> None:
    s = database.session
    keyed = new(options=options(unique_key="k", terms={"until": until}))
    (job_id,) = fail(s, keyed) if started else enqueue(s, keyed)
    if not started:
        do(s, "cancel", job_id)
    assert do(s, "retry", job_id) == [(job_id, True, "ready")]
    assert database.value("SELECT count(*) FROM pqclock.unique_key") == taken


def test_the_gates_are_those_it_had_and_those_of_pauses_of_today(database: Database) -> None:
    s = database.session
    (job_id,) = enqueue(s, new(options=options(throttle=["stripe:a"], units=3)))
    lane = database.value("SELECT lane FROM pqclock.job")
    do(s, "cancel", job_id)
    s.conn.execute("DELETE FROM pqclock.arrival")
    do(s, "retry", job_id)
    assert database.rows("SELECT lane, gates, units FROM pqclock.job") == [(lane, ["throttle:stripe:a"], 3)]
    assert database.rows("SELECT lane, gates, units FROM pqclock.arrival") == [(lane, ["throttle:stripe:a"], 3)]
    do(s, "cancel", job_id)
    s.conn.execute("INSERT INTO pqclock.pause (kind, name, paused_at) VALUES ('task', 'mail', now())")
    do(s, "retry", job_id)
    assert database.value("SELECT gates FROM pqclock.job") == ["pause:task:mail", "throttle:stripe:a"]


def test_jobs_of_a_schedule_that_must_not_overlap_come_one_after_the_other(database: Database) -> None:
    s = database.session
    s.conn.execute(
        "INSERT INTO pqclock.schedule (key, source, state, definition, planned_to, watermark, created_at, updated_at) "
        """VALUES ('k', 'api', 'active', '{"overlap": "skip"}', now(), now(), now(), now())"""
    )
    ids = fail(s, new(), new(), new())
    s.conn.execute("UPDATE pqclock.job_history SET schedule_id = 1")
    assert do(s, "retry", *ids[:2]) == [(ids[0], True, "ready"), (ids[1], True, "held")]
    assert do(s, "retry", ids[2]) == [(ids[2], True, "held")]
    assert do(s, "run", ids[2]) == [(ids[2], True, "held")]
    order_of_runs = []
    for _ in range(3):
        assert jobs.promote(s, 10, NOW + HOUR).promoted <= 1
        (job,) = claim(s)
        order_of_runs.append(job.id)
        assert jobs.promote(s, 10, NOW + HOUR).promoted == 0
        finish(s, job, "succeeded", "succeeded")
    assert order_of_runs == ids


def test_a_running_job_is_asked_and_is_not_tried_again(database: Database) -> None:
    s = database.session
    worker = a_worker(s)
    ids = enqueue(s, *[new(max_attempts=5, options=options(unique_key=f"k{n}")) for n in range(4)])
    running = claim(s, worker)
    with closing(database.connect()) as ears:
        listen(ears)
        assert do(s, "cancel", *ids, reason="not now") == [(job_id, True, "asked") for job_id in ids]
        assert heard(ears, len(ids)) == [f"cancelled {worker} {job_id}" for job_id in ids]
    assert asked(s, worker) == ids
    assert finish(s, running[0], "succeeded", "succeeded", result='"r"')
    assert finish(s, running[1], "scheduled", "failed", delay=10.0, error="E")
    assert finish(s, running[2], "scheduled", "snoozed", delay=10.0, charged=False)
    assert finish(s, running[3], "ready", None, charged=False)
    assert database.value("SELECT count(*) FROM pqclock.job") == 0
    assert database.value("SELECT count(*) FROM pqclock.unique_key") == 0
    rows = database.rows("SELECT state, error, attempt, result FROM pqclock.job_history ORDER BY id")
    assert [row[:2] for row in rows] == [("succeeded", None), *[("cancelled", "not now")] * 3]
    assert (rows[0][3], rows[3][2]) == ("r", 0)
    found = database.rows("SELECT job_id, outcome FROM pqclock.attempt ORDER BY job_id")
    assert found == list(zip(ids[:3], ("succeeded", "failed", "snoozed"), strict=True))
    assert do(s, "retry", ids[1]) == [(ids[1], True, "ready")]
    (again,) = claim(s, limit=1)
    assert finish(s, again, "scheduled", "failed", delay=10.0)
    assert database.rows("SELECT id, state::text FROM pqclock.job") == [(ids[1], "scheduled")]


@pytest.mark.parametrize("way", ["rescue", "give_back"])
def test_a_job_that_was_asked_does_not_come_back_from_a_dead_worker(database: Database, way: str) -> None:
    s = database.session
    (job_id,) = enqueue(s, new(max_attempts=5))
    claim(s, worker_id=4)
    do(s, "cancel", job_id, reason="not now")
    if way == "rescue":
        assert jobs.rescue(s, 10, now=NOW) == [(job_id, "cancelled")]
    else:
        assert jobs.give_back(s, 4, []) == [job_id]
    assert database.rows("SELECT id, state, error FROM pqclock.jobs") == [(job_id, "cancelled", "not now")]


def test_force_ends_a_run_in_the_database_at_once(database: Database) -> None:
    s = database.session
    worker = a_worker(s)
    (job_id,) = enqueue(s, new(options=options(unique_key="k")))
    (job,) = claim(s, worker)
    with closing(database.connect()) as ears:
        listen(ears)
        assert do(s, "cancel", job_id, force=True, reason="now") == [(job_id, True, "ended")]
        assert heard(ears) == [f"cancelled {worker} {job_id}"]
    assert not finish(s, job, "succeeded", "succeeded")
    assert database.rows("SELECT state, error FROM pqclock.jobs") == [("cancelled", "now")]
    assert database.rows("SELECT outcome, error FROM pqclock.attempt") == [("cancelled", "now")]
    assert database.value("SELECT count(*) FROM pqclock.unique_key") == 0


def test_a_filter_means_its_jobs_and_no_others(database: Database) -> None:
    s = database.session
    a, b, c = fail(s, new(labels='["x"]'), new("other"), new(queue="mice"))
    assert job_orders.preview(s, "retry", (), Filter(task="mail")) == Changes("retry", 2, 0, {"failed": 2})
    for fields, meant in (
        ({"label": "x"}, [a]), ({"queue": "mice"}, [c]), ({"error": f"e{b}: TIMEOUT"}, [b]),
        ({"since": NOW + MINUTE}, [a, b, c]), ({"since": NOW + 2 * MINUTE}, []), ({"until": NOW + MINUTE}, []),
        ({"until": NOW + MINUTE + SECOND, "task": "other"}, [b]), ({"states": ("cancelled",)}, []),
    ):  # fmt: skip
        found = order(s, "retry", **fields)
        assert (found.matched, found.done, found.left) == (len(meant), len(meant), {})
        assert [row[0] for row in database.rows("SELECT id FROM pqclock.job ORDER BY id")] == meant
        assert order(s, "cancel", task="mail").done + order(s, "cancel", task="other").done == len(meant)
        assert order(s, "retry", states=("cancelled",), since=NOW).done == len(meant)
        for job in claim(s, tasks=["mail", "other"]):
            finish(s, job, "failed", "failed", error=f"E{job.id}: Timeout")


def test_what_a_filter_cannot_mean_is_refused_with_nothing_done(database: Database) -> None:
    s = database.session
    (job_id,) = fail(s, new())
    refusals: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (ArgumentError, "jobs discard: state 'running' is not taken: use scheduled or ready",
         lambda: order(s, "discard", states=("running",))),
        (ArgumentError, "has no time zone", lambda: order(s, "retry", since=NOW.replace(tzinfo=None))),
        (ArgumentError, "is no text that the database could hold", lambda: order(s, "retry", task="a\x00")),
        (UnknownSchedule, "the database has no schedule .nightly.", lambda: order(s, "retry", schedule="nightly")),
        (UnknownJob, "has no job 4711: there was none, or its history is past its time",
         lambda: job_orders.preview(s, "retry", (job_id, 4711), Filter())),
    ]  # fmt: skip
    for kind, words, call in refusals:
        with pytest.raises(kind, match=words):
            call()
    assert database.rows(STATES) == [(job_id, "failed")]


def test_many_are_done_in_slices_each_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    s = database.session
    monkeypatch.setattr(job_orders, "SLICE", 7)
    ids = fail(s, *[new() for _ in range(30)])
    seen = job_orders.preview(s, "retry", (), Filter(task="mail"))
    told: list[tuple[int, int]] = []
    found = job_orders.carry_out(s, seen, (), Filter(task="mail"), How(), lambda *at: told.append(at))
    assert (found.done, found.left, found.jobs) == (30, {}, ())
    assert told == [(7, 7), (14, 14), (21, 21), (28, 28), (30, 30)]
    assert [job.id for job in claim(s)] == ids


def test_two_that_retry_the_same_jobs_do_each_once(database: Database) -> None:
    ids = fail(database.session, *[new(options=options(unique_key=f"k{n}")) for n in range(300)])
    start = Barrier(4)

    def retry(n: int) -> list[int]:
        with closing(database.connect()) as own:
            start.wait()
            part = ids if n % 2 else ids[::-1]
            return [
                row.id
                for at in range(0, 300, 60)
                for row in change(own, VERBS["retry"], part[at : at + 60], How())
                if row.done
            ]

    with ThreadPoolExecutor(4) as threads:
        done = [job_id for part in threads.map(retry, range(4)) for job_id in part]
    assert sorted(done) == ids
    assert database.value("SELECT count(*) FROM pqclock.job") == 300
    assert database.value("SELECT count(*) FROM pqclock.unique_key") == 300
    assert database.value("SELECT count(*) FROM pqclock.job_history") == 0


def test_cancels_and_retries_against_workers_and_rescue_lose_and_double_nothing(database: Database) -> None:
    """All at once, on connections of their own: in the end each job is in exactly one place."""
    ids = enqueue(database.session, *[new(max_attempts=3) for _ in range(120)], now=NOW)
    end = time.monotonic() + 4
    accepted: list[int] = []

    def work(lease: int) -> None:
        with closing(database.connect()) as own:
            while time.monotonic() < end:
                worker = a_worker(own)
                claimed = claim(own, worker, limit=10, lease=lease)
                for n, job in enumerate(claimed):
                    if n % 3 and finish(own, job, ("succeeded", "failed")[n % 2], ("succeeded", "failed")[n % 2]):
                        accepted.append(job.id)
                processes.leave(own, worker)

    def rescue() -> None:
        with closing(database.connect()) as own:
            while time.monotonic() < end:
                jobs.rescue(own, 20, silent_too=False)

    def care(verb: str, **how: Any) -> Callable[[], None]:
        def loop() -> None:
            with closing(database.connect()) as own:
                at = 0
                while time.monotonic() < end:
                    change(own, VERBS[verb], ids[at : at + 15], How(**how))
                    at = (at + 7) % len(ids)

        return loop

    with ThreadPoolExecutor(7) as threads:
        calls = [
            lambda: work(1),
            lambda: work(2),
            rescue,
            care("retry", succeeded=True),
            care("retry"),
            care("cancel"),
            care("cancel", force=True),
        ]
        for future in [threads.submit(call) for call in calls]:
            future.result()
    assert [row[0] for row in database.rows("SELECT id FROM pqclock.jobs ORDER BY id")] == ids
    assert accepted
    assert (
        database.value("SELECT count(*) FROM pqclock.job WHERE cancel_requested_at IS NOT NULL AND state <> 'running'")
        == 0
    )


def test_a_retry_and_the_drop_of_its_partition_take_turns(database: Database) -> None:
    old = "UPDATE pqclock.job_history SET finished_at = now() - interval '200 days'"
    day = database.value("SELECT (now() - interval '200 days')::date")
    for state in ("failed", "cancelled"):
        database.session.run("partitions.create", parent=f"job_history_{state}", instant="finished_at", day=day)
    (job_id,) = fail(database.session, new())
    database.session.conn.execute(old.encode())
    with ThreadPoolExecutor(1) as threads, closing(database.connect()) as keeper, closing(database.connect()) as own:
        with own.transaction():
            assert [row.outcome for row in change(own, VERBS["retry"], [job_id], How())] == ["ready"]
            with pytest.raises(Exception, match="lock timeout"):
                partitions.maintain(keeper)
        do(database.session, "cancel", job_id)
        database.session.conn.execute(old.encode())
        with keeper.transaction():
            assert partitions.drop_outlived(keeper) >= 1
            late = threads.submit(change, own, VERBS["retry"], [job_id], How())
            pid = own.conn.info.backend_pid
            while not database.value("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", pid):
                time.sleep(0.01)
        assert late.result() == [Changed(job_id, False, "gone", None)]


def test_a_key_in_an_open_transaction_is_not_waited_for_for_ever(database: Database) -> None:
    s = database.session
    keyed = new(options=options(unique_key="k"))
    a, b = (*fail(s, keyed), *fail(s, new()))
    with closing(database.connect()) as other, other.transaction():
        enqueue(other, keyed)
        assert do(s, "retry", a, b) == [(a, False, "locked"), (b, True, "ready")]
    assert do(s, "retry", a) == [(a, False, "unique")]


def test_a_job_that_was_held_for_a_person_goes_on_when_that_person_says_so(database: Database) -> None:
    s = database.session
    (job_id,) = enqueue(s, new(max_attempts=3))
    s.conn.execute("UPDATE pqclock.job SET state = 'scheduled', ready_seq = NULL, held = true, review = true")
    assert jobs.promote(s, 10, NOW + HOUR).promoted == 0
    assert do(s, "run", job_id) == [(job_id, True, "due")]
    assert jobs.promote(s, 10, NOW + HOUR).promoted == 1
