"""A term turn by turn: whom it rescues, and when it trusts the silence of a worker."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from pqclock import loop
from pqclock.clock import leader as leader_module
from pqclock.clock.leader import Leader, TermOver
from pqclock.store import jobs, leadership, processes, schedules
from pqclock.store.database import Session
from pqclock.store.standing_in import stand_in
from store.samples import a_worker, claim, enqueue

if TYPE_CHECKING:
    from conftest import Database

STATE = "SELECT state::text FROM pqclock.job ORDER BY id"


def in_office(database: Database) -> Leader:
    process_id = processes.register(database.session, "clock", pid=1, host="box", code_version="1")
    return Leader(database.session, leadership.elect(database.session, process_id), process_id)


def silent_worker_with_a_job(database: Database) -> int:
    """A worker whose last beat is a minute old and that runs a job."""
    now = schedules.database_now(database.session)
    worker = a_worker(database.session, now - timedelta(minutes=1))
    enqueue(database.session, jobs.NewJob("mail", "{}"), now=now)
    claim(database.session, worker, now=now)
    return worker


def test_a_new_leader_watches_for_a_lease_before_it_takes_silence_for_death(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent_worker_with_a_job(database)
    office = in_office(database)
    office.turn()
    assert database.rows(STATE) == [("running",)]
    monkeypatch.setattr(jobs, "LEASE_LENGTH", timedelta(0))
    office.hear("rescue")
    office.turn()
    assert database.rows(STATE) == [("ready",)]


def test_a_worker_that_was_declared_dead_is_rescued_at_once(database: Database) -> None:
    worker = silent_worker_with_a_job(database)
    database.session.conn.execute("UPDATE pqclock.process SET beat_at = 'epoch' WHERE id = %s", [worker])
    in_office(database).turn()
    assert database.rows(STATE) == [("ready",)]


def test_a_step_of_the_databases_clock_begins_the_watch_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    office = in_office(database)
    office.turn()
    real = leadership.beat

    def stepped(session: Session, epoch: int) -> datetime | None:
        now = real(session, epoch)
        return None if now is None else now + timedelta(hours=1)

    monkeypatch.setattr(leadership, "beat", stepped)
    here = loop.now
    monkeypatch.setattr(loop, "now", lambda: here() + timedelta(hours=1))
    monkeypatch.setattr(leader_module, "BEAT_EVERY", 0.0)
    office._next_beat = 0.0
    office.turn()
    assert "stepped by 3600" in caplog.text


def test_a_leader_of_an_old_term_stops(database: Database) -> None:
    office = in_office(database)
    in_office(database)
    with pytest.raises(TermOver):
        office.turn()


def test_without_a_leader_one_worker_promotes_and_rescues(database: Database) -> None:
    worker = a_worker(database.session)
    enqueue(database.session, jobs.NewJob("mail", "{}", delay=timedelta(milliseconds=1)))
    assert stand_in(database.session, 100) == 1
    claim(database.session, worker)
    database.session.conn.execute("UPDATE pqclock.process SET beat_at = 'epoch'")
    assert stand_in(database.session, 100) == 1
    in_office(database).turn()
    assert stand_in(database.session, 100) is None
