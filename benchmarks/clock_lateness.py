"""Many ticks every second: how late they become ready, and what that costs.

    python -m benchmarks.clock_lateness [SCHEDULES] [SECONDS]

SCHEDULES (1,000 unless given) tick every second for SECONDS (60). A trigger writes down when each job becomes ready;
what is ready is deleted on the side, as workers would.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import clock, cpu_seconds, resident_mb
from benchmarks.server import SCHEMA, migrated_database
from pqclock import App
from pqclock.loop import now
from pqclock.store.database import Session, connect

# Ticks before this many seconds have passed are those of a clock that has just begun.
SETTLED = 5
TRIGGER = """
CREATE TABLE readiness (late float8);
CREATE FUNCTION note_readiness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO readiness
    SELECT extract(epoch FROM clock_timestamp() - n.run_at) FROM after AS n WHERE n.state = 'ready';
    RETURN NULL;
END $$;
CREATE TRIGGER note_readiness AFTER UPDATE ON pqclock.job
REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION note_readiness();
"""
WORK_OFF = "DELETE FROM pqclock.job WHERE id IN (SELECT id FROM pqclock.job WHERE state = 'ready' LIMIT 5000)"


def run(url: str, count: int, seconds: int) -> dict[str, float]:
    """All figures of one run."""
    session, app = connect(url, SCHEMA, "bench"), App(url, schema=SCHEMA)
    session.conn.execute(TRIGGER.encode())
    schedules: list[dict[str, Any]] = [
        {"key": f"every-{n}", "task": "bench.noop", "every": "1s", "args": {"n": n}} for n in range(count)
    ]
    app.schedules.put_many(schedules)
    with tempfile.TemporaryDirectory() as folder, clock(url, Path(folder)) as process:
        _work_off(session, SETTLED)
        session.conn.execute("TRUNCATE readiness")
        cpu, begun = cpu_seconds(process.pid), time.monotonic()
        _work_off(session, seconds)
        percent = (cpu_seconds(process.pid) - cpu) / (time.monotonic() - begun) * 100
        peak = resident_mb(process.pid, most=True)
    app.close()
    return {"schedules": count, "seconds": seconds, **_lateness(session), "clock_cpu_percent": percent, "peak_mb": peak}


def _work_off(session: Session, seconds: float) -> None:
    """What workers would do, between two seconds and not at their beginning."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep((1.5 - now().microsecond / 1e6) % 1)
        session.conn.execute(WORK_OFF.encode())
        time.sleep(0.1)


def _lateness(session: Session) -> dict[str, float]:
    names = ("ticks", "late_p50_ms", "late_p99_ms", "late_max_ms")
    row = session.conn.execute(
        "SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY late) * 1000, "
        "percentile_cont(0.99) WITHIN GROUP (ORDER BY late) * 1000, max(late) * 1000 FROM readiness"
    ).fetchone()
    assert row is not None
    return dict(zip(names, row, strict=True))


def main(arguments: list[str]) -> None:
    """Run, and print the figures as a table and as JSON."""
    count, seconds = (int(a) for a in (*arguments, *("1000", "60")[len(arguments) :]))
    with migrated_database() as url:
        found = run(url, count, seconds)
    for name, value in found.items():
        print(f"{name:<20} {value:>12,.1f}")
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
