"""The hot statements find the indexes that are named for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pqclock.clock.caretaker import SLICE
from pqclock.clock.leader import PROMOTE_SLICE
from pqclock.store.database import query
from pqclock.store.jobs import CRASH_LIMIT, LEASE_LENGTH
from store.samples import DAY, NOW

if TYPE_CHECKING:
    from conftest import Database

# 20,000 jobs of each live state, due one a second; a hundred queues, a hundred workers; every tenth expires.
JOBS = """
INSERT INTO pqclock.job (id, ready_seq, run_at, created_at, expires_at, worker_id, lease, state, priority, max_attempts,
                         queue, task, args, labels)
SELECT n, n, %(now)s + n * interval '1 s', %(now)s, CASE WHEN n % 10 = 0 THEN %(now)s + n * interval '1 s' END,
       CASE WHEN n % 3 = 0 THEN n % 100 END, CASE WHEN n % 3 = 0 THEN n END,
       (ARRAY['running', 'ready', 'scheduled'])[n % 3 + 1]::pqclock.live_state, n % 5, 1,
       'q' || n % 100, 'mail', '{}', '{}'
FROM generate_series(1, 60000) AS n
""".replace(" % ", " %% ")
SCHEDULES = """
INSERT INTO pqclock.schedule (key, source, state, definition, planned_to, watermark, next_tick, plan_at,
                              created_at, updated_at)
SELECT 'k' || n, '', 'active', '{}', %(now)s, %(now)s, %(now)s + n * interval '1 s',
       %(now)s + n * interval '1 s', %(now)s, %(now)s
FROM generate_series(1, 20000) AS n
"""
PROCESSES = """
INSERT INTO pqclock.process (kind, pid, host, code_version, started_at, beat_at)
SELECT 'worker', n, 'box', '1', %(now)s, %(now)s FROM generate_series(1, 100) AS n
"""
CLAIM = {"tasks": ["mail"], "limit": 10, "worker_id": 1, "lease": 1, "now": NOW}
CURSORS = '[{"schedule_id": 7, "version": 1, "planned_from": "2026-11-22T12:00Z", "planned_to": "2026-11-22T13:00Z"}]'
NONE_BROKEN: dict[str, Any] = {"broken_ids": [], "broken_versions": []}

HOT: list[tuple[str, dict[str, Any], str]] = [
    ("jobs.claim_any", {**CLAIM, "excluded": []}, "job_claim_any"),
    ("jobs.claim_queues", {**CLAIM, "queues": ["q1", "q2"]}, "job_claim_queue"),
    ("jobs.promote", {"limit": PROMOTE_SLICE, "now": NOW, "release": False}, "job_promote"),
    ("jobs.promote", {"limit": PROMOTE_SLICE, "now": NOW, "release": True}, "job_release"),
    ("schedules.unfinished", {"ids": [7, 8]}, "job_of_schedule"),
    ("jobs.expire", {"limit": SLICE, "now": NOW}, "job_expire"),
    ("jobs.finish", {"outcomes": "[]", "worker_id": 1, "now": NOW}, "job_pkey"),
    ("jobs.result", {"id": 7}, "job_pkey"),
    ("schedules.due", {"before": NOW + DAY, "limit": 200, **NONE_BROKEN}, "schedule_plan"),
    ("schedules.earliest", NONE_BROKEN, "schedule_plan"),
    ("schedules.insert_ticks", {"epoch": 1, "cursors": CURSORS, "entries": "[]", "now": NOW}, "schedule_pkey"),
]


def explained(database: Database, statement: str, params: dict[str, Any]) -> str:
    text = b"EXPLAIN " + query(statement, "pqclock")
    return "\n".join(line for (line,) in database.session.conn.execute(text, params))


def test_hot_statements_walk_their_indexes(database: Database) -> None:
    for fill in (JOBS, SCHEDULES, PROCESSES):
        database.session.conn.execute(fill.encode(), {"now": NOW})
    database.session.conn.execute("ANALYZE pqclock.job, pqclock.schedule, pqclock.process")
    for statement, params, index in HOT:
        plan = explained(database, statement, params)
        assert f"using {index} on" in plan, f"{statement}\n{plan}"
        assert "Seq Scan on job" not in plan, f"{statement}\n{plan}"
        assert "Seq Scan on schedule" not in plan, f"{statement}\n{plan}"


def test_a_rescue_reads_only_what_runs(database: Database) -> None:
    database.session.conn.execute((JOBS + " WHERE n %% 3 <> 0 OR n < 1000").encode(), {"now": NOW})
    database.session.conn.execute("ANALYZE pqclock.job")
    params = {"lease_length": LEASE_LENGTH, "crash_limit": CRASH_LIMIT, "limit": SLICE, "now": NOW, "silent_too": True}
    assert " job_rescue" in explained(database, "jobs.rescue", params)
