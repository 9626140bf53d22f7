"""What enqueueing costs, one by one and many at once, and how soon an idle worker begins what came in."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import psycopg

from benchmarks import floor, noop_app, slots
from benchmarks.processes import clock, cpu_seconds, family, program, resident_mb, worker
from benchmarks.server import Server
from benchmarks.suite import Cell, Figures, Goal, Workload
from pqclock import App, Unique
from pqclock.tasks.task import Task

SINGLES = 2_000
MANY = 100_000
PACED, PACE = 300, 0.03
IDLE_FOR = 10.0


def singles_of_floor(server: Server) -> Figures:
    """One INSERT each, committed, with a notification."""
    with server.database() as url, psycopg.connect(url, autocommit=True) as conn:
        return {"rate": _rate(SINGLES, lambda: deque(map(partial(floor.insert, conn), range(SINGLES))))}


def singles(server: Server) -> Figures:
    """One call each."""
    with server.database() as url, _task(url) as task:
        return {"rate": _rate(SINGLES, lambda: deque(task.enqueue(n=n) for n in range(SINGLES)))}


def many_of_floor(server: Server) -> Figures:
    """COPY into a table with one index more than its key."""
    with server.database() as url, psycopg.connect(url, autocommit=True) as conn:
        return {"rate": _rate(MANY, lambda: floor.copy(conn, MANY))}


def many(server: Server, *, unique: bool = False) -> Figures:
    """One call for all, each described on the way; with `unique` each has a key of its own."""
    with server.database() as url, _task(url) as task:
        described = task.using(unique=Unique(key="{n}")) if unique else task
        jobs = (described.job(n=n) for n in range(MANY))
        return {"rate": _rate(MANY, lambda: task.app.enqueue_many(jobs))}


def pickup(server: Server, *, of_floor: bool = False) -> Figures:
    """Jobs that come in one by one, with an idle worker."""
    with server.database() as url:
        return pickup_times(url, of_floor=of_floor)


def pickup_times(url: str, *, of_floor: bool = False) -> Figures:
    """How soon they begin, in a database that may have been used: for the floor, or ours with a clock beside."""
    if of_floor:
        with psycopg.connect(url, autocommit=True) as conn:
            return _paced(
                url,
                partial(floor.insert, conn),
                lambda folder, given: program(folder, "benchmarks.floor", url, **given),
            )
    with _task(url) as task:
        return _paced(
            url,
            lambda n: task.enqueue(n=n),
            lambda folder, given: worker(url, folder, "bench:16", **given),
            with_clock=True,
        )


def idle(server: Server) -> Figures:
    """Percent of a core that a worker, a clock and the server use together with nothing to do, and their memory."""
    with ExitStack() as stack:
        url = stack.enter_context(server.database())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        leader = stack.enter_context(clock(url, folder))
        parent = stack.enter_context(worker(url, folder, "bench:16"))
        time.sleep(5)
        pids = [*family(leader.pid), *family(parent.pid)]
        before = server.cpu_seconds() + sum(map(cpu_seconds, pids))
        time.sleep(IDLE_FOR)
        used = server.cpu_seconds() + sum(map(cpu_seconds, pids)) - before
        return {"percent": used / IDLE_FOR * 100, **_memory(leader.pid, parent.pid)}


def _memory(clock_pid: int, worker_pid: int) -> Figures:
    _, *children = family(worker_pid)
    return {"clock_mb": resident_mb(clock_pid), "worker_mb": max(map(resident_mb, children))}


def _rate(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


@contextmanager
def _task(url: str) -> Iterator[Task[..., None]]:
    """The task that does nothing, of an app whose first call is over."""
    app = App(url)
    task = app.task("bench.noop", queue="bench")(noop_app.noop.function)
    task.enqueue()
    yield task
    app.close()


Start = Callable[[Path, dict[str, str]], AbstractContextManager[object]]


def _paced(url: str, push: Callable[[int], object], start: Start, *, with_clock: bool = False) -> Figures:
    """Milliseconds from the commit of each to its handler's begin."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mapped = slots.Slots(folder / "slots", PACED + 1)
        with clock(url, folder) if with_clock else _nothing(), start(folder, {slots.VARIABLE: str(folder / "slots")}):
            push(PACED)
            _until(lambda: mapped.begins()[PACED] is not None)
            time.sleep(1.0)
            committed = []
            for n in range(PACED):
                time.sleep(PACE)
                push(n)
                committed.append(time.monotonic())
            _until(lambda: None not in mapped.begins())
            delays = sorted((begin or 0.0) - at for begin, at in zip(mapped.begins(), committed, strict=False))
    p99 = delays[int(0.99 * len(delays))]
    return {"p50_ms": statistics.median(delays) * 1e3, "p99_ms": p99 * 1e3}


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _until(condition: Callable[[], bool], within: float = 30.0) -> None:
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until, "benchmark: jobs have not begun"
        time.sleep(0.005)


PICKUP: dict[str, Cell] = {"floor": partial(pickup, of_floor=True), "pqclock": pickup}
BULK: dict[str, Cell] = {"floor": many_of_floor, "pqclock": many, "unique": partial(many, unique=True)}
WORKLOADS = (
    Workload(
        "enqueue", "2,000 jobs, one by one", "rate", "jobs/s", {"floor": singles_of_floor, "pqclock": singles},
        [Goal("pqclock", "rate", 0.85, against="floor")],
    ),
    Workload(
        "bulk", "100,000 jobs in one call", "rate", "jobs/s", BULK,
        [Goal("pqclock", "rate", 0.35, against="floor"), Goal("unique", "rate", 0.20, against="floor")],
    ),
    Workload(
        "pickup", "from the commit to the handler's begin", "p50_ms", "ms", PICKUP,
        [Goal("pqclock", "p50_ms", 0.85, at_most=True), Goal("pqclock", "p99_ms", 3.0, at_most=True)],
    ),
    Workload(
        "idle", "a worker and a clock with nothing to do", "percent", "% of a core", {"pqclock": idle},
        [
            Goal("pqclock", "percent", 1.5, at_most=True), Goal("pqclock", "worker_mb", 45.0, at_most=True),
            Goal("pqclock", "clock_mb", 40.0, at_most=True),
        ],
    ),
)  # fmt: skip
