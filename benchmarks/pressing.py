"""What draining is like when there is much that is not to run: more of the same, what is scheduled, what is dead but
cannot be cleaned away, and what waits at gates."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import psycopg

from benchmarks import floor
from benchmarks.draining import drain, drain_floor, enqueue, run_floor, run_workers
from benchmarks.entering import pickup_times
from benchmarks.server import SCHEMA, Server
from benchmarks.suite import Figures, Goal, Workload
from pqclock import App
from pqclock.store import jobs
from pqclock.store.database import connect

MEASURED = 40_000
FEW, MANY = 50_000, 1_000_000
PROMOTED, SLICE = 10_000, 1_000
SCHEDULED = int(os.environ.get("PQCLOCK_BENCH_SCHEDULED", "10000000"))
THROUGH, DEAD = 150_000, 50_000
KEYED, KEYS = 20_000, 1_000
FREE, BLOCKED = 1_000, 100_000

# Of whole minutes in the next months; written as a dump would be, since it is not what is measured.
FILL_SCHEDULED = """
INSERT INTO pqclock.job (id, run_at, created_at, state, priority, max_attempts, queue, task, args, labels)
SELECT nextval('pqclock.job_id'), now() + interval '1 day' + n %% 100000 * interval '1 minute', now(), 'scheduled', 0, 1,
       'bench', 'bench.noop', '{}', '{}'
FROM generate_series(1, %s) AS n"""
FALL_DUE = """
UPDATE pqclock.job SET run_at = now() - interval '1 s' WHERE id = ANY(ARRAY(
    SELECT id FROM pqclock.job WHERE state = 'scheduled' AND NOT held ORDER BY run_at LIMIT %s))"""


def among_scheduled(server: Server, *, count: int) -> Figures:
    """Promotion of some of many scheduled jobs, slice by slice, and draining beside them."""
    with server.database() as url, tempfile.TemporaryDirectory() as folder:
        session = connect(url, SCHEMA, "bench")
        for first in range(0, count, 1_000_000):
            session.conn.execute(FILL_SCHEDULED.encode(), [min(1_000_000, count - first)])
        session.conn.execute(FALL_DUE.encode(), [PROMOTED])
        enqueue(url, "bench.noop", FEW)
        server.settle(url)
        spent = []
        for _ in range(PROMOTED // SLICE):
            began = time.perf_counter()
            jobs.promote(session, SLICE)
            spent.append(time.perf_counter() - began)
        session.close()
        figures = run_workers(server, url, Path(folder), FEW + PROMOTED)
        return {"promote_ms": statistics.median(spent) * 1e3, **figures}


def through(server: Server, *, snapshot: bool) -> Figures:
    """Many jobs worked off, while somebody may hold a snapshot from before."""
    with server.database() as url, tempfile.TemporaryDirectory() as folder:
        enqueue(url, "bench.noop", THROUGH)
        server.settle(url)
        with held_snapshot(url) if snapshot else _nothing():
            return run_workers(server, url, Path(folder), THROUGH)


def through_floor(server: Server, *, snapshot: bool) -> Figures:
    """The same for the floor."""
    with server.database() as url, tempfile.TemporaryDirectory() as folder:
        with psycopg.connect(url, autocommit=True) as conn:
            floor.copy(conn, THROUGH)
        server.settle(url)
        with held_snapshot(url) if snapshot else _nothing():
            return run_floor(server, url, Path(folder), THROUGH)


def pickup_after(server: Server, *, dead: int, of_floor: bool = False) -> Figures:
    """How soon single jobs begin when so many others are dead, and an old snapshot keeps their rows."""
    with server.database() as url, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if dead:
            stack.enter_context(held_snapshot(url))
            if of_floor:
                with psycopg.connect(url, autocommit=True) as conn:
                    floor.copy(conn, dead)
                run_floor(server, url, Path(folder), dead)
            else:
                enqueue(url, "bench.noop", dead)
                run_workers(server, url, Path(folder), dead)
        return pickup_times(url, of_floor=of_floor)


def drain_keyed(server: Server) -> Figures:
    """Jobs of many keys, of each of which one may run."""
    with server.database() as url, tempfile.TemporaryDirectory() as folder:
        app = App(url)
        app.rules.put("throttle.bench-key", concurrency=1)
        app.close()
        enqueue(url, "bench.keyed", KEYED, KEYS)
        server.settle(url)
        return run_workers(server, url, Path(folder), KEYED)


def shut(url: str) -> None:
    """Many jobs behind a gate that is closed, as a worker has left them."""
    app = App(url)
    app.rules.put("throttle.bench-shut", concurrency=1)
    app.gates.cool("bench-shut", "12h")
    app.close()
    enqueue(url, "bench.blocked", BLOCKED)


@contextmanager
def held_snapshot(url: str) -> Iterator[None]:
    """Somebody's transaction that has read something, and goes on."""
    with psycopg.connect(url) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.execute("SELECT count(*) FROM pqclock.job")
        yield
        conn.rollback()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


WORKLOADS = (
    Workload(
        "depth", "the first 40,000 jobs of 50,000 and of 1,000,000", "rate", "jobs/s",
        {
            "floor": partial(drain_floor, count=FEW, measured=MEASURED),
            "floor deep": partial(drain_floor, count=MANY, measured=MEASURED),
            "pqclock": partial(drain, count=FEW, measured=MEASURED, history="none"),
            "pqclock deep": partial(drain, count=MANY, measured=MEASURED, history="none"),
        },
        [Goal("pqclock deep", "rate", 0.95, against="pqclock")],
    ),
    Workload(
        "scheduled", f"promotion and draining beside 10,000 and {SCHEDULED:,} scheduled jobs", "rate", "jobs/s",
        {
            "few": partial(among_scheduled, count=2 * PROMOTED),
            "many": partial(among_scheduled, count=SCHEDULED),
        },
        [
            Goal("many", "promote_ms", 1.1, against="few", at_most=True),
            Goal("many", "rate", 0.95, against="few"),
        ],
    ),
    Workload(
        "snapshot", "150,000 jobs beside an old snapshot", "rate", "jobs/s",
        {
            "floor": partial(through_floor, snapshot=False), "floor old": partial(through_floor, snapshot=True),
            "pqclock": partial(through, snapshot=False), "pqclock old": partial(through, snapshot=True),
        },
        [Goal("pqclock old", "rate", 0.95, against="pqclock")],
    ),
    Workload(
        "dead", "pickup beside an old snapshot, after 50,000 jobs", "p50_ms", "ms",
        {
            "floor": partial(pickup_after, dead=0, of_floor=True),
            "floor after": partial(pickup_after, dead=DEAD, of_floor=True),
            "pqclock": partial(pickup_after, dead=0),
            "pqclock after": partial(pickup_after, dead=DEAD),
        },
        [Goal("pqclock after", "p50_ms", 1.3, against="pqclock", at_most=True)],
    ),
    Workload(
        "keys", "20,000 jobs of 1,000 keys with concurrency 1", "rate", "jobs/s",
        {"free": partial(drain, count=KEYED, history="none"), "keyed": drain_keyed},
        [Goal("keyed", "rate", 0.7, against="free"), Goal("keyed", "rate", 20_100)],
    ),
    Workload(
        "blocked", "1,000 free jobs behind 100,000 that wait at a closed gate", "seconds", "s",
        {
            "alone": partial(drain, count=FREE, history="none"),
            "behind": partial(drain, count=FREE, history="none", prepare=shut),
        },
        [Goal("behind", "seconds", 1.2, against="alone", at_most=True)],
    ),
)  # fmt: skip
