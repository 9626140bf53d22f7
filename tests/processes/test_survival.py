"""Short versions of what workers must survive; `make kills` has the full length."""

from __future__ import annotations

from datetime import timedelta

from conftest import Database
from pqclock.store import jobs
from pqclock.store.jobs import NewJob
from processes.endurance import ledger, march, neighbours
from processes.fleet import Fleet, eventually
from processes.survival import storm


def test_each_job_finishes_once_while_processes_are_killed(fleet: Fleet, database: Database) -> None:
    report = storm(fleet, database, count=2_000, workers=3, kill_every=1.5, within=90)
    assert report.faults() == []
    assert report.kills >= 2


def test_an_iteration_goes_on_where_it_was_killed(fleet: Fleet, database: Database) -> None:
    report = march(fleet, database, steps=15_000, kills=2, pause=0.0005, within=60)
    assert report.faults() == []
    assert report.twice > 0


def test_an_iteration_with_checkpoints_of_its_own_repeats_nothing(fleet: Fleet, database: Database) -> None:
    report = ledger(fleet, database, steps=100_000, kills=4, pause=0.00002, within=60)
    assert report.faults() == []


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


def test_a_poison_job_fails_and_its_neighbours_do_not(fleet: Fleet, database: Database) -> None:
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


SHORT = [NewJob("short", "{}", queue="storm")] * 1_000


def at_the_worker(database: Database) -> object:
    """How many jobs a worker has, run or waiting there."""
    return database.value("SELECT count(*) FROM pqclock.job WHERE state = 'running'")


def test_only_what_had_begun_is_suspected_when_a_worker_dies_that_has_claimed_more(
    fleet: Fleet, database: Database
) -> None:
    fleet.clock()
    fleet.worker("storm:1")
    poison = NewJob("short", '{"dies": true}', queue="storm", max_attempts=1)
    jobs.insert(database.session, [*SHORT, poison, *SHORT])
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.job") == 0, 60)
    assert database.rows("SELECT state::text, count(*) FROM pqclock.job_history GROUP BY state ORDER BY state") == [
        ("failed", 1), ("succeeded", 2 * len(SHORT)),
    ]  # fmt: skip
    assert database.value("SELECT count(DISTINCT job_id) FROM pqclock.attempt WHERE outcome = 'crashed'") == 1
    assert database.value("SELECT max(attempt) FROM pqclock.attempt WHERE outcome = 'succeeded'") == 1


def test_what_waits_behind_a_job_that_takes_long_goes_to_other_workers(fleet: Fleet, database: Database) -> None:
    fleet.worker("storm:1")
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.process WHERE kind = 'worker'") == 1)
    long = NewJob("short", '{"until": "go"}', queue="storm")
    jobs.insert(database.session, [*SHORT, long, *SHORT])
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.job") == len(SHORT) + 1)
    eventually(lambda: at_the_worker(database) == 1)
    fleet.worker("storm:1")
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.job") == 1)
    (fleet.folder / "go").touch()
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.job") == 0)
    assert database.rows("SELECT DISTINCT outcome, attempt FROM pqclock.attempt") == [("succeeded", 1)]


def test_neighbours_of_poison_jobs_do_not_wait_for_them(fleet: Fleet, database: Database) -> None:
    report = neighbours(fleet, database, seconds=5, poison_every=2)
    assert report.poisons == 3
    assert report.p50_beside < 0.25
