"""Many schedules: how long they take to put, and how the clock bears them.

    python -m benchmarks.clock_scale [DECLARED] [DUE] [IDLE_SECONDS]

DECLARED schedules (1,000,000 unless given) are put by the API; DUE of them (100,000) tick in the same second, the others
a day later. Reported: how long after that second all of them were ready, the clock's memory and CPU, its CPU while
nothing is due, and the cost of one look of the planner, with 1,000 and with all schedules.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.processes import clock, cpu_seconds, resident_mb
from benchmarks.server import SCHEMA, migrated_database
from pqclock import App
from pqclock.clock.planner import Planner
from pqclock.store import leadership, schedules
from pqclock.store.database import Session, connect

AHEAD = 90
LOOKS = 200


def declared(count: int, due: int, at: datetime) -> Iterator[dict[str, Any]]:
    """The first `due` schedules tick daily at `at`, the others at other minutes of the hours that follow."""
    for n in range(count):
        when = at if n < due else at + timedelta(hours=6, minutes=n % 600)
        cron = f"{when:%S} {when:%M} {when:%H} * * *"
        yield {"key": f"customer-{n}", "task": "bench.noop", "cron": cron, "args": {"customer": n}}


def cost_of_a_look(session: Session) -> float:
    """Milliseconds that the planner takes to see that nothing is due: the median of many."""
    planner = Planner(session, leadership.elect(session, 1))
    now, spent = schedules.database_now(session), []
    while planner.step(now).more:
        pass
    for _ in range(LOOKS):
        begun = time.perf_counter()
        planner.step(now)
        spent.append(time.perf_counter() - begun)
    return median(spent) * 1000


def waiting(session: Session, at: datetime) -> tuple[int, float]:
    """How many jobs of this tick are there, and the seconds since it, when all of them are ready; else (-1, ...)."""
    row = session.conn.execute(
        "SELECT CASE WHEN EXISTS (SELECT 1 FROM pqclock.job WHERE state = 'scheduled' AND run_at = %s) THEN -1 "
        "ELSE (SELECT count(*) FROM pqclock.job WHERE tick = %s) END, "
        "extract(epoch FROM clock_timestamp() - %s)::float8",
        [at, at, at],
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def measure(url: str, count: int, due: int, idle: float) -> dict[str, float]:
    """All figures of one run."""
    session = connect(url, SCHEMA, "bench")
    app = App(url, schema=SCHEMA)
    found: dict[str, float] = {"declared": count, "due": due}
    day = schedules.database_now(session).replace(microsecond=0)
    app.schedules.put_many(declared(1_000, 0, day + timedelta(hours=12)))
    found["look_ms_1000"] = cost_of_a_look(session)
    at = day + timedelta(seconds=AHEAD + count // 15_000)
    begun = time.perf_counter()
    app.schedules.put_many(declared(count, due, at))
    found["put_s"] = time.perf_counter() - begun
    session.conn.execute("VACUUM ANALYZE pqclock.schedule")
    with tempfile.TemporaryDirectory() as folder, clock(url, Path(folder)) as process:
        ready, late = waiting(session, at)
        cpu = 0.0
        while ready < due:
            if late < 0:
                cpu = cpu_seconds(process.pid)
            time.sleep(0.02 if late > -1 else 0.5)
            ready, late = waiting(session, at)
        found |= {"all_ready_after_s": late, "clock_cpu_promoting_s": cpu_seconds(process.pid) - cpu}
        time.sleep(5)
        cpu = cpu_seconds(process.pid)
        time.sleep(idle)
        found["idle_cpu_percent"] = (cpu_seconds(process.pid) - cpu) / idle * 100
        found["clock_peak_mb"] = resident_mb(process.pid, most=True)
    found[f"look_ms_{count}"] = cost_of_a_look(session)
    app.close()
    session.close()
    return found


def main(arguments: list[str]) -> None:
    """Run, and print the figures as a table and as JSON."""
    count, due, idle = (int(a) for a in (*arguments, *("1000000", "100000", "30")[len(arguments) :]))
    with migrated_database() as url:
        found = measure(url, count, due, idle)
    for name, value in found.items():
        print(f"{name:<24} {value:>14,.3f}")
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
