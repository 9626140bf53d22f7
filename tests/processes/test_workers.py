"""Workers as processes: what a kill, a stop and a lost parent do to jobs."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta

from conftest import Database
from pqclock.store import jobs
from pqclock.store.jobs import NewJob
from processes.fleet import Fleet, children_of, eventually, is_alive


def state(database: Database, job_id: int) -> object:
    """Where a job stands."""
    return database.value("SELECT state FROM pqclock.jobs WHERE id = %s", job_id)


def put(database: Database, task: str, args: str = "{}", queue: str | None = None) -> int:
    """Enqueue a job; gives its id."""
    return jobs.insert(database.session, [NewJob(task, args, queue=queue)])[0][0]


def workers(database: Database) -> int:
    """How many workers are alive."""
    count = database.value("SELECT count(*) FROM pqclock.processes WHERE kind = 'worker' AND beat_at > 'epoch'")
    assert isinstance(count, int)
    return count


def test_two_workers_share_the_jobs_and_run_each_once(fleet: Fleet, database: Database) -> None:
    fleet.worker("*:2")
    fleet.worker("*:2")
    eventually(lambda: workers(database) == 2)
    rows = jobs.insert(database.session, [NewJob("note", f'{{"text": "{n}"}}') for n in range(400)])

    def both_have_run_some() -> bool:
        # On a busy machine one may be done with all before the other has its turn.
        rows.extend(jobs.insert(database.session, [NewJob("note", '{"text": "more"}') for _ in range(20)]))
        return database.value("SELECT count(DISTINCT worker_id) FROM pqclock.attempt") == 2

    eventually(both_have_run_some)
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.jobs WHERE state = 'succeeded'") == len(rows))
    assert database.value("SELECT count(*) FROM pqclock.attempt") == len(rows)


def test_a_retry_runs_after_its_delay(fleet: Fleet, database: Database) -> None:
    fleet.clock()
    fleet.worker()
    eventually(lambda: workers(database) == 1)
    job_id = put(database, "second_time")
    eventually(lambda: state(database, job_id) == "succeeded")
    assert database.rows("SELECT outcome FROM pqclock.attempt ORDER BY attempt") == [("failed",), ("succeeded",)]


def test_a_killed_child_is_started_again_and_its_jobs_run_again_within_three_seconds(
    fleet: Fleet, database: Database
) -> None:
    fleet.clock()
    parent = fleet.worker("naps:2")
    eventually(lambda: workers(database) == 1)
    job_id = put(database, "die_once", queue="naps")
    eventually((fleet.folder / f"died-{job_id}").exists)
    died = time.monotonic()
    eventually(lambda: state(database, job_id) == "succeeded")
    assert time.monotonic() - died < 3.0
    assert parent.poll() is None
    assert database.rows("SELECT outcome FROM pqclock.attempt ORDER BY finished_at") == [("crashed",), ("succeeded",)]


def test_a_job_that_kills_three_workers_is_failed_and_others_go_on(fleet: Fleet, database: Database) -> None:
    fleet.clock()
    fleet.worker("naps,default:2")
    eventually(lambda: workers(database) == 1)
    poison = put(database, "die_always", queue="naps")
    eventually(lambda: state(database, poison) == "failed", within=30)
    assert "crashed" in str(database.value("SELECT error FROM pqclock.jobs WHERE id = %s", poison))
    other = put(database, "note")
    eventually(lambda: state(database, other) == "succeeded")


def test_term_lets_running_jobs_end_gives_waiting_ones_back_and_ends_with_0(fleet: Fleet, database: Database) -> None:
    parent = fleet.worker("naps:2")
    eventually(lambda: workers(database) == 1)
    running = [put(database, "nap", '{"seconds": 1.5}', "naps"), put(database, "doze", '{"seconds": 1.5}', "naps")]
    eventually(lambda: database.value("SELECT count(started_at) FROM pqclock.job") == 2)
    waiting = put(database, "nap", '{"seconds": 0}', "naps")
    parent.terminate()
    assert parent.wait(10) == 0
    assert [state(database, job_id) for job_id in running] == ["succeeded", "succeeded"]
    assert state(database, waiting) == "ready"
    assert workers(database) == 0


def test_what_outlasts_the_stop_goes_back_without_costing_an_attempt(fleet: Fleet, database: Database) -> None:
    parent = fleet.worker("naps:2", "--stop-timeout", "300ms")
    eventually(lambda: workers(database) == 1)
    long_one = put(database, "nap", '{"seconds": 60}', "naps")
    eventually(lambda: state(database, long_one) == "running")
    parent.terminate()
    assert parent.wait(10) == 0
    assert database.rows("SELECT state, attempt FROM pqclock.jobs") == [("ready", 0)]
    assert database.rows("SELECT outcome FROM pqclock.attempt") == [("interrupted",)]


def test_a_second_signal_ends_at_once(fleet: Fleet, database: Database) -> None:
    parent = fleet.worker("naps:1")
    eventually(lambda: workers(database) == 1)
    job_id = put(database, "nap", '{"seconds": 60}', "naps")
    eventually(lambda: state(database, job_id) == "running")
    children = children_of(parent)
    parent.terminate()
    time.sleep(0.2)
    parent.terminate()
    assert parent.wait(3) != 0
    eventually(lambda: not any(is_alive(pid) for pid in children), within=3)


def test_children_do_not_outlive_a_killed_parent(fleet: Fleet, database: Database) -> None:
    parent = fleet.worker()
    eventually(lambda: workers(database) == 1)
    children = children_of(parent)
    assert children
    os.kill(parent.pid, signal.SIGKILL)
    eventually(lambda: not any(is_alive(pid) for pid in children), within=5)
    eventually(lambda: workers(database) == 0)


def test_a_running_job_shows_when_it_began(fleet: Fleet, database: Database) -> None:
    fleet.worker("naps:1")
    eventually(lambda: workers(database) == 1)
    job_id = put(database, "nap", '{"seconds": 2}', "naps")
    eventually(lambda: database.value("SELECT started_at FROM pqclock.jobs WHERE id = %s", job_id))
    assert state(database, job_id) == "running"


def test_without_any_clock_later_jobs_and_retries_still_run_and_the_log_says_so(
    fleet: Fleet, database: Database
) -> None:
    parent = fleet.worker()
    eventually(lambda: workers(database) == 1)
    again = put(database, "second_time")
    later = jobs.insert(database.session, [NewJob("note", "{}", delay=timedelta(milliseconds=300))])[0][0]
    eventually(lambda: [state(database, job_id) for job_id in (again, later)] == ["succeeded", "succeeded"])
    eventually(lambda: "no clock leads" in fleet.log_of(parent), within=20)


def test_a_process_that_has_done_enough_is_followed_by_a_new_one(fleet: Fleet, database: Database) -> None:
    parent = fleet.worker("*:1", "--max-jobs", "5")
    eventually(lambda: workers(database) == 1)
    first = children_of(parent)
    ids = [put(database, "note") for _ in range(8)]
    eventually(lambda: all(state(database, job_id) == "succeeded" for job_id in ids))
    eventually(lambda: (now := children_of(parent)) and set(now).isdisjoint(first))
    eventually(lambda: workers(database) == 1)
    again = put(database, "note")
    eventually(lambda: state(database, again) == "succeeded")
    assert database.rows("SELECT DISTINCT outcome FROM pqclock.attempt") == [("succeeded",)]
    assert "killed" not in fleet.log_of(parent)


def test_no_process_runs_more_jobs_than_it_is_to(fleet: Fleet, database: Database) -> None:
    fleet.worker("*:2", "--max-jobs", "3")
    eventually(lambda: workers(database) == 1)
    ids = [put(database, "note") for _ in range(10)]
    eventually(lambda: all(state(database, job_id) == "succeeded" for job_id in ids), within=30)
    counts = "SELECT count(*) FROM pqclock.attempt GROUP BY worker_id ORDER BY 1"
    assert [count for (count,) in database.rows(counts)] == [1, 3, 3, 3]
