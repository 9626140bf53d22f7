"""How fast jobs that do nothing are worked off, each acknowledged in the database, and what that costs."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import psycopg

from benchmarks import floor, noop_app, slots
from benchmarks.processes import family, family_seconds, program, resident_mb, worker
from benchmarks.server import Server
from benchmarks.suite import Cell, Figures, Goal, Workload
from pqclock import App

JOBS = 50_000
EXECUTORS = 16
LIMIT = 300.0
# Ours is asked by its indexes: a look must not cost what is measured.
UNDONE_OF_FLOOR = "SELECT EXISTS (SELECT FROM floor)"
UNDONE = """
SELECT EXISTS (SELECT FROM pqclock.job WHERE state = 'ready') OR EXISTS (SELECT FROM pqclock.job WHERE state = 'running')"""


def drain_floor(server: Server, *, count: int = JOBS, processes: int = 1) -> Figures:
    """The floor's rate."""
    with server.database() as url, _folder() as folder:
        with psycopg.connect(url, autocommit=True) as conn:
            floor.copy(conn, count)
        server.settle(url)
        mapped = slots.Slots(folder / "slots")
        with ExitStack() as stack:
            environment = {slots.VARIABLE: str(folder / "slots")}
            started = [
                stack.enter_context(program(folder, "benchmarks.floor", url, **environment)) for _ in range(processes)
            ]
            return _measured(server, url, UNDONE_OF_FLOOR, mapped, [process.pid for process in started], count)


def drain(
    server: Server, *, task: str = "bench.noop", count: int = JOBS, processes: int = 1, history: str = "all"
) -> Figures:
    """Ours."""
    with server.database() as url, _folder() as folder:
        enqueue(url, task, count)
        server.settle(url)
        mapped = slots.Slots(folder / "slots")
        environment = {slots.VARIABLE: str(folder / "slots"), "PQCLOCK_BENCH_HISTORY": history}
        arguments = ("--processes", str(processes))
        with worker(url, folder, f"bench:{EXECUTORS}", *arguments, **environment) as parent:
            return _measured(server, url, UNDONE, mapped, [parent.pid], count)


def enqueue(url: str, task: str, count: int) -> None:
    """So many jobs of a task."""
    app = App(url)
    registered = app.task(task, queue="bench")(noop_app.noop.function)
    app.enqueue_many(registered.job() for _ in range(count))
    app.close()


def _measured(
    server: Server, url: str, undone: str, mapped: slots.Slots, pids: Sequence[int], count: int
) -> dict[str, float]:
    """From the first handler's begin until the table is empty: the rate, and what it costs."""
    until = time.monotonic() + LIMIT
    while mapped.first is None:
        _check(time.monotonic() < until, "nothing has begun")
        time.sleep(0.0005)
    workers, server_before = _seconds(pids), server.cpu_seconds()
    with psycopg.connect(url, autocommit=True) as conn:
        while mapped.begun < count - 64 or conn.execute(undone.encode()).fetchone() == (True,):
            _check(time.monotonic() < until, f"only {mapped.begun} of {count} jobs have begun")
            time.sleep(0.005)
    ended = time.monotonic()
    rss = max(resident_mb(pid, most=True) for parent in pids for pid in family(parent))
    return {
        "rate": count / (ended - mapped.first),
        "worker_ms": (_seconds(pids) - workers) / count * 1e6,
        "server_ms": (server.cpu_seconds() - server_before) / count * 1e6,
        "rss_mb": rss,
    }


def _seconds(pids: Sequence[int]) -> float:
    return sum(map(family_seconds, pids))


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(f"benchmark: {otherwise} within {LIMIT:g} s")


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _workload(
    name: str, title: str, limit: float, ours: Cell, processes: int = 1, more: Sequence[Goal] = ()
) -> Workload:
    cells: dict[str, Cell] = {"floor": partial(drain_floor, processes=processes), "pqclock": ours}
    goals = (Goal("pqclock", "rate", limit, against="floor"), *more)
    return Workload(name, title, "rate", "jobs/s", cells, goals)


COST = (Goal("pqclock", "worker_ms", 12.0, at_most=True), Goal("pqclock", "server_ms", 12.0, at_most=True))
WORKLOADS = (
    _workload("drain", "50,000 jobs, one process, history off", 0.75, partial(drain, history="none"), more=COST),
    _workload("drain_history", "50,000 jobs, one process, history on", 0.40, drain),
    _workload(
        "drain_two", "50,000 jobs, two processes, history off", 0.55, partial(drain, processes=2, history="none"), 2
    ),
    _workload(
        "drain_async", "50,000 async jobs, one process, history off", 0.35,
        partial(drain, task="bench.noop_async", history="none"),
    ),
)  # fmt: skip
