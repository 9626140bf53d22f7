"""A backfill as a process, with workers that work it off."""

from __future__ import annotations

import signal
from datetime import timedelta

from conftest import Database
from pqclock.rules.schedule import Schedule
from pqclock.store import runtime, schedules
from processes.fleet import Fleet, eventually

MADE = "SELECT count(*) FROM pqclock.tick WHERE origin = 'backfill'"
DONE = "SELECT count(DISTINCT tick) FROM pqclock.jobs WHERE state = 'succeeded' AND tick IS NOT NULL"


def test_an_interrupted_backfill_is_run_again_and_workers_do_each_tick_once(fleet: Fleet, database: Database) -> None:
    now = schedules.database_now(database.session)
    fields = {"text": "{tick}"}
    runtime.put(database.session, [Schedule("minutes", "note", cron="* * * * *", args=dict(fields))])
    span = ("--from", (now - timedelta(minutes=300)).isoformat(), "--to", now.isoformat(), "--force", "--at-once", "5")
    # Nobody works: it stands when five jobs are there, until it is interrupted.
    first = fleet.start("schedules", "backfill", "minutes", *span)
    eventually(lambda: database.value(MADE) == 5)
    first.send_signal(signal.SIGINT)
    assert first.wait(10) == 130
    assert "schedule minutes: 5 of 300 jobs inserted; run it again to go on" in fleet.log_of(first)
    fleet.worker("*:4")
    second = fleet.start("schedules", "backfill", "minutes", *span, "--wait")
    assert second.wait(60) == 0
    assert "295 of 295 jobs inserted, 295 finished, 0 of them failed" in fleet.log_of(second)
    eventually(lambda: database.value(DONE) == 300)
    assert (database.value(MADE), database.value("SELECT count(*) FROM pqclock.attempt")) == (300, 300)
    texts = "SELECT count(DISTINCT args ->> 'text') FROM pqclock.jobs"
    assert database.value(texts) == 300
