"""The hot statements find the indexes that are named for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pqclock.alarms import LATE
from pqclock.clock.caretaker import SLICE
from pqclock.clock.leader import PROMOTE_SLICE
from pqclock.rules.explaining import MOST_AHEAD
from pqclock.rules.pools import parse_pools
from pqclock.store.claiming import claim_gated
from pqclock.store.database import query
from pqclock.store.jobs import CRASH_LIMIT, LEASE_LENGTH
from pqclock.store.pauses import HELD_AT_ONCE, SEEN_AT_ONCE
from pqclock.worker.claims import CLAIM_LIMIT
from store.gated import enqueue_gated, throttle
from store.samples import DAY, MINUTE, NOW

if TYPE_CHECKING:
    from conftest import Database

# A million jobs, a third in each live state, due one a second; a hundred queues and workers; every tenth expires.
JOBS = """
INSERT INTO pqclock.job (id, ready_seq, run_at, created_at, expires_at, worker_id, lease, state, priority, max_attempts,
                         queue, task, args, labels, schedule_id, watched)
SELECT n, n, %(now)s + n * interval '1 s', %(now)s, CASE WHEN n % 10 = 0 THEN %(now)s + n * interval '1 s' END,
       CASE WHEN n % 3 = 0 THEN n % 100 END, CASE WHEN n % 3 = 0 THEN n END,
       (ARRAY['running', 'ready', 'scheduled'])[n % 3 + 1]::pqclock.live_state, n % 5, 1,
       'q' || n % 100, 'mail', '{}', '{}', n % 1000, n % 50 = 0
FROM generate_series(1, %(count)s) AS n
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
CLAIM = {"tasks": ["mail"], "limit": 10, "worker_id": 1, "lease": 1, "low": 100, "now": NOW}
ENDED = {"ids": "{7,8}", "leases": "{1,1}"}
CURSORS = '[{"schedule_id": 7, "version": 1, "planned_from": "2026-11-22T12:00Z", "planned_to": "2026-11-22T13:00Z"}]'
NONE_BROKEN: dict[str, Any] = {"broken_ids": [], "broken_versions": []}

HOT: list[tuple[str, dict[str, Any], str]] = [
    ("jobs.claim_any", CLAIM, "job_claim_any"),
    ("jobs.claim_others", {**CLAIM, "excluded": ["q1"]}, "job_claim_any"),
    ("jobs.claim_others", {**CLAIM, "excluded": ["q1"]}, "job_claim_queue"),
    ("jobs.claim_queue", {**CLAIM, "queue": "q1"}, "job_claim_queue"),
    ("jobs.claim_queue", {**CLAIM, "queue": "q1", "limit": CLAIM_LIMIT}, "job_claim_queue"),
    ("jobs.claim_queues", {**CLAIM, "queues": ["q1", "q2"]}, "job_claim_queue"),
    ("jobs.promote", {"limit": PROMOTE_SLICE, "now": NOW, "release": False}, "job_promote"),
    ("jobs.promote", {"limit": PROMOTE_SLICE, "now": NOW, "release": True}, "job_release"),
    ("alarms.oldest_ready", {"limit": 1_000, "now": NOW}, "job_claim_queue"),
    ("alarms.oldest_ready", {"limit": 1_000, "now": NOW}, "job_claim_lane"),
    ("alarms.judge_schedules", {"limit": 500, "now": NOW}, "promise_look"),
    ("backlog.queues", {"limit": 50, "after": "", "most": 10_000, "names": 2_000}, "job_claim_queue"),
    ("backlog.queues", {"limit": 50, "after": "", "most": 10_000, "names": 2_000}, "job_promote"),
    ("backlog.queues", {"limit": 50, "after": "", "most": 10_000, "names": 2_000}, "job_await"),
    ("schedules.unfinished", {"ids": [7, 8]}, "job_of_schedule"),
    ("jobs.expire", {"limit": SLICE, "now": NOW}, "job_expire"),
    ("jobs.drop_expired_keys", {"limit": SLICE, "now": NOW}, "unique_key_expire"),
    ("low_water.lowest_any", {"low": 100}, "job_claim_any"),
    ("low_water.lowest_queues", {"low": 100, "queues": ["q1", "q2"]}, "job_claim_queue"),
    ("finishing.finish_plain", ENDED, "job_pkey"),
    ("finishing.finish_plain_kept", {**ENDED, "base": NOW, "began": "{0,0}", "ended": "{1,1}"}, "job_pkey"),
    ("finishing.finish", {"outcomes": "[]", "worker_id": 1, "now": NOW}, "job_pkey"),
    ("jobs.result", {"id": 7}, "job_pkey"),
    ("schedules.due", {"before": NOW + DAY, "limit": 200, "ahead": MINUTE, **NONE_BROKEN}, "schedule_plan"),
    ("schedules.earliest", NONE_BROKEN, "schedule_plan"),
    ("schedules.insert_ticks", {"epoch": 1, "cursors": CURSORS, "entries": "[]", "now": NOW}, "schedule_pkey"),
    ("explaining.job", {"id": 7, "most": MOST_AHEAD}, "job_claim_queue"),
    ("explaining.job", {"id": 7, "most": MOST_AHEAD}, "job_claim_lane"),
    (
        "pauses.hold",
        {"again_after": MINUTE, "most_seen": SEEN_AT_ONCE, "most_held": HELD_AT_ONCE, "now": NOW},
        "job_pkey",
    ),
    ("leadership.pulse", {"late": LATE}, "schedule_plan"),
]


def explained(database: Database, statement: str, params: dict[str, Any]) -> str:
    text = b"EXPLAIN " + query(statement, "pqclock")
    return "\n".join(line for (line,) in database.session.conn.execute(text, params))


def test_hot_statements_walk_their_indexes(database: Database) -> None:
    for fill in (JOBS, SCHEDULES, PROCESSES):
        database.session.conn.execute(fill.encode(), {"now": NOW, "count": 1_000_000})
    database.session.conn.execute("ANALYZE pqclock.job, pqclock.schedule, pqclock.process")
    for statement, params, index in HOT:
        plan = explained(database, statement, params)
        assert f"using {index} on" in plan or f"Scan on {index} " in plan, f"{statement}\n{plan}"
        assert "Seq Scan on job " not in plan, f"{statement}\n{plan}"
        assert "Seq Scan on schedule " not in plan, f"{statement}\n{plan}"


def test_the_look_for_a_late_schedule_reads_only_late_ones(database: Database) -> None:
    database.session.conn.execute(SCHEDULES.encode(), {"now": NOW})
    database.session.conn.execute("ANALYZE pqclock.schedule")
    assert "Index Cond: (plan_at < " in explained(database, "leadership.pulse", {"late": LATE})


def test_a_rescue_reads_only_what_runs(database: Database) -> None:
    database.session.conn.execute((JOBS + " WHERE n %% 3 <> 0 OR n < 1000").encode(), {"now": NOW, "count": 60_000})
    database.session.conn.execute("ANALYZE pqclock.job")
    params = {"lease_length": LEASE_LENGTH, "crash_limit": CRASH_LIMIT, "limit": SLICE, "now": NOW, "silent_too": True}
    assert " job_rescue" in explained(database, "jobs.orphans", params)


# Four days of ticks, a hundred a day for each of 200 schedules, and their jobs.
TICKS = """
INSERT INTO pqclock.tick
SELECT s.id, x, x, 1, x, 'inserted', NULL, 'clock', 1000 * s.id + n, x - interval '1 minute'
FROM pqclock.schedule AS s, generate_series(0, 399) AS n, LATERAL (SELECT %(now)s - n * interval '864 s' AS x) AS t
WHERE s.id <= 200
"""
HISTORY = """
INSERT INTO pqclock.job_history (id, state, queue, task, args, priority, labels, run_at, attempt, max_attempts, schedule_id,
                                 tick, created_at, started_at, finished_at)
SELECT t.job_id, 'succeeded', 'q', 'mail', '{}', 0, '{}', t.tick, 1, 1, t.schedule_id, t.tick, t.inserted_at, t.tick,
       t.tick + interval '1 s'
FROM pqclock.tick AS t
"""
DAYS = """
SELECT pqclock.create_day_partition(w.parent, w.instant, w.day)
FROM pqclock.wanted_partitions(%(now)s::date - 5, %(now)s::date) AS w
"""


def test_the_last_ticks_of_a_page_of_schedules_are_read_by_index(database: Database) -> None:
    for fill in (DAYS, SCHEDULES, TICKS, HISTORY):
        database.session.conn.execute(fill.encode(), {"now": NOW})
    database.session.conn.execute("ANALYZE pqclock.tick, pqclock.job_history, pqclock.schedule")
    keys = [f"k{number}" for number in range(1, 51)]
    plan = explained(database, "listings.due_ticks", {"keys": keys, "limit": 1, "now": NOW})
    day = f"{NOW - DAY:%Y%m%d}"
    assert "Scan on one_schedule_per_key" in plan or "using one_schedule_per_key on" in plan, plan
    assert f"Index Scan Backward using tick_{day}_pkey on tick_{day}" in plan, plan
    assert "Seq Scan on tick_2" not in plan, plan
    ids = [1000 * number + 1 for number in range(1, 51)]
    plan = explained(database, "listings.runs", {"ids": ids, "since": NOW - DAY})
    assert f"job_history_succeeded_{day}_id_idx" in plan, plan
    # The days before are not looked into.
    assert f"job_history_succeeded_{NOW - 2 * DAY:%Y%m%d}" not in plan
    assert f"Seq Scan on job_history_succeeded_{day}" not in plan


def test_what_a_claim_does_at_gates_walks_its_indexes(database: Database) -> None:
    session = database.session
    session.conn.execute(JOBS.encode(), {"now": NOW, "count": 1_000_000})
    session.conn.execute("SELECT setval('pqclock.job_id', 1000001), setval('pqclock.ready_seq', 1000001)")
    throttle(session, "bank", concurrency=1)
    for key in range(200):
        enqueue_gated(session, f"throttle:bank:{key}", count=50)
    session.conn.execute("ANALYZE pqclock.job, pqclock.lane, pqclock.gate")
    claim_gated(session, parse_pools("*")[0], ["mail"], 10, worker_id=1, lease=5)
    # Its statements are inside of functions: the server tells their plans as it runs them.
    session.conn.execute("LOAD 'auto_explain'")
    session.conn.execute(
        "SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; SET client_min_messages = log"
    )
    told: list[str] = []
    session.conn.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
    assert claim_gated(session, parse_pools("*")[0], ["mail"], 50, worker_id=1, lease=6).jobs
    for index in ("job_claim_lane on job", "job_pkey on job", "lane_serve on lane"):
        assert any(index in plan for plan in told), index
    for plan in told:
        assert "Seq Scan on job " not in plan, plan
