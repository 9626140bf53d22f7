"""running -> what the run came to: fenced by the lease, with a row for every attempt."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from pqclock.rules.job import Outcome
from pqclock.store import finishing, jobs, running
from pqclock.store.jobs import JobResult
from store.samples import HOUR, MINUTE, NOW, SECOND, claim, enqueue, finish, new

if TYPE_CHECKING:
    from conftest import Database

ATTEMPTS = "SELECT attempt, outcome, error_type, error FROM pqclock.attempt ORDER BY attempt, finished_at"
LIVE = "SELECT state::text, run_at, attempt, lease, worker_id FROM pqclock.job"


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_an_ended_job_is_history(database: Database, state: str) -> None:
    (job_id,) = enqueue(database.session, new(args='{"n": 1}'))
    (job,) = claim(database.session)
    assert finish(
        database.session, job, state, state, result='{"x": [1]}', error_type="E", error="why", traceback="trace",
        started_at=NOW + SECOND, finished_at=NOW + 2 * SECOND,
    )  # fmt: skip
    assert database.value("SELECT count(*) FROM pqclock.job") == 0
    assert jobs.result(database.session, job_id) == JobResult(job_id, state, {"x": [1]}, "why")
    assert database.rows("SELECT attempt, worker_id, args, started_at, finished_at FROM pqclock.job_history") == [
        (1, 1, {"n": 1}, NOW + SECOND, NOW + 2 * SECOND)
    ]
    assert database.rows(ATTEMPTS) == [(1, state, "E", "why")]


def test_a_retry_waits_and_is_charged(database: Database) -> None:
    enqueue(database.session, new(max_attempts=3))
    (job,) = claim(database.session)
    assert finish(database.session, job, "scheduled", "failed", delay=30.5, error="why")
    assert database.rows(LIVE) == [("scheduled", NOW + MINUTE + timedelta(seconds=30.5), 1, None, None)]
    jobs.promote(database.session, 10, now=NOW + HOUR)
    (again,) = claim(database.session)
    assert again.attempt == 2
    assert finish(database.session, again, "failed", "failed", error="why again")
    assert database.rows(ATTEMPTS) == [(1, "failed", None, "why"), (2, "failed", None, "why again")]


def test_a_retry_without_a_wait_is_ready_at_once(database: Database) -> None:
    enqueue(database.session, new(max_attempts=3), new())
    job = claim(database.session, limit=1)[0]
    assert finish(database.session, job, "scheduled", "failed")
    assert [(again.id, again.attempt) for again in claim(database.session)] == [(job.id + 1, 1), (job.id, 2)]


def test_a_snooze_is_not_charged_but_leaves_a_row(database: Database) -> None:
    enqueue(database.session, new())
    (job,) = claim(database.session)
    assert finish(database.session, job, "scheduled", "snoozed", charged=False, delay=60.0)
    assert database.rows(LIVE) == [("scheduled", NOW + 2 * MINUTE, 0, None, None)]
    assert database.rows(ATTEMPTS) == [(1, "snoozed", None, None)]


def test_a_job_that_is_given_back_unstarted_leaves_no_trace(database: Database) -> None:
    enqueue(database.session, new())
    (job,) = claim(database.session)
    assert finish(database.session, job, "ready", None, charged=False)
    assert database.rows(LIVE) == [("ready", NOW, 0, None, None)]
    assert database.rows(ATTEMPTS) == []


def test_a_job_expires_only_while_it_has_not_begun(database: Database) -> None:
    enqueue(database.session, new(max_attempts=2), new(max_attempts=2))
    database.session.conn.execute("UPDATE pqclock.job SET expires_at = %s", [NOW + MINUTE])
    begun, returned = claim(database.session)
    assert finish(database.session, begun, "ready", "interrupted", charged=False)
    assert finish(database.session, returned, "ready", None, charged=False)
    assert jobs.expire(database.session, 10, now=NOW + HOUR) == [returned.id]
    assert [job.id for job in claim(database.session, now=NOW + HOUR)] == [begun.id]


@pytest.mark.parametrize("state", ["succeeded", "scheduled", "ready"])
def test_another_lease_is_accepted_by_nobody(database: Database, state: str) -> None:
    enqueue(database.session, new())
    (job,) = claim(database.session, lease=1)
    late = Outcome(job.id, 2, state, "succeeded" if state == "succeeded" else "interrupted")
    assert finishing.finish(database.session, [late], worker_id=1) == set()
    assert database.rows(LIVE) == [("running", NOW, 1, 1, 1)]
    assert database.rows(ATTEMPTS) == []
    assert finish(database.session, job, "succeeded", "succeeded")
    assert not finish(database.session, job, "succeeded", "succeeded")
    assert database.value("SELECT count(*) FROM pqclock.job_history") == 1


def test_outcomes_of_all_kinds_are_written_together(database: Database) -> None:
    enqueue(database.session, *(new() for _ in range(4)))
    a, b, c, d = claim(database.session)
    accepted = finishing.finish(
        database.session,
        [
            Outcome(d.id, d.lease, "failed", "failed", error="why"),
            Outcome(a.id, a.lease, "succeeded", "succeeded", result="null"),
            Outcome(c.id, 99, "succeeded", "succeeded"),
            Outcome(b.id, b.lease, "scheduled", "failed", delay=5.0),
        ],
        worker_id=1,
        now=NOW,
    )
    assert accepted == {a.id, b.id, d.id}
    states = {job.id: found.state for job in (a, b, c, d) if (found := jobs.result(database.session, job.id))}
    assert states == {a.id: "succeeded", b.id: "scheduled", c.id: "running", d.id: "failed"}


@pytest.mark.parametrize("kept", [True, False])
def test_plain_successes_are_written_together_with_those_that_need_more(database: Database, kept: bool) -> None:
    session = database.session
    enqueue(session, new(), new(options='{"unique": {"key": "k"}}'), new(), new(), new())
    plain, unique, watched, asked, late = claim(session)
    database.rows("UPDATE pqclock.job SET watched = true, schedule_id = 1 WHERE id = %s RETURNING id", watched.id)
    database.rows("UPDATE pqclock.job SET cancel_requested_at = now() WHERE id = %s RETURNING id", asked.id)
    ends = [
        Outcome(job.id, job.lease, "succeeded", "succeeded", started_at=NOW + n * SECOND, finished_at=NOW + MINUTE, kept=kept)
        for n, job in enumerate([plain, unique, watched, asked])
    ]  # fmt: skip
    ends.append(Outcome(late.id, 99, "succeeded", "succeeded", started_at=NOW, finished_at=NOW, kept=kept))
    assert finishing.finish(session, ends, worker_id=1, now=NOW + MINUTE) == {plain.id, unique.id, watched.id, asked.id}
    assert database.rows("SELECT id FROM pqclock.job") == [(late.id,)]
    assert database.value("SELECT count(*) FROM pqclock.unique_key") == 0
    history = "SELECT id, state::text, attempt, worker_id, started_at, finished_at FROM pqclock.job_history ORDER BY id"
    # Somebody asked for the end of one, and will look for it.
    written = [plain, unique, watched, asked] if kept else [asked]
    assert database.rows(history) == [
        (job.id, "succeeded", 1, 1, NOW + (job.id - plain.id) * SECOND, NOW + MINUTE) for job in written
    ]
    attempts = "SELECT job_id, outcome, worker_id, started_at, finished_at FROM pqclock.attempt ORDER BY job_id"
    assert database.rows(attempts) == [
        (job.id, "succeeded", 1, NOW + n * SECOND, NOW + MINUTE)
        for n, job in enumerate([plain, unique, watched, asked] if kept else [])
    ]


def test_a_plain_success_for_which_another_job_waits_is_told_to_the_clock(database: Database) -> None:
    (first,) = enqueue(database.session, new())
    enqueue(database.session, new(options=f'{{"after": [{first}]}}'))
    (job,) = claim(database.session)
    assert finish(database.session, job, "succeeded", "succeeded", started_at=NOW, finished_at=NOW)
    notes = "SELECT job_id, state::text FROM pqclock.after_note WHERE state IS NOT NULL"
    assert database.rows(notes) == [(first, "succeeded")]


def test_the_start_is_noted_only_for_the_lease_that_runs(database: Database) -> None:
    enqueue(database.session, new(), new())
    a, b = claim(database.session)
    running.note_starts(database.session, [(a.id, a.lease, NOW + SECOND), (b.id, 99, NOW + SECOND)])
    rows = database.rows("SELECT id, started_at FROM pqclock.job ORDER BY id")
    assert rows == [(a.id, NOW + SECOND), (b.id, None)]


def test_nobody_knows_a_job_that_never_was(database: Database) -> None:
    assert jobs.result(database.session, 404) is None
