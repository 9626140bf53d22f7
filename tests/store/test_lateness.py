"""How late ticks were: a job counts once, by its first start."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pqclock.store import lateness, schedules
from store.samples import HOUR, NOW, SECOND

if TYPE_CHECKING:
    from conftest import Database

TICK = (
    "INSERT INTO pqclock.tick (schedule_id, tick, through, nominal, outcome, origin, job_id, inserted_at) "
    "SELECT id, %(tick)s, %(tick)s, %(tick)s, 'inserted', 'clock', %(job_id)s, %(tick)s FROM pqclock.schedule"
)
ATTEMPT = "INSERT INTO pqclock.attempt (job_id, attempt, outcome, started_at, finished_at) VALUES (%s, %s, %s, %s, %s)"


def test_a_job_that_was_snoozed_or_interrupted_counts_once(database: Database) -> None:
    row = {"key": "a", "source": "a.toml:1", "state": "active", "planned_to": NOW, "definition": {"task": "mail"}}
    schedules.add(database.session, "demo", [row], NOW)

    def attempt(job_id: int, number: int, outcome: str, started_at: datetime | None) -> None:
        database.session.conn.execute(ATTEMPT, (job_id, number, outcome, started_at, NOW + HOUR))

    for job_id in (1, 2):
        database.session.conn.execute(TICK, {"tick": NOW + job_id * SECOND, "job_id": job_id})
    attempt(1, 1, "interrupted", NOW + 31 * SECOND)
    attempt(1, 1, "snoozed", NOW + 2 * SECOND)
    attempt(1, 1, "failed", NOW + 61 * SECOND)
    attempt(1, 2, "succeeded", NOW + 91 * SECOND)
    attempt(2, 1, "crashed", None)
    attempt(2, 1, "succeeded", NOW + 5 * SECOND)
    found = lateness.summary(database.session, "demo", NOW, now=NOW + HOUR)
    assert (found.ticks_inserted, found.ticks_begun) == (2, 2)
    assert (found.lateness_p50_ms, found.lateness_max_ms) == (2000.0, 3000.0)
