"""`pqclock explain` and `app.jobs.explain`, against a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pqclock import App
from pqclock.errors import UnknownJob
from pqclock.store import explaining, gates, listings, pauses, processes
from pqclock.store import running as progress
from store import samples
from store.gated import claim, end, enqueue_gated, fuse, throttle
from store.samples import HOUR, MINUTE, NOW, enqueue, finish, new

if TYPE_CHECKING:
    from conftest import Database

Command = Callable[..., Any]


@pytest.fixture
def listed(database: Database, command: Command) -> Command:
    """The command, with the address of the test's database."""
    return lambda *args: command(*args, PQCLOCK_DATABASE_URL=database.url)


@pytest.fixture
def working(database: Database) -> Database:
    """A database with a worker for all queues, that has published a task."""
    processes.register(database.session, "worker", pid=1, host="box", code_version="1", doing="*:5")
    database.session.conn.execute(
        "INSERT INTO pqclock.task (name, arg_defaults, options, code_version, published_at)"
        " VALUES ('mail', '{}', '{}', '1', now())"
    )
    return database


def the_job(database: Database) -> int:
    return int(str(database.value("SELECT max(id) FROM pqclock.job")))


def explained(database: Database, job: int) -> Any:
    with listings.reading(database.session):
        return explaining.explain(database.session, job)


def test_five_gates_three_of_them_closed(working: Database, listed: Command) -> None:
    for name in ("a", "b", "c"):
        fuse(working.session, name)
    throttle(working.session, "d", concurrency=5)
    throttle(working.session, "e", rate=100, per="1 minute")
    enqueue_gated(working.session, "fuse:a", "fuse:b", "fuse:c:k", "throttle:d", "throttle:e")
    for reference, length in (("a", 5 * MINUTE), ("b", HOUR), ("c:k", 10 * MINUTE)):
        gates.cool(working.session, reference, length, "429")
    assert claim(working.session, now=None).jobs == []
    job = the_job(working)
    found = listed("explain", str(job), "--json").json["explain"][0]
    assert [reason["gate"] for reason in found["reasons"]] == ["fuse:a", "fuse:b", "fuse:c:k"]
    latest: Any = working.value("SELECT max(closed_until) FROM pqclock.gate")
    assert (found["starts"], found["starts_at"]) == ("at", latest.isoformat().replace("+00:00", "Z"))
    text = listed("explain", str(job)).out
    assert f"job {job} of task mail waits in the queue default" in text
    assert "the fuse c for k is closed, until" in text and "(note: 429)" in text
    assert "earliest start: " in text and ("in 59m" in text or "in 1h" in text)
    assert claim(working.session, now=latest - timedelta(microseconds=1)).jobs == []
    assert [one.id for one in claim(working.session, now=latest).jobs] == [job]


def test_what_runs_in_its_place_is_named(working: Database, listed: Command) -> None:
    throttle(working.session, "db", concurrency=1)
    enqueue_gated(working.session, "throttle:db", count=3)
    (running,) = claim(working.session, now=None).jobs
    text = listed("explain", str(the_job(working))).out
    assert f"the throttle db has 1 of 1 running: it waits for one to end (job {running.id})" in text
    assert "1 job goes before it in its lane" in text
    assert "earliest start: unknown" in text
    assert f"job {running.id} of task mail is running on worker 1, since" in listed("explain", str(running.id)).out


def test_a_rate_says_when(working: Database) -> None:
    throttle(working.session, "stripe", rate=60, per="1 minute", burst=1)
    enqueue_gated(working.session, "throttle:stripe", count=11)
    assert len(claim(working.session, now=None).jobs) == 1
    found = explained(working, the_job(working))
    (reason,) = found.reasons
    assert (found.starts, found.ahead, reason.estimate) == ("at", 9, True)
    first: Any = working.value("SELECT opens_at FROM pqclock.gate")
    assert found.starts_at == first + timedelta(seconds=9)


def test_a_blown_fuse_says_what_failed(working: Database) -> None:
    fuse(working.session, "api")
    enqueue_gated(working.session, "fuse:api", count=4)
    now: Any = working.value("SELECT clock_timestamp()")
    jobs = claim(working.session, room=3, now=now).jobs
    for job in jobs:
        end(working.session, job, "failed", now, "OSError", error_type="OSError", error="no route")
    found = explained(working, the_job(working))
    assert found.reasons[0].text == "the fuse api is blown; its last failure was OSError: no route"
    assert (found.starts, found.starts_at) == ("at", now + 5 * MINUTE)
    assert explained(working, jobs[0].id).text == f"job {jobs[0].id} of task mail has failed: no route"


def test_free_jobs_pauses_and_undeclared_rules(working: Database, listed: Command) -> None:
    _, job = enqueue(working.session, new(queue="mice", labels='["finance"]'), new(queue="mice", labels='["finance"]'))
    found = explained(working, job)
    assert (found.starts, found.ahead, found.ahead_in) == ("now", 1, "queue")
    pauses.pause(working.session, "queue", "mice", HOUR, "moved")
    pauses.pause(working.session, "label", "finance")
    found = explained(working, job)
    assert [reason.kind for reason in found.reasons] == ["queue", "label"]
    assert (found.starts, found.starts_at) == ("unknown", found.reasons[0].until)
    enqueue_gated(working.session, "throttle:nowhere")
    text = listed("explain", str(the_job(working))).out
    assert "the throttle nowhere is not declared, and counts as closed: declare [throttle.nowhere]" in text


def test_no_worker_and_no_such_job(database: Database, listed: Command) -> None:
    (job,) = enqueue(database.session, new(run_at=NOW + 365 * 24 * 50 * HOUR))
    text = listed("explain", str(job)).out
    assert (
        "it waits for its time, until" in text
        and "no worker is alive" in text
        and "has published the task mail" in text
    )
    done = listed("explain", "4711")
    assert done.code == 1 and "the database has no job 4711" in done.err
    assert listed("explain", str(2**70)).code == 1
    app = App(database.url)
    try:
        assert app.jobs.explain(job).starts == "unknown"
        assert [row.id for row in app.jobs.list().rows] == [job]
        with pytest.raises(UnknownJob):
            app.jobs.explain(4711)
    finally:
        app.close()


def test_it_is_cheap_with_many_behind_one_gate(working: Database) -> None:
    throttle(working.session, "db", concurrency=1)
    enqueue_gated(working.session, "throttle:db", count=30_000)
    working.session.conn.execute("ANALYZE pqclock.job")
    claim(working.session, now=None)
    began = time.monotonic()
    found = explained(working, the_job(working))
    assert time.monotonic() - began < 1
    assert found.ahead == 10_001


def test_others_at_the_gate_and_those_before_it_are_reckoned_with(working: Database, listed: Command) -> None:
    throttle(working.session, "x", rate=1, per="1 hour", burst=1)
    enqueue_gated(working.session, "throttle:x", count=10)
    last = the_job(working)
    found = explained(working, last)
    now: Any = working.value("SELECT clock_timestamp()")
    assert found.starts == "at" and abs(found.starts_at - now - 9 * HOUR) < MINUTE
    assert len(claim(working.session, now=None).jobs) == 1
    enqueue_gated(working.session, "throttle:x", task="call", count=2)
    claim(working.session, now=None, tasks=["call"])
    assert "; 9 jobs of other lanes wait for it too, and may go first" in listed("explain", str(the_job(working))).out


def test_a_job_id_is_a_number(working: Database, listed: Command) -> None:
    for words in (("explain", "abc"), ("jobs", "show", "-1"), ("jobs", "cancel", "9" * 30)):
        done = listed(*words)
        assert done.code == 2 and ("a job id is a whole number" in done.err or "No such option" in done.err)
    assert "a job id is a whole number" in listed("explain", "abc").err


def test_the_class_of_the_last_failure_is_said_once(working: Database, listed: Command) -> None:
    fuse(working.session, "api", failures=1)
    enqueue_gated(working.session, "fuse:api", count=2)
    job, _ = claim(working.session, now=None).jobs
    now: Any = working.value("SELECT clock_timestamp()")
    end(working.session, job, "failed", now, "OSError", error="OSError: boo\nmore", error_type="OSError")
    enqueue_gated(working.session, "fuse:api", task="mail")
    text = listed("explain", str(the_job(working))).out
    assert "its last failure was OSError: boo" in text and "OSError: OSError" not in text


def test_one_that_runs_and_is_to_end(working: Database, listed: Command) -> None:
    enqueue_gated(working.session, "throttle:db")
    throttle(working.session, "db", concurrency=1)
    (running,) = claim(working.session, now=None).jobs
    assert listed("explain", str(running.id), "--json").json["explain"][0]["reasons"] == []
    assert listed("jobs", "cancel", str(running.id), "--reason", "wrong list").code == 0
    assert listed("jobs", "cancel", str(running.id), "--reason", "once more").code == 0
    _, told = listed("explain", str(running.id)).out.splitlines()
    assert told.startswith("- its handler was told to end: it does at its next look, or checkpoint, and is interrupted")
    assert "; told " in told and " (note: cancelled by " in told and told.endswith(": wrong list)")
    found = listed("explain", str(running.id), "--json").json["explain"][0]
    (reason,) = found["reasons"]
    asked: Any = working.value("SELECT cancel_requested_at FROM pqclock.job")
    assert (found["starts"], reason["kind"]) == ("running", "cancel")
    assert reason["since"] == asked.isoformat().replace("+00:00", "Z")
    assert reason["note"].endswith(": wrong list")


def test_how_far_an_iteration_has_come(working: Database, listed: Command) -> None:
    def words(job: int) -> list[str]:
        return [line for line in listed("explain", str(job)).out.splitlines() if " come to " in line]

    enqueue(working.session, new())
    (job,) = samples.claim(working.session)
    assert words(job.id) == [] and explained(working, job.id).progress is None
    reached = {"cursor": "secret", "done": 1200, "total": 5000, "spent": 456.0}
    progress.save(working.session, [(job.id, job.lease, json.dumps(reached))])
    assert words(job.id) == ["- it has come to 1,200 of 5,000 (24 %), about 24m4s left"]
    found = listed("explain", str(job.id), "--json").json["explain"][0]
    assert found["progress"] == {"done": 1200, "total": 5000, "spent": 456.0}
    assert finish(working.session, job, "scheduled", "failed", error="OSError: boo", delay=3600.0)
    assert explained(working, job.id).state == "scheduled"
    assert words(job.id) == ["- it has come to 1,200 of 5,000 (24 %), about 24m4s left"]
    assert listed("jobs", "discard", str(job.id)).code == 0
    assert words(job.id) == ["- it had come to 1,200 of 5,000 (24 %)"]
