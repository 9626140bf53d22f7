"""The list of those who are alive."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from pqclock.store import explaining, jobs, processes, running, tasks
from store.samples import HOUR, MINUTE, NOW, SECOND, a_worker, claim, enqueue, new

if TYPE_CHECKING:
    from conftest import Database


def test_a_process_is_entered_beats_and_leaves(database: Database) -> None:
    process_id = processes.register(
        database.session, "clock", pid=7, host="box", code_version="1.2", doing="standby", now=NOW
    )
    assert database.rows("SELECT kind, pid, host, code_version, doing, started_at, beat_at FROM pqclock.process") == [
        ("clock", 7, "box", "1.2", "standby", NOW, NOW)
    ]
    assert processes.beat(database.session, process_id, now=NOW + SECOND) == NOW + SECOND
    assert database.rows("SELECT started_at, beat_at FROM pqclock.process") == [(NOW, NOW + SECOND)]
    processes.leave(database.session, process_id)
    assert processes.beat(database.session, process_id, now=NOW) is None


def test_no_other_kind_of_process_is_entered(database: Database) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="process_kind_is_known"):
        processes.register(database.session, "gardener", pid=7, host="box", code_version="1")


def test_the_dead_do_not_beat_again_and_lose_their_jobs_at_once(database: Database) -> None:
    same_pid_elsewhere, unsupervised = (a_worker(database.session, token=token) for token in ("elsewhere", None))
    dead = a_worker(database.session, token="here")
    enqueue(database.session, new())
    (lost,) = claim(database.session, dead)
    assert processes.bury(database.session, "here") == [dead]
    assert processes.bury(database.session, "here") == []
    assert processes.beat(database.session, dead, now=NOW) is None
    assert processes.beat(database.session, same_pid_elsewhere, now=NOW) == NOW
    assert processes.beat(database.session, unsupervised, now=NOW) == NOW
    assert jobs.rescue(database.session, 10, now=NOW) == [(lost.id, "ready")]


def test_the_jobs_of_one_that_a_stop_has_cut_off_go_back_at_no_cost(database: Database) -> None:
    tasks.publish(
        database.session, [{"name": "mail", "options": {"on_crash": "hold"}, "arg_defaults": {}, "code_version": ""}]
    )
    stopped = a_worker(database.session, token="here")
    enqueue(database.session, new(), new())
    began, waits = claim(database.session, stopped)
    running.note_starts(database.session, [(began.id, began.lease, NOW)])
    processes.bury(database.session, "here", begun=())
    assert sorted(jobs.rescue(database.session, 10, now=NOW)) == [(began.id, "ready"), (waits.id, "ready")]
    assert database.rows("SELECT DISTINCT attempt, crashes, deaths, held FROM pqclock.job") == [(0, 0, 0, False)]
    attempts = "SELECT job_id, attempt, outcome, worker_id, started_at, finished_at FROM pqclock.attempt"
    assert database.rows(attempts) == [(began.id, 1, "interrupted", stopped, NOW, NOW)]


def test_only_what_had_begun_is_charged_with_the_death_of_its_worker_where_that_is_known(database: Database) -> None:
    dead = a_worker(database.session, token="here")
    enqueue(database.session, new(), new(), new())
    first, second, third = claim(database.session, dead)
    processes.bury(database.session, "here", begun=[second.id])
    assert sorted(jobs.rescue(database.session, 10, now=NOW)) == [(job.id, "ready") for job in (first, second, third)]
    assert database.rows("SELECT id, attempt, crashes, deaths FROM pqclock.job ORDER BY id") == [
        (first.id, 0, 0, 0), (second.id, 0, 1, 1), (third.id, 0, 0, 0),
    ]  # fmt: skip
    assert database.rows("SELECT job_id, outcome FROM pqclock.attempt") == [(second.id, "crashed")]


def test_the_silent_are_forgotten_once_they_hold_no_job(database: Database) -> None:
    a_worker(database.session, now=NOW)
    holder = a_worker(database.session, now=NOW)
    alive = a_worker(database.session, now=NOW + HOUR)
    enqueue(database.session, new())
    claim(database.session, holder)
    assert processes.sweep(database.session, MINUTE, now=NOW + MINUTE) == 0
    assert processes.sweep(database.session, MINUTE, now=NOW + HOUR) == 1
    assert database.rows("SELECT id FROM pqclock.process ORDER BY id") == [(holder,), (alive,)]
    jobs.rescue(database.session, 10, now=NOW + HOUR)
    assert processes.sweep(database.session, timedelta(minutes=1), now=NOW + HOUR) == 1


def test_a_job_that_a_person_is_to_look_at_is_held_when_its_worker_dies(database: Database) -> None:
    tasks.publish(
        database.session, [{"name": "mail", "options": {"on_crash": "hold"}, "arg_defaults": {}, "code_version": ""}]
    )
    dead = a_worker(database.session, token="here")
    enqueue(database.session, new())
    (lost,) = claim(database.session, dead)
    processes.bury(database.session, "here")
    assert jobs.rescue(database.session, 10, now=NOW) == [(lost.id, "held")]
    assert jobs.promote(database.session, 10, now=NOW + HOUR).promoted == 0
    state = "SELECT state::text, held, review, attempt, crashes FROM pqclock.job"
    assert database.rows(state) == [("scheduled", True, True, 0, 1)]
    assert "a person" in explaining.explain(database.session, lost.id).reasons[0].text


def test_failures_that_nobody_saw_are_told_once_to_a_worker_that_wants_to_hear(database: Database) -> None:
    enqueue(database.session, new(), new(task="other"))
    dead = a_worker(database.session, token="here")
    claim(database.session, dead)
    processes.bury(database.session, "here")
    jobs.rescue(database.session, 10, now=NOW)
    assert running.hear_failures(database.session, ["mail", "other"], 10) == []
    processes.register(database.session, "worker", pid=1, host="box", code_version="1", hears=True, now=NOW)
    database.session.conn.execute("UPDATE pqclock.job SET expires_at = %s", [NOW])
    assert len(jobs.expire(database.session, 10, now=NOW + SECOND)) == 2
    (told,) = running.hear_failures(database.session, ["mail"], 10)
    assert (told.task, told.reason, told.retried) == ("mail", "expired", False)
    assert running.hear_failures(database.session, ["mail"], 10) == []
    assert running.drop_unreported(database.session, 10, now=NOW + HOUR) == 0
    assert running.drop_unreported(database.session, 10, now=NOW + 25 * HOUR) == 1
