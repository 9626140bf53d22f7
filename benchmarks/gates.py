"""What gates cost: many keys, many blocked jobs, and nothing to do.

    python -m benchmarks.gates [keys] [blocked] [idle]

keys: jobs of many keys with concurrency 1 each, against as many jobs without gates.
blocked: jobs without gates, with many others behind a closed gate in front of them, against the same without those.
idle: the CPU of PostgreSQL with many jobs behind a closed gate and an idle worker, against none.
In rounds, by turns; one worker process with 10 threads, and a clock. Prints the medians, with the least and the most,
and a line of JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.gated_app import app
from benchmarks.processes import clock, cpu_seconds
from benchmarks.server import SCHEMA, migrated_database
from pqclock import App
from pqclock.store import tasks
from pqclock.store.database import Session, connect

JOBS, KEYS = 20_000, 10_000
FREE, BLOCKED = 5_000, 100_000
ROUNDS = 3
IDLE_FOR = 10.0
# The entrance of all languages, many jobs at a time.
FILL = """
SELECT count(pqclock.enqueue(%(task)s, jsonb_build_object('n', n %% %(keys)s))) FROM generate_series(1, %(count)s) AS n
"""
# Both by an index: a look must not cost what is measured.
BEGUN = "SELECT EXISTS (SELECT FROM pqclock.job WHERE state = 'running')"
UNDONE = """
SELECT EXISTS (SELECT FROM pqclock.job WHERE state = 'ready' AND lane IS NULL AND queue = 'bench')
    OR EXISTS (SELECT FROM pqclock.job WHERE state = 'ready' AND lane IS NOT NULL AND lane IN (
        SELECT l.lane FROM pqclock.lane AS l WHERE l.task = 'bench.keyed'))
    OR EXISTS (SELECT FROM pqclock.arrival AS a WHERE a.task = 'bench.keyed')
    OR EXISTS (SELECT FROM pqclock.job WHERE state = 'running')"""

Figures = dict[str, list[float]]


@contextmanager
def worker(url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One worker process with 10 threads."""
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pqclock", "worker", "--app", "benchmarks.gated_app:app", "--queues", "bench:10"],
            cwd=folder,
            env={**os.environ, "PQCLOCK_DATABASE_URL": url, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


class Gates:
    """The workloads, on one database."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._session: Session = connect(url, SCHEMA, "bench")
        tasks.publish(self._session, app.publication())
        own = App(url)
        own.rules.put("throttle.bench-key", concurrency=1)
        own.rules.put("throttle.bench-shut", concurrency=1)
        own.gates.cool("bench-shut", "12h")
        own.close()

    def keys(self) -> Figures:
        """Jobs a second without gates, and of many keys."""
        found: Figures = {"free": [], "keyed": []}
        for _ in range(ROUNDS):
            found["free"].append(self._drain("bench.free", JOBS))
            found["keyed"].append(self._drain("bench.keyed", JOBS, KEYS))
        return found

    def blocked(self) -> Figures:
        """Free jobs a second, without and with others behind a closed gate in front of them."""
        found: Figures = {"alone": [], "behind blocked": []}
        for _ in range(ROUNDS):
            found["alone"].append(self._drain("bench.free", FREE))
            self._fill("bench.blocked", BLOCKED)
            found["behind blocked"].append(self._drain("bench.free", FREE))
            self._empty()
        return found

    def idle(self) -> Figures:
        """Percent of a core that PostgreSQL uses with an idle worker and a clock, without and with parked jobs."""
        found: Figures = {"nothing": [], "parked": []}
        for _ in range(ROUNDS):
            found["nothing"].append(self._idle())
            self._fill("bench.blocked", BLOCKED)
            found["parked"].append(self._idle())
            self._empty()
        return found

    def _fill(self, task: str, count: int, keys: int = 1) -> None:
        for first in range(0, count, 10_000):
            params = {"task": task, "count": min(10_000, count - first), "keys": keys}
            self._session.conn.execute(FILL.encode(), params)
        self._session.conn.execute(
            "VACUUM ANALYZE pqclock.job, pqclock.lane, pqclock.slot, pqclock.gate, pqclock.arrival"
        )

    def _empty(self) -> None:
        self._session.conn.execute("TRUNCATE pqclock.job, pqclock.lane, pqclock.arrival")

    def _drain(self, task: str, count: int, keys: int = 1) -> float:
        """Jobs a second, from the first that runs until the last one is done."""
        self._fill(task, count, keys)
        with worker(self._url, self._folder):
            while not self._ask(BEGUN):
                time.sleep(0.001)
            begun = time.monotonic()
            while self._ask(UNDONE):
                time.sleep(0.02)
            return count / (time.monotonic() - begun)

    def _ask(self, question: str) -> bool:
        row = self._session.conn.execute(question.encode()).fetchone()
        assert row is not None
        return bool(row[0])

    def _idle(self) -> float:
        with worker(self._url, self._folder):
            time.sleep(5)
            before, begun = self._server_seconds(), time.monotonic()
            time.sleep(IDLE_FOR)
            return (self._server_seconds() - before) / (time.monotonic() - begun) * 100

    def _server_seconds(self) -> float:
        """What the backends of this database have used so far."""
        text = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        return sum(cpu_seconds(pid) for (pid,) in self._session.conn.execute(text.encode()))


def report(name: str, figures: Figures) -> dict[str, object]:
    """Print a workload's figures; gives them with the ratio of their medians."""
    for what, values in figures.items():
        print(f"{name:8} {what:15} {statistics.median(values):8.1f}  ({min(values):.1f} to {max(values):.1f})")
    first, second = (statistics.median(values) for values in figures.values())
    print(f"{name:8} {'ratio':15} {second / first if first else float('nan'):8.2f}")
    return {"workload": name, **figures, "ratio": second / first if first else None}


def main() -> None:
    wanted = sys.argv[1:] or ["keys", "blocked", "idle"]
    with migrated_database() as url, tempfile.TemporaryDirectory() as folder, clock(url, Path(folder)):
        gates = Gates(url, Path(folder))
        print(json.dumps([report(name, getattr(gates, name)()) for name in wanted]))


if __name__ == "__main__":
    main()
