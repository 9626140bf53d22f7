"""Ticks into the ledger and jobs into the queue: in one statement, under the term and the version, once for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pqclock.store import changing, leadership, schedules, tasks
from pqclock.store.schedules import Insertion, Reach, TickRow
from store.samples import HOUR, MINUTE, NOW, SECOND

if TYPE_CHECKING:
    from conftest import Database

LEDGER = (
    "SELECT tick, through, count, nominal, outcome, reason, origin, job_id, inserted_at FROM pqclock.tick ORDER BY 1"
)
CURSOR = "SELECT planned_to, next_tick, plan_at, watermark FROM pqclock.schedule"


class Planned:
    """A leader in office, and one schedule that is planned up to NOW."""

    def __init__(self, database: Database, **definition: Any) -> None:
        self.database = database
        self.epoch = leadership.elect(database.session, 1, now=NOW)
        looks = {"planned_to": NOW, "next_tick": None, "plan_at": NOW - MINUTE}
        row = {"key": "a", "source": "a.toml:1", "state": "active", **looks}
        schedules.add(database.session, "default", [{**row, "definition": {"task": "mail", **definition}}], NOW)
        (due,) = schedules.due(database.session, NOW, 10)
        self.reach = Reach(due.id, due.version, NOW, NOW + MINUTE, NOW + HOUR, NOW + MINUTE)

    def tick(self, at: datetime = NOW + SECOND, **more: Any) -> TickRow:
        row = TickRow(self.reach.schedule_id, at, at, 1, "inserted", None, "clock", run_at=at, args={"n": 1})
        return replace(row, **more)

    def insert(self, *ticks: TickRow, epoch: int | None = None, **reach: Any) -> Insertion:
        wanted = [replace(self.reach, **reach)]
        return schedules.insert_ticks(self.database.session, epoch or self.epoch, wanted, ticks, now=NOW)

    def untouched(self) -> bool:
        """Nothing was written: no ledger row, no job, no cursor."""
        counts = "SELECT (SELECT count(*) FROM pqclock.tick) + (SELECT count(*) FROM pqclock.job)"
        return self.database.value(counts) == 0 and self.database.rows(CURSOR) == [(NOW, None, NOW - MINUTE, NOW)]


def test_a_tick_becomes_a_row_of_the_ledger_and_a_job(database: Database) -> None:
    planned = Planned(database)
    tick = NOW + SECOND
    done = planned.insert(planned.tick(run_at=tick + SECOND, expires_at=tick + HOUR))
    assert done == Insertion(True, [planned.reach.schedule_id], 0, 1, tick + SECOND)
    job_id = database.value("SELECT id FROM pqclock.job")
    assert database.rows(LEDGER) == [(tick, tick, 1, tick, "inserted", None, "clock", job_id, NOW)]
    fields = "SELECT state::text, task, args, run_at, expires_at, tick, schedule_id, created_at FROM pqclock.job"
    assert database.rows(fields) == [
        ("scheduled", "mail", {"n": 1}, tick + SECOND, tick + HOUR, tick, planned.reach.schedule_id, NOW)
    ]
    assert database.rows(CURSOR) == [(NOW + MINUTE, NOW + HOUR, NOW + MINUTE, NOW)]


def test_ticks_that_are_left_out_have_rows_without_jobs(database: Database) -> None:
    planned = Planned(database)
    skipped = planned.tick(through=NOW + MINUTE, count=60, outcome="skipped", reason="missed", run_at=None, args=None)
    assert planned.insert(skipped, planned.tick(NOW + HOUR)).inserted == 1
    assert database.rows(LEDGER)[0] == (
        NOW + SECOND, NOW + MINUTE, 60, NOW + SECOND, "skipped", "missed", "clock", None, NOW,
    )  # fmt: skip
    assert database.value("SELECT count(*) FROM pqclock.job") == 1


def test_a_moved_tick_keeps_the_instant_that_it_came_from(database: Database) -> None:
    planned = Planned(database)
    planned.insert(planned.tick(NOW + HOUR, nominal=NOW + SECOND), planned.tick(NOW + MINUTE))
    assert database.rows("SELECT tick, nominal FROM pqclock.ticks ORDER BY 1") == [
        (NOW + MINUTE, NOW + MINUTE),
        (NOW + HOUR, NOW + SECOND),
    ]


def test_a_tick_is_inserted_once_for_ever(database: Database) -> None:
    planned = Planned(database)
    planned.insert(planned.tick())
    database.session.conn.execute("DELETE FROM pqclock.job")
    database.session.conn.execute("UPDATE pqclock.schedule SET planned_to = %s", [NOW])
    assert planned.insert(planned.tick(), planned.tick(NOW + MINUTE)) == Insertion(
        True, [planned.reach.schedule_id], 0, 1, NOW + MINUTE
    )
    assert database.rows("SELECT tick FROM pqclock.job") == [(NOW + MINUTE,)]


def test_a_term_that_is_over_writes_nothing(database: Database) -> None:
    planned = Planned(database)
    leadership.elect(database.session, 2, now=NOW)
    assert planned.insert(planned.tick()) == Insertion(False, [], 0, 0, None)
    assert planned.untouched()


@pytest.mark.parametrize("stale", [{"version": 2}, {"planned_from": NOW - SECOND}])
def test_a_schedule_that_moved_since_is_left_alone(database: Database, stale: dict[str, Any]) -> None:
    planned = Planned(database)
    assert planned.insert(planned.tick(), **stale) == Insertion(True, [], 0, 0, None)
    assert planned.untouched()


def test_a_schedule_that_is_not_active_is_left_alone(database: Database) -> None:
    planned = Planned(database)
    database.session.conn.execute("UPDATE pqclock.schedule SET state = 'disabled'")
    assert planned.insert(planned.tick()).moved == []
    assert planned.untouched()
    assert schedules.due(database.session, NOW, 10) == []
    assert schedules.earliest(database.session) is None


def test_ledger_job_and_cursor_fail_together(database: Database) -> None:
    planned = Planned(database)
    with pytest.raises(psycopg.errors.CheckViolation, match="args_are_an_object"):
        planned.insert(planned.tick(), planned.tick(NOW + MINUTE, args=[1]))
    assert planned.untouched()


def test_the_watermark_never_moves_back(database: Database) -> None:
    planned = Planned(database)
    database.session.conn.execute("UPDATE pqclock.schedule SET watermark = %s", [NOW + HOUR])
    planned.insert()
    assert database.rows(CURSOR) == [(NOW + MINUTE, NOW + HOUR, NOW + MINUTE, NOW + HOUR)]


TASK = {
    "name": "mail", "queue": "task", "priority": 2, "max_attempts": 2, "labels": ["task"],
    "arg_defaults": {}, "options": {}, "code_version": "1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("definition", "published", "fields"),
    [
        ({}, False, ("default", 0, 1, [])),
        ({}, True, ("task", 2, 2, ["task"])),
        ({"queue": "own", "priority": 0, "max_attempts": 9, "labels": ["own"]}, True, ("own", 0, 9, ["own"])),
        ({"labels": []}, True, ("task", 2, 2, [])),
    ],
)
def test_the_schedule_goes_before_the_task(
    database: Database, definition: dict[str, Any], published: bool, fields: tuple[object, ...]
) -> None:
    if published:
        tasks.publish(database.session, [TASK])
    planned = Planned(database, **definition)
    planned.insert(planned.tick())
    assert database.rows("SELECT queue, priority, max_attempts, labels FROM pqclock.job") == [fields]


def withdraw(database: Database) -> int:
    """Give all schedules a new version; how many ticks were taken back."""
    return changing.rewrite(database.session, changing.lock(database.session, ["a"]), NOW)


def test_a_withdrawal_takes_back_what_lies_ahead_and_has_not_begun(database: Database) -> None:
    planned = Planned(database)
    planned.insert(planned.tick(NOW), *(planned.tick(NOW + n * SECOND) for n in (1, 2, 3)))
    database.session.conn.execute(
        "UPDATE pqclock.job SET state = 'ready', ready_seq = 1 WHERE tick = %s", [NOW + 2 * SECOND]
    )
    assert withdraw(database) == 2
    kept = [(NOW,), (NOW + 2 * SECOND,)]
    assert database.rows("SELECT tick FROM pqclock.tick ORDER BY 1") == kept
    assert database.rows("SELECT tick FROM pqclock.job ORDER BY 1") == kept


def test_a_withdrawal_takes_back_what_was_left_out_ahead(database: Database) -> None:
    planned = Planned(database)
    gap = {"outcome": "skipped", "reason": "gap", "run_at": None, "args": None}
    planned.insert(planned.tick(NOW, **gap), planned.tick(NOW + SECOND, **gap))
    assert withdraw(database) == 0
    assert database.rows("SELECT tick FROM pqclock.tick") == [(NOW,)]


def test_the_due_come_in_slices_the_earliest_first(database: Database) -> None:
    rows = [
        {
            "key": f"k{n}",
            "source": "",
            "state": "active",
            "definition": {"task": "mail"},
            "planned_to": NOW,
            "next_tick": None,
            "plan_at": NOW - n * MINUTE,
        }
        for n in range(4)
    ]
    schedules.add(database.session, "default", rows, NOW)
    assert [row.key for row in schedules.due(database.session, NOW - MINUTE, 2)] == ["k3", "k2"]
    assert [row.key for row in schedules.due(database.session, NOW - MINUTE, 10)] == ["k3", "k2", "k1"]
    assert schedules.earliest(database.session) == NOW - 3 * MINUTE
