"""Jobs that come in steadily and wait for something while they run, for several processes."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import psycopg

from benchmarks import noop_app, slots
from benchmarks.processes import clock, family_seconds, worker
from benchmarks.server import Server
from benchmarks.suite import Figures, Goal, Workload
from pqclock import App

PER_SECOND, AT_ONCE = 1_900, 19
PROCESSES, EXECUTORS = 4, 8
SECONDS = int(os.environ.get("PQCLOCK_BENCH_PARALLEL", "600"))
# What begins in the first seconds meets processes that have just started.
SETTLED = 5


def steadily(server: Server) -> Figures:
    """How long jobs wait that come in by small bundles, each to be acknowledged, their history kept."""
    bundles = (SETTLED + SECONDS) * PER_SECOND // AT_ONCE
    with server.database() as url, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mapped = slots.Slots(folder / "slots", bundles * AT_ONCE)
        arguments = ("--processes", str(PROCESSES))
        given = {slots.VARIABLE: str(folder / "slots")}
        with clock(url, folder), worker(url, folder, f"bench:{EXECUTORS}", *arguments, **given) as parent:
            _until_there(url)
            spent = server.cpu_seconds(), family_seconds(parent.pid)
            committed, behind = _push(url, bundles)
            _until_begun(mapped, bundles * AT_ONCE)
            used = server.cpu_seconds() - spent[0], family_seconds(parent.pid) - spent[1]
        first = SETTLED * PER_SECOND
        begins = mapped.begins()
        delays = sorted((begins[n] or 0.0) - committed[n // AT_ONCE] for n in range(first, bundles * AT_ONCE))
    return {
        "p50_ms": delays[len(delays) // 2] * 1e3, "p99_ms": delays[int(0.99 * len(delays))] * 1e3,
        "max_ms": delays[-1] * 1e3, "behind_s": behind,
        "server_cores": used[0] / (SETTLED + SECONDS), "worker_cores": used[1] / (SETTLED + SECONDS),
    }  # fmt: skip


def _push(url: str, bundles: int) -> tuple[list[float], float]:
    """Enqueue at a steady rate: when each bundle was committed, and how far behind its time the last one was."""
    app = App(url)
    nap = app.task("bench.nap", queue="bench")(noop_app.nap.function)
    committed = []
    began = time.monotonic()
    for bundle in range(bundles):
        due = began + bundle * AT_ONCE / PER_SECOND
        time.sleep(max(0.0, due - time.monotonic()))
        app.enqueue_many([nap.job(n=bundle * AT_ONCE + n) for n in range(AT_ONCE)])
        committed.append(time.monotonic())
    behind = time.monotonic() - due
    app.close()
    return committed, behind


def _until_there(url: str) -> None:
    until = time.monotonic() + 30
    with psycopg.connect(url, autocommit=True) as conn:
        while conn.execute("SELECT count(*) FROM pqclock.process WHERE kind = 'worker'").fetchone() != (PROCESSES,):
            assert time.monotonic() < until, "benchmark: the workers have not begun"
            time.sleep(0.05)


def _until_begun(mapped: slots.Slots, count: int) -> None:
    until = time.monotonic() + 60
    while None in mapped.begins()[-1000:]:
        assert time.monotonic() < until, f"benchmark: only {mapped.begun} of {count} jobs have begun"
        time.sleep(0.1)


WORKLOADS = (
    Workload(
        "parallel", f"1,900 jobs a second of 10 ms each for {SECONDS} s, 32 executors in 4 processes", "p99_ms", "ms",
        {"pqclock": steadily},
        [Goal("pqclock", "p99_ms", 100.0, at_most=True), Goal("pqclock", "behind_s", 1.0, at_most=True)],
    ),
)  # fmt: skip
