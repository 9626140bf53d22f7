"""The planner at work on a real server: what is locked, what is much, what was published late."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pqclock.clock.applier import apply
from pqclock.clock.pace import Pace
from pqclock.clock.planner import Planner
from pqclock.rules.schedule import Schedule
from pqclock.store import jobs, leadership, tasks
from pqclock.store.database import STATEMENT_TOO_LONG
from store.samples import HOUR, MINUTE, NOW, SECOND

if TYPE_CHECKING:
    from conftest import Database

SECONDLY = Schedule("s-0", "mail", cron="* * * * * *")


def put(database: Database, *schedules: Schedule) -> Planner:
    """Apply schedules at NOW; gives a planner in office."""
    apply(database.session, "default", "1", schedules, explicit=True, now=NOW)
    return Planner(database.session, leadership.elect(database.session, 1, NOW))


def test_a_schedule_that_somebody_holds_is_left_for_later_and_the_others_go_on(database: Database) -> None:
    office = put(database, replace(SECONDLY, key="held"), replace(SECONDLY, key="free"))
    other = database.connect()
    try:
        with other.transaction():
            other.conn.execute("SELECT 1 FROM pqclock.schedule WHERE key = 'held' FOR UPDATE")
            begun = time.monotonic()
            planned = office.step(NOW)
            assert time.monotonic() - begun < 1.0
        assert planned.inserted == 60
        assert not office.step(NOW).more
        assert planned.plan_again_at is not None
        assert NOW < planned.plan_again_at < NOW + SECOND
        assert office.step(planned.plan_again_at).inserted == 60
    finally:
        other.close()


def test_a_long_outage_is_worked_off_in_short_steps(database: Database) -> None:
    office = put(database, *(replace(SECONDLY, key=f"s-{n}") for n in range(120)))
    after = NOW + 12 * HOUR
    longest, steps = 0.0, 0
    more = True
    while more:
        begun = time.monotonic()
        more = office.step(after).more
        longest, steps = max(longest, time.monotonic() - begun), steps + 1
    # A session of the leader that says nothing for 6 s loses its lock.
    assert longest < 3.0
    assert steps > 1
    missed = database.value("SELECT sum(count) FROM pqclock.tick WHERE outcome <> 'inserted'")
    inserted = database.value("SELECT count(*) FROM pqclock.tick WHERE outcome = 'inserted'")
    assert isinstance(missed, object)
    # The end of the horizon may be planned a little later.
    planned = database.value("SELECT sum(extract(epoch FROM planned_to - %s))::bigint FROM pqclock.schedule", NOW)
    assert isinstance(planned, int)
    assert int(str(missed)) + int(str(inserted)) == planned
    assert planned > 120 * (12 * 3600 + 30)
    caught_up = "SELECT count(*) FROM pqclock.tick WHERE origin = 'catch_up' AND outcome = 'inserted'"
    assert database.value(caught_up) == 120


def test_after_a_statement_that_took_too_long_the_slices_are_smaller() -> None:
    pace = Pace()
    before = pace.rows
    for _ in range(2):
        with pytest.raises(STATEMENT_TOO_LONG), pace.measured(100, 10):
            raise STATEMENT_TOO_LONG
    assert pace.budget().rows == before // 4


def test_a_task_that_is_published_late_still_gives_its_defaults_to_ticks_inserted_before(database: Database) -> None:
    office = put(
        database, Schedule("early", "mail", every=20 * SECOND), Schedule("own", "mail", every=MINUTE, queue="q")
    )
    office.step(NOW)
    assert database.rows("SELECT DISTINCT queue FROM pqclock.job ORDER BY 1") == [("default",), ("q",)]
    published = {"name": "mail", "queue": "letters", "priority": 3, "max_attempts": 4, "labels": ["post"]}
    more = {"arg_defaults": {}, "options": {}, "code_version": ""}
    # Published only, as by a process that ended between the two statements: promotion makes up for it.
    database.session.run("tasks.publish", **tasks.publication([{**published, **more}])).fetchall()
    jobs.promote(database.session, 100, NOW + 20 * SECOND)
    fields = "SELECT queue, priority, max_attempts, labels FROM pqclock.job WHERE state = %s ORDER BY id"
    assert database.rows(fields, "ready") == [("letters", 3, 4, ["post"])]
    tasks.publish(database.session, [{**published, **more, "priority": 5}])
    assert database.rows(fields, "ready") == [("letters", 5, 4, ["post"])]
    assert database.rows("SELECT DISTINCT queue, max_attempts FROM pqclock.job ORDER BY 1") == [
        ("letters", 4),
        ("q", 4),
    ]
