"""Jobs of dead workers, jobs past their time, jobs of a whole task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pqclock.store import jobs, processes, running
from pqclock.store.jobs import CRASH_LIMIT, DEATH_LIMIT, LEASE_LENGTH
from store.samples import HOUR, MINUTE, NOW, SECOND, a_worker, claim, enqueue, finish, new

if TYPE_CHECKING:
    from conftest import Database

ATTEMPTS = "SELECT attempt, outcome, error_type FROM pqclock.attempt ORDER BY finished_at"


def test_a_job_comes_back_when_its_worker_is_silent_for_longer_than_the_lease(database: Database) -> None:
    (job_id,) = enqueue(database.session, new())
    claim(database.session, a_worker(database.session))
    assert jobs.rescue(database.session, 10, now=NOW + LEASE_LENGTH) == []
    assert jobs.rescue(database.session, 10, now=NOW + LEASE_LENGTH + SECOND) == [(job_id, "ready")]
    (again,) = claim(database.session)
    assert (again.attempt, again.crashes) == (1, 1)
    assert database.rows(ATTEMPTS) == [(1, "crashed", "Crashed")]


def test_the_jobs_of_living_workers_stay(database: Database) -> None:
    enqueue(database.session, new(), new())
    alive, dead = a_worker(database.session), a_worker(database.session)
    claim(database.session, alive, limit=1)
    (lost,) = claim(database.session, dead, limit=1)
    processes.beat(database.session, alive, now=NOW + MINUTE)
    assert jobs.rescue(database.session, 10, now=NOW + MINUTE) == [(lost.id, "ready")]


def test_the_jobs_of_a_worker_that_nobody_knows_come_back(database: Database) -> None:
    enqueue(database.session, new(), new(), new())
    gone = a_worker(database.session)
    claim(database.session, gone)
    processes.leave(database.session, gone)
    assert len(jobs.rescue(database.session, 2, now=NOW)) == 2
    assert len(jobs.rescue(database.session, 2, now=NOW)) == 1


def test_the_third_crash_is_the_last(database: Database) -> None:
    (job_id,) = enqueue(database.session, new(max_attempts=1))
    states = []
    for crash in range(CRASH_LIMIT):
        claim(database.session, worker_id=1000 + crash)
        states += jobs.rescue(database.session, 10, now=NOW + crash * SECOND)
    assert states == [(job_id, "ready"), (job_id, "ready"), (job_id, "failed")]
    found = jobs.result(database.session, job_id)
    assert found is not None
    assert (found.state, found.error) == ("failed", "crashed: its worker died 3 times while it ran")
    assert database.rows(ATTEMPTS) == [(1, "crashed", "Crashed")] * 3


def die(database: Database, worker: int, times: int) -> list[str]:
    """A worker dies so many times while it runs the only job; gives what became of that each time."""
    states = []
    for _ in range(times):
        claim(database.session, worker)
        database.session.conn.execute("UPDATE pqclock.process SET beat_at = 'epoch' WHERE id = %s", [worker])
        states += [state for _, state in jobs.rescue(database.session, 10, now=NOW)]
    return states


def test_a_suspect_that_runs_apart_is_not_to_blame_for_the_death_of_its_worker(database: Database) -> None:
    enqueue(database.session, new())
    isolating = processes.register(
        database.session, "worker", pid=1, host="here", code_version="1", isolates=True, now=NOW
    )
    assert die(database, isolating, 4) == ["ready"] * 4
    assert database.rows("SELECT crashes, deaths FROM pqclock.job") == [(1, 4)]
    assert database.rows("SELECT DISTINCT worker_id FROM pqclock.attempt") == [(isolating,)]
    assert die(database, a_worker(database.session), 2) == ["ready", "failed"]


def test_what_takes_its_worker_down_from_apart_each_time_ends_at_last(database: Database) -> None:
    (job_id,) = enqueue(database.session, new())
    isolating = processes.register(
        database.session, "worker", pid=1, host="here", code_version="1", isolates=True, now=NOW
    )
    assert die(database, isolating, DEATH_LIMIT) == ["ready"] * (DEATH_LIMIT - 1) + ["failed"]
    found = jobs.result(database.session, job_id)
    assert found is not None
    assert found.error == "crashed: its worker died 10 times while it ran"


def test_a_worker_that_comes_back_finds_its_lease_gone(database: Database) -> None:
    enqueue(database.session, new())
    (lost,) = claim(database.session, worker_id=404, lease=1)
    jobs.rescue(database.session, 10, now=NOW)
    assert not finish(database.session, lost, "succeeded", "succeeded")
    (again,) = claim(database.session, worker_id=405, lease=2)
    assert not finish(database.session, lost, "succeeded", "succeeded")
    assert finish(database.session, again, "succeeded", "succeeded")


def test_what_was_not_started_in_time_is_discarded(database: Database) -> None:
    ready, scheduled, running, kept = enqueue(
        database.session, new(), new(run_at=NOW + HOUR), new("other"), new()
    )  # fmt: skip
    database.session.conn.execute("UPDATE pqclock.job SET expires_at = %s WHERE id <> %s", [NOW + MINUTE, kept])
    claim(database.session, tasks=["other"])
    assert jobs.expire(database.session, 10, now=NOW + MINUTE - SECOND) == []
    assert sorted(jobs.expire(database.session, 10, now=NOW + MINUTE)) == [ready, scheduled]
    found = jobs.result(database.session, ready)
    assert found is not None
    assert (found.state, found.error) == ("discarded", "expired: not started by 2026-11-22 12:01:00+00")
    assert database.rows("SELECT id FROM pqclock.job ORDER BY id") == [(running,), (kept,)]


def test_expiry_goes_in_slices_the_oldest_first(database: Database) -> None:
    a, b = enqueue(database.session, new(), new())
    database.session.conn.execute("UPDATE pqclock.job SET expires_at = %s - id * interval '1 s'", [NOW])
    assert [jobs.expire(database.session, 1, now=NOW) for _ in range(3)] == [[b], [a], []]


@pytest.mark.parametrize("verb", ["expire", "cancel"])
def test_a_job_that_began_is_left_to_its_worker(database: Database, verb: str) -> None:
    enqueue(database.session, new())
    database.session.conn.execute("UPDATE pqclock.job SET expires_at = %s", [NOW + MINUTE])
    (job,) = claim(database.session)
    if verb == "expire":
        assert jobs.expire(database.session, 10, now=NOW + HOUR) == []
    else:
        assert jobs.cancel_tasks(database.session, ["mail"], "gone") == 0
    assert finish(database.session, job, "succeeded", "succeeded")


def test_the_waiting_jobs_of_a_task_are_cancelled(database: Database) -> None:
    a, b, other = enqueue(database.session, new(), new(run_at=NOW + HOUR), new("other"))
    assert jobs.cancel_tasks(database.session, ["mail", "nobody"], "not needed", now=NOW) == 2
    rows = database.rows("SELECT id, state, error, finished_at FROM pqclock.job_history ORDER BY id")
    assert rows == [(a, "cancelled", "not needed", NOW), (b, "cancelled", "not needed", NOW)]
    assert database.rows("SELECT id FROM pqclock.job") == [(other,)]


def test_a_checkpoint_does_not_go_back_behind_one_that_the_handler_wrote(database: Database) -> None:
    enqueue(database.session, new())
    (job,) = claim(database.session, a_worker(database.session))

    def save(cursor: int, spent: float) -> object:
        text = f'{{"cursor": {cursor}, "spent": {spent}}}'
        running.save(database.session, [(job.id, job.lease, text)])
        return database.value("SELECT checkpoint -> 'cursor' FROM pqclock.job")

    assert save(10, 4.0) == 10
    assert save(5, 2.0) == 10
    assert save(20, 4.5) == 20
