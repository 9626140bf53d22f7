"""A database with something of everything, for the pages to show; `text` is in every field that takes any text."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pqclock.clock.applier import apply
from pqclock.rules.schedule import Schedule
from pqclock.store import alarms, audit, gates, pauses, runtime
from pqclock.store.database import Session
from store.gated import enqueue_gated, fuse, throttle

SCHEDULES = (
    Schedule("nightly-report", "report.build", cron="0 2 * * *", timezone="Europe/Berlin"),
    Schedule("sync-accounts", "accounts.sync", cron="*/15 * * * *"),
    Schedule("heartbeat", "beat", every=timedelta(seconds=30)),
    Schedule("invoices", "invoices.send", cron="0 9 1 * *", timezone="America/New_York"),
    Schedule("archived", "archive", cron="0 0 * * *", enabled=False),
)  # fmt: skip

# Sixty ticks of each, with what may become of them.
TICKS = """
INSERT INTO pqclock.tick (schedule_id, tick, through, count, nominal, outcome, reason, origin, job_id, inserted_at)
SELECT s.id, x.at, x.at, 1, x.at, CASE n % 20 WHEN 7 THEN 'skipped' WHEN 11 THEN 'coalesced' ELSE 'inserted' END,
       CASE n % 20 WHEN 7 THEN %(text)s WHEN 11 THEN 'missed' END, 'clock',
       CASE WHEN n % 20 IN (7, 11) THEN NULL ELSE 100000 * s.id + n END, x.at - interval '1 minute'
FROM pqclock.schedule AS s, generate_series(1, 60) AS n,
     LATERAL (SELECT date_trunc('second', now()) - n * interval '15 minutes' AS at) AS x
WHERE s.key <> 'archived'
""".replace(" % ", " %% ")
HISTORY = """
INSERT INTO pqclock.job_history (id, state, queue, task, args, priority, labels, run_at, attempt, max_attempts, schedule_id,
                                 tick, created_at, started_at, finished_at, error)
SELECT t.job_id, CASE WHEN t.job_id % 13 = 0 THEN 'failed' ELSE 'succeeded' END, 'default', s.definition->>'task', %(args)s, 0,
       ARRAY[%(word)s], t.tick, 1, 3, t.schedule_id, t.tick, t.inserted_at,
       t.tick + CASE WHEN t.job_id % 17 = 0 THEN interval '90 s' ELSE interval '12 ms' END,
       t.tick + interval '2 minutes' + (t.job_id % 7) * interval '3 s', CASE WHEN t.job_id % 13 = 0 THEN %(text)s END
FROM pqclock.tick AS t JOIN pqclock.schedule AS s ON s.id = t.schedule_id WHERE t.job_id IS NOT NULL
""".replace(" % ", " %% ")
ATTEMPTS = """
INSERT INTO pqclock.attempt (job_id, attempt, outcome, started_at, finished_at, error_type, error, traceback, worker_id)
SELECT h.id, 1, 'failed', h.started_at, h.finished_at, %(text)s, %(text)s, %(text)s, 1
FROM pqclock.job_history AS h WHERE h.state = 'failed'
"""
LIVE = """
INSERT INTO pqclock.job (id, ready_seq, run_at, created_at, started_at, worker_id, lease, state, priority, attempt, max_attempts,
                         queue, task, args, labels, error, unique_key, unique_until, checkpoint)
SELECT nextval('pqclock.job_id'), CASE WHEN s.state <> 'scheduled' THEN nextval('pqclock.ready_seq') END,
       CASE WHEN s.state = 'scheduled' THEN now() + n * interval '7 minutes' ELSE now() - n * interval '11 s' END, now(),
       CASE WHEN s.state = 'running' THEN now() - interval '5 s' END, CASE WHEN s.state = 'running' THEN %(worker)s::bigint END,
       CASE WHEN s.state = 'running' THEN 1 END, s.state::pqclock.live_state, n % 3, (s.state = 'running')::int, 3,
       (ARRAY['default', 'mice', 'latency_15m'])[n % 3 + 1], %(task)s, %(args)s, ARRAY[%(word)s], %(text)s,
       %(text)s || n || s.state, 'finished',
       CASE WHEN s.state = 'running' THEN '{"done": 1200, "total": 5000, "spent": 60}'::jsonb END
FROM (VALUES ('scheduled'), ('ready'), ('running')) AS s (state), generate_series(1, 4) AS n
""".replace(" % ", " %% ")
PROCESSES = """
INSERT INTO pqclock.process (kind, pid, host, code_version, doing, started_at, beat_at, skew)
VALUES ('clock', 11, %(text)s, %(text)s, '', now() - interval '3 hours', now(), 0.0042),
       ('clock', 12, 'box-2', '1.0', '', now() - interval '1 hour', now(), -0.9),
       ('worker', 13, 'box-1', '1.0', '*:8;mice:2', now() - interval '2 days', now(), NULL),
       ('worker', 14, 'box-2', '0.9', %(text)s, now(), now() - interval '10 minutes', NULL)
RETURNING id
"""
LEADER = (
    "UPDATE pqclock.leader SET epoch = 7, process_id = %(id)s, elected_at = now() - interval '3 hours', beat_at = now()"
)
TASK = """
INSERT INTO pqclock.task (name, queue, priority, max_attempts, labels, arg_defaults, options, code_version, published_at)
VALUES (%(task)s, 'default', 0, 3, ARRAY[%(word)s], '{}', '{}', %(text)s, now())
"""


@dataclass(frozen=True)
class Seed:
    """Ids of what was made."""

    running: int
    ready: int
    scheduled: int
    failed: int
    succeeded: int


def fill(
    session: Session, text: str = "the bank did not answer", word: str = "finance", task: str = "mail.send"
) -> Seed:
    """Fill a migrated database; gives one job of each state."""
    _schedules(session, text)
    args = json.dumps({"to": "ada@example.org", text: text, "ids": [1, 2]})
    values: dict[str, Any] = {"text": text, "word": word, "task": task, "args": args}
    for statement in (TICKS, HISTORY, ATTEMPTS):
        session.conn.execute(statement.encode(), values)
    rows = session.conn.execute(PROCESSES.encode(), values).fetchall()
    session.conn.execute(LEADER.encode(), {"id": rows[0][0]})
    session.conn.execute(LIVE.encode(), {**values, "worker": rows[2][0]})
    session.conn.execute(TASK.encode(), values)
    session.conn.execute("SELECT setval('pqclock.job_id', max(id)) FROM pqclock.jobs")
    _gates(session, text)
    pauses.pause(session, "queue", "mice", None, text)
    pauses.pause(session, "task", task, None, text)
    pauses.pause(session, "label", word, None, text)
    alarms.write_slos(session, "other", {"default": "7m"})
    alarms.begin(session, "missed", "nightly-report", text)
    for news in alarms.claim_untold(session):
        alarms.not_told(session, news, f"alarm_ping: {text}")
    alarms.begin(session, "slo", "mice", text)
    alarms.begin(session, "silence", "", text)
    alarms.end(session, "silence", "")
    deed = audit.begin(session, actor=text, origin=text, action=text, target=text, note=text)
    audit.close(session, deed, text)
    return Seed(*(_one_of(session, state) for state in ("running", "ready", "scheduled", "failed", "succeeded")))


def _schedules(session: Session, text: str) -> None:
    apply(session, "default", "hash", [_placed(one, text) for one in SCHEDULES], explicit=True)
    runtime.pause(session, "sync-accounts", None, text)
    session.conn.execute("UPDATE pqclock.schedule SET fault = %s, note = %s WHERE key = 'invoices'", (text, text))


def _placed(schedule: Schedule, text: str) -> Schedule:
    if schedule.key == "heartbeat":
        # One that has nothing but what it must have.
        return schedule
    return replace(schedule, source=f"{text}.toml:3", args={"text": text}, description=text)


def _gates(session: Session, text: str) -> None:
    throttle(session, "stripe", rate=100, per="1 minute", concurrency=3)
    fuse(session, "bank")
    enqueue_gated(session, f"throttle:stripe:{text}", count=3, task="charge")
    enqueue_gated(session, "fuse:bank:acct", count=2, task="transfer")
    gates.blow(session, "bank:acct", None, text)
    gates.cool(session, f"stripe:{text}", timedelta(hours=1), text)
    session.conn.execute(
        "INSERT INTO pqclock.fuse_failure SELECT g.id, now(), 5, %s, %s FROM pqclock.gate AS g WHERE g.kind = 'fuse'",
        (text, text),
    )
    session.conn.execute("UPDATE pqclock.rule SET source = %s, definition = %s", (text, json.dumps({text: text})))


def _one_of(session: Session, state: str) -> int:
    row = session.conn.execute("SELECT max(id) FROM pqclock.jobs WHERE state = %s", (state,)).fetchone()
    assert row is not None
    return int(row[0])
