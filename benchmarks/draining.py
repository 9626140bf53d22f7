"""How fast jobs that do nothing are worked off, each acknowledged in the database, and what that costs."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
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
# Both are asked by their indexes: a look must not cost what is measured.
UNDONE_OF_FLOOR = "SELECT EXISTS (SELECT FROM floor)"
UNDONE = """
SELECT EXISTS (SELECT FROM pqclock.job WHERE state = 'ready' AND lane IS NULL)
    OR EXISTS (SELECT FROM pqclock.job WHERE state = 'ready' AND lane IS NOT NULL AND task <> 'bench.blocked')
    OR EXISTS (SELECT FROM pqclock.job WHERE state = 'running')"""

# How long the worker has been there.
SINCE_ENTERED = """
SELECT extract(epoch FROM clock_timestamp() - min(started_at))::float8 FROM pqclock.process WHERE kind = 'worker'"""


def drain_floor(server: Server, *, count: int = JOBS, processes: int = 1, measured: int | None = None) -> Figures:
    """The floor's rate; with `measured` only of so many, the first ones, and not of what is behind them."""
    with server.database() as url, _folder() as folder:
        with psycopg.connect(url, autocommit=True) as conn:
            floor.copy(conn, count)
        server.settle(url)
        return run_floor(server, url, folder, measured or count, processes, whole=measured is None)


def run_floor(
    server: Server, url: str, folder: Path, count: int, processes: int = 1, *, whole: bool = True
) -> dict[str, float]:
    """Processes of the floor, in a database that has its jobs."""
    mapped = slots.Slots(folder / "slots")
    with ExitStack() as stack:
        environment = {slots.VARIABLE: str(folder / "slots")}
        started = [
            stack.enter_context(program(folder, "benchmarks.floor", url, **environment)) for _ in range(processes)
        ]
        pids = [process.pid for process in started]
        return measure(server, url, UNDONE_OF_FLOOR if whole else None, mapped, pids, count)


def drain(
    server: Server,
    *,
    task: str = "bench.noop",
    count: int = JOBS,
    processes: int = 1,
    history: str = "all",
    measured: int | None = None,
    prepare: Callable[[str], None] = lambda _: None,
) -> Figures:
    """Ours, in a database that is prepared so."""
    with server.database() as url, _folder() as folder:
        prepare(url)
        enqueue(url, task, count)
        server.settle(url)
        return run_workers(server, url, folder, measured or count, processes, history, whole=measured is None)


def run_workers(
    server: Server,
    url: str,
    folder: Path,
    count: int,
    processes: int = 1,
    history: str = "none",
    *,
    whole: bool = True,
) -> dict[str, float]:
    """Processes of ours, in a database that has the jobs."""
    mapped = slots.Slots(folder / "slots")
    environment = {slots.VARIABLE: str(folder / "slots"), "PQCLOCK_BENCH_HISTORY": history}
    with worker(url, folder, f"bench:{EXECUTORS}", "--processes", str(processes), **environment) as parent:
        figures = measure(server, url, UNDONE if whole else None, mapped, [parent.pid], count)
        with psycopg.connect(url) as conn:
            row = conn.execute(SINCE_ENTERED).fetchone()
    assert row is not None
    return {**figures, "seconds": row[0]}


def enqueue(url: str, task: str, count: int, keys: int = 0) -> None:
    """So many jobs of a task; with `keys` each has one of so many numbers."""
    app = App(url)
    registered = app.task(task, queue="bench", throttle=noop_app.THROTTLES.get(task, ()))(noop_app.noop.function)
    app.enqueue_many((registered.job(n=n % keys) if keys else registered.job()) for n in range(count))
    app.close()


def measure(
    server: Server, url: str, undone: str | None, mapped: slots.Slots, pids: Sequence[int], count: int
) -> dict[str, float]:
    """From the first handler's begin until `undone` says no, or so many have begun: the rate, and what it costs."""
    until = time.monotonic() + LIMIT
    while mapped.first is None:
        _check(time.monotonic() < until, "nothing has begun")
        time.sleep(0.0005)
    workers, server_before = _seconds(pids), server.cpu_seconds()
    with psycopg.connect(url, autocommit=True, options="-c enable_seqscan=off") as conn:
        while mapped.begun < count - 64 or (undone and conn.execute(undone.encode()).fetchone() == (True,)):
            _check(time.monotonic() < until, f"only {mapped.begun} of {count} jobs have begun")
            time.sleep(0.005)
    ended, done = time.monotonic(), max(count, mapped.begun)
    rss = max(resident_mb(pid, most=True) for parent in pids for pid in family(parent))
    return {
        "rate": done / (ended - mapped.first),
        "worker_ms": (_seconds(pids) - workers) / done * 1e6,
        "server_ms": (server.cpu_seconds() - server_before) / done * 1e6,
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
