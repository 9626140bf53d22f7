"""Rules, jobs behind gates and their claims, for the tests of the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pqclock.rules.job import Outcome
from pqclock.rules.pools import parse_pools
from pqclock.store import finishing
from pqclock.store.claiming import GatedClaim, claim_gated
from pqclock.store.database import Session
from pqclock.store.jobs import ClaimedJob
from store.samples import NOW

THROTTLE = """
INSERT INTO pqclock.rule (kind, name, source, updated_at, definition, rate, per, interval_ns, burst, concurrency)
VALUES ('throttle', %(name)s, 'api', %(now)s, '{}', %(rate)s, %(per)s::interval,
        CASE WHEN %(rate)s::bigint IS NOT NULL
             THEN ceil(extract(epoch FROM %(per)s::interval) * 1000000000 / (%(rate)s - %(burst)s + 1)) END,
        CASE WHEN %(rate)s::bigint IS NOT NULL THEN %(burst)s END, %(concurrency)s)
ON CONFLICT (kind, name) DO UPDATE
SET rate = excluded.rate, interval_ns = excluded.interval_ns, burst = excluded.burst, concurrency = excluded.concurrency
"""
FUSE = """
INSERT INTO pqclock.rule (kind, name, source, updated_at, definition, failures, failure_rate, minimum, within, cool_down,
                          max_cool_down, probes, only_names, ignored_names)
VALUES ('fuse', %(name)s, 'api', %(now)s, '{}', %(failures)s, %(failure_rate)s, %(minimum)s, %(within)s::interval,
        %(cool_down)s::interval, %(max_cool_down)s::interval, %(probes)s, %(only)s, %(ignore)s)
"""
JOBS = """
WITH j AS (
    INSERT INTO pqclock.job (id, ready_seq, run_at, created_at, state, priority, max_attempts, queue, task, args, labels,
                             lane, gates, units)
    SELECT nextval('pqclock.job_id'), nextval('pqclock.ready_seq'), %(now)s, %(now)s, 'ready', %(priority)s, 5, %(queue)s::text,
           %(task)s::text, %(args)s, %(labels)s,
           md5(%(queue)s::text || %(task)s::text || %(units)s::bigint || array_to_string(%(gates)s::text[], '|'))::uuid,
           %(gates)s, %(units)s::bigint
    FROM generate_series(1, %(count)s) RETURNING *
)
INSERT INTO pqclock.arrival (lane, queue, task, gates, units, priority)
SELECT DISTINCT lane, queue, task, gates, units, priority FROM j
"""


def throttle(
    session: Session,
    name: str,
    rate: int | None = None,
    per: str = "1 minute",
    burst: int | None = None,
    concurrency: int | None = None,
) -> None:
    """Declare a throttle; the default burst is that of the files."""
    burst = burst if burst is not None else 1 + (rate or 0) * 4 // 100
    params = {"name": name, "rate": rate, "per": per, "burst": burst, "concurrency": concurrency, "now": NOW}
    session.conn.execute(THROTTLE, params)


def fuse(session: Session, name: str, **terms: Any) -> None:
    """Declare a fuse that trips at 3 failures in a minute, for five minutes, unless `terms` say otherwise."""
    known = {
        "failures": 3, "failure_rate": None, "minimum": None, "within": "1 minute", "cool_down": "5 minutes",
        "max_cool_down": "1 hour", "probes": 1, "only": None, "ignore": None,
    }  # fmt: skip
    session.conn.execute(FUSE, {**known, **terms, "name": name, "now": NOW})


def enqueue_gated(
    session: Session,
    *gates: str,
    count: int = 1,
    units: int = 1,
    queue: str = "default",
    task: str = "mail",
    priority: int = 0,
    labels: Sequence[str] = (),
    args: str = "{}",
) -> None:
    """Ready jobs that pass these gates."""
    params = {
        "gates": sorted(gates),
        "count": count,
        "units": units,
        "queue": queue,
        "task": task,
        "priority": priority,
    }
    session.conn.execute(JOBS, {**params, "labels": list(labels), "args": args, "now": NOW})


def claim(
    session: Session,
    room: int = 100,
    now: datetime | None = NOW,
    *,
    pool: str = "*",
    tasks: Sequence[str] = ("mail",),
    lease: int = 1,
    worker_id: int = 1,
    odd: bool = True,
) -> GatedClaim:
    """One claim of gated jobs."""
    (one,) = parse_pools(pool)
    return claim_gated(session, one, tasks, room, worker_id=worker_id, lease=lease, odd=odd, now=now)


def end(
    session: Session, job: ClaimedJob, outcome: str, now: datetime, *names: str, state: str | None = None, **more: Any
) -> bool:
    """Finish a run; with the names of the exception's classes."""
    state = state or {"succeeded": "succeeded", "failed": "failed", "cancelled": "cancelled"}.get(outcome, "ready")
    written = Outcome(job.id, job.lease, state, outcome, gated=True, error_names=names)._replace(**more)
    return finishing.finish(session, [written], worker_id=1, now=now) == {job.id}
