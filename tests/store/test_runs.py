"""The last ticks of schedules, where their jobs stand, and how late and how long they were."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pqclock.store import schedules
from pqclock.store.lateness import percentile
from pqclock.store.runs import last_ticks, measure
from store.samples import DAY, HOUR, MINUTE, NOW, SECOND

if TYPE_CHECKING:
    from conftest import Database

TICK = """
INSERT INTO pqclock.tick (schedule_id, tick, through, nominal, outcome, reason, origin, job_id, inserted_at)
SELECT id, %(tick)s, %(tick)s, %(tick)s, %(outcome)s, %(reason)s, 'clock', %(job_id)s, %(tick)s - interval '1 minute'
FROM pqclock.schedule WHERE key = %(key)s
"""
LIVE = """
INSERT INTO pqclock.job (id, ready_seq, run_at, created_at, started_at, worker_id, lease, state, attempt, max_attempts,
                         priority, queue, task, args, labels, error)
VALUES (%(id)s, 1, %(run_at)s, %(run_at)s, %(started_at)s, %(lease)s, %(lease)s, %(state)s, %(attempt)s, 3, 0, 'q', 't',
        '{}', '{}', %(error)s)
"""
ENDED = """
INSERT INTO pqclock.job_history (id, run_at, created_at, started_at, finished_at, state, attempt, max_attempts,
                                 priority, queue, task, args, labels, error)
VALUES (%(id)s, %(run_at)s, %(run_at)s, %(started_at)s, %(finished_at)s, %(state)s, %(attempt)s, 3, 0, 'q', 't', '{}',
        '{}', %(error)s)
"""


def add(database: Database, *keys: str) -> None:
    rows = [
        {"key": key, "source": "a.toml:1", "state": "active", "planned_to": NOW, "definition": {"task": "t"}}
        for key in keys
    ]
    schedules.add(database.session, "default", rows, NOW)


def tick(
    database: Database, key: str, at: datetime, job_id: int | None = None, state: str | None = None, **job: Any
) -> None:
    """A row of the ledger, and the job that it names."""
    outcome, reason = ("inserted", None) if job_id else ("skipped", "missed")
    ledger = {"key": key, "tick": at, "job_id": job_id, "outcome": outcome, "reason": reason}
    database.session.conn.execute(TICK, ledger)
    if state is not None:
        row: Mapping[str, Any] = {
            "id": job_id, "state": state, "run_at": at, "attempt": 1, "started_at": None, "finished_at": None,
            "error": None, "lease": 1 if state == "running" else None, **job,
        }  # fmt: skip
        database.session.conn.execute(ENDED if row["finished_at"] else LIVE, row)


def test_of_each_schedule_the_newest_tick_that_is_due(database: Database) -> None:
    add(database, "ahead", "failed", "gone", "never", "other", "running", "skipped")
    tick(database, "ahead", NOW - DAY, 1, "succeeded", started_at=NOW - DAY, finished_at=NOW - DAY + SECOND)
    tick(database, "ahead", NOW + MINUTE, 2, "scheduled")
    tick(database, "failed", NOW - 2 * DAY, 3, "succeeded", started_at=NOW, finished_at=NOW)
    tick(
        database, "failed", NOW - DAY, 4, "failed", attempt=3, run_at=NOW - HOUR, started_at=NOW - HOUR + 2 * SECOND,
        finished_at=NOW - HOUR + 5 * SECOND, error=" \n\tValueError: no\nmore",
    )  # fmt: skip
    tick(database, "gone", NOW - DAY, 5)
    tick(database, "other", NOW - DAY, 6)
    tick(database, "running", NOW, 7, "running", attempt=2, started_at=NOW + SECOND)
    tick(database, "skipped", NOW - DAY)
    found = last_ticks(database.session, ["ahead", "failed", "gone", "never", "running", "skipped"], now=NOW)
    assert {one.ledger.schedule_key: one.state for one in found} == {
        "ahead": "succeeded", "failed": "failed", "gone": "inserted", "running": "running", "skipped": "skipped"
    }  # fmt: skip
    ahead, failed, gone, running, skipped = found
    assert (ahead.ledger.tick, gone.run, skipped.run, skipped.ledger.reason) == (NOW - DAY, None, None, "missed")
    assert failed.run is not None and running.run is not None
    assert (failed.run.error, failed.run.attempt, failed.run.max_attempts) == ("ValueError: no", 3, 3)
    assert (failed.run.lateness, failed.run.duration) == (2 * SECOND, 3 * SECOND)
    assert (running.run.lateness, running.run.duration) == (SECOND, None)


def test_some_ticks_of_one_schedule_newest_first_and_measured(database: Database) -> None:
    add(database, "a")
    for number in range(1, 6):
        at = NOW - number * HOUR
        late = timedelta(milliseconds=number * 10)
        tick(database, "a", at, number, "succeeded", started_at=at + late, finished_at=at + late + number * SECOND)
    tick(database, "a", NOW, 6, "ready")
    found = last_ticks(database.session, ["a"], 5, NOW)
    assert [one.ledger.job_id for one in found] == [6, 1, 2, 3, 4]
    measured = measure(found)
    assert (measured.runs, measured.lateness_p50_ms, measured.duration_p50_ms) == (4, 25.0, 2500.0)
    assert measured.lateness_p99_ms == pytest.approx(39.7)
    assert last_ticks(database.session, []) == []
    assert measure([]).lateness_p50_ms is None


@pytest.mark.parametrize("share", [0, 0.25, 0.5, 0.99, 1])
def test_percentiles_are_those_of_the_server(database: Database, share: float) -> None:
    values = [1.0, 2.0, 4.0, 8.0, 100.0]
    theirs = database.value(
        "SELECT percentile_cont(%s) WITHIN GROUP (ORDER BY v) FROM unnest(%s::float8[]) AS v", share, values
    )
    assert percentile(values, share) == pytest.approx(theirs)
