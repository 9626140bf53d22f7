"""Short versions of what workers must survive; `make kills` has the full length."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

from conftest import Database
from pqclock.store import jobs
from pqclock.store.jobs import NewJob
from processes.fleet import Fleet, children_of, eventually
from processes.survival import storm


def cursor(database: Database) -> int:
    """How far the only job has come, as far as that is written."""
    return int(str(database.value("SELECT coalesce(max((checkpoint ->> 'cursor')::int), 0) FROM pqclock.job")))


def march_on(fleet: Fleet, database: Database, task: str, last: int, kills: int) -> None:
    """Run an iteration whose worker is killed as soon as it has written that it came further."""
    fleet.clock()
    parent = fleet.worker("march:1")
    job_id = jobs.insert(database.session, [NewJob(task, f'{{"last": {last}}}', queue="march")])[0][0]
    for _ in range(kills):
        before = cursor(database)
        eventually(lambda before=before: cursor(database) > before, 30)  # type: ignore[misc]
        for pid in children_of(parent):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: database.value("SELECT state FROM pqclock.jobs WHERE id = %s", job_id) == "succeeded", 60)


def test_each_job_finishes_once_while_processes_are_killed(fleet: Fleet, database: Database) -> None:
    report = storm(fleet, database, count=2_000, workers=3, kill_every=1.5, within=90)
    assert report.faults() == []
    assert report.kills >= 2


def test_an_iteration_goes_on_where_it_was_killed(fleet: Fleet, database: Database) -> None:
    march_on(fleet, database, "march", 60_000, kills=2)
    steps = [int(line) for line in (fleet.folder / "steps").read_text().split()]
    assert set(steps) == set(range(1, 60_001))
    # It was killed just after it was saved: hardly anything was done twice.
    assert len(steps) < 1.2 * 60_000


def test_an_iteration_with_checkpoints_of_its_own_repeats_nothing(fleet: Fleet, database: Database) -> None:
    database.session.conn.execute("CREATE TABLE steps (n integer)")
    march_on(fleet, database, "ledger", 100_000, kills=4)
    assert database.rows("SELECT count(*), count(DISTINCT n), max(n) FROM steps") == [(100_000, 100_000, 100_000)]


def test_a_rolling_restart_costs_nothing_and_gives_jobs_back_at_once(fleet: Fleet, database: Database) -> None:
    fleet.clock()
    old = [fleet.worker("storm:4", "--stop-timeout", "10s") for _ in range(2)]
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.process WHERE kind = 'worker'") == 2)
    jobs.insert(database.session, [NewJob("brief", "{}", queue="storm") for _ in range(1_500)])
    for parent in old:
        fleet.worker("storm:4")
        parent.terminate()
        assert parent.wait(15) == 0
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.job") == 0, 60)
    assert database.rows("SELECT outcome, count(*) FROM pqclock.attempt GROUP BY outcome") == [("succeeded", 1_500)]
    assert database.value("SELECT max(attempt) FROM pqclock.job_history") == 1
    for process in fleet.processes:
        assert '"level": "error"' not in fleet.log_of(process).lower()


def test_neighbours_of_a_poison_job_hardly_notice(fleet: Fleet, database: Database) -> None:
    fleet.clock()
    fleet.worker("storm:4")
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.process WHERE kind = 'worker'") == 1)
    jobs.insert(database.session, [NewJob("poison", "{}", queue="storm")])
    eventually(lambda: database.value("SELECT crashes FROM pqclock.job WHERE task = 'poison'") == 1)
    ids = jobs.insert(database.session, [NewJob("brief", "{}", queue="storm", delay=timedelta(0)) for _ in range(200)])
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.job") == 0, 60)
    assert database.value("SELECT state FROM pqclock.job_history WHERE task = 'poison'") == "failed"
    outcomes = "SELECT count(*) FROM pqclock.attempt WHERE outcome = 'succeeded' AND attempt = 1"
    assert database.value(outcomes) == len(ids)
    assert database.value("SELECT count(*) FROM pqclock.attempt WHERE outcome = 'crashed'") == 3
