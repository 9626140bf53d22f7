"""Workers under fire: their processes are killed or restarted all the time, and their jobs are held to their laws.

    make kills JOBS=20000 WORKERS=4 KILL_EVERY=1s

Storm: some worker processes, one of which is killed (-9) at each interval, and a backlog of short jobs. In the end each
job has one accepted finish, none is lost, none runs, and what was killed began again in time. March and ledger: an
iteration of many steps that is killed ten times. Neighbours: short jobs beside some that kill their process. Prints a line
of JSON for each; ends with 1 when a law was broken.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from conftest import Database
from pqclock import embedded
from pqclock.rules.durations import parse_duration
from pqclock.store import jobs, migrate
from pqclock.store.database import connect
from pqclock.store.jobs import NewJob
from processes.endurance import March, Neighbours, ledger, march, neighbours
from processes.fleet import Fleet, children_of, eventually

# From the moment a process is killed to when its jobs begin again, in seconds.
BEGIN_AGAIN_P99 = 3.0

UNDONE = "SELECT count(*) FROM pqclock.job WHERE queue = 'storm'"
FINISHED_ONCE = """
    SELECT count(*) FROM (
        SELECT a.job_id FROM pqclock.attempt AS a JOIN pqclock.job_history AS h ON h.id = a.job_id
        WHERE h.task = 'brief' AND h.state = 'succeeded'
        GROUP BY a.job_id HAVING count(*) FILTER (WHERE a.outcome = 'succeeded') = 1) AS one"""
RESCUED = "SELECT job_id, extract(epoch FROM finished_at)::float8 FROM pqclock.attempt WHERE outcome = 'crashed'"
NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"


@dataclass(frozen=True)
class Storm:
    """What came of it; times in seconds."""

    jobs: int
    kills: int
    finished_once: int
    undone: int
    crashes: int
    again_p50: float
    again_p99: float
    seconds: float

    def faults(self) -> list[str]:
        """The laws that were broken, in words."""
        found = []
        if self.finished_once != self.jobs:
            found.append(f"{self.jobs - self.finished_once} of {self.jobs} jobs have not exactly one accepted finish")
        if self.undone:
            found.append(f"{self.undone} jobs are still there")
        if self.again_p99 > BEGIN_AGAIN_P99:
            found.append(f"what was killed began again after {self.again_p99:.2f} s (p99)")
        return found


def storm(fleet: Fleet, database: Database, *, count: int, workers: int, kill_every: float, within: float) -> Storm:
    """Kill one worker process after the other while they work through so many jobs."""
    fleet.clock()
    parents = [fleet.worker("storm:4") for _ in range(workers)]
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.process WHERE kind = 'worker'") == workers)
    jobs.insert(database.session, [NewJob("brief", "{}", queue="storm") for _ in range(count)])
    begun, killed = time.monotonic(), list[float]()
    undone = _interrupted(database, within, kill_every, lambda: killed.append(_kill_one(database, parents)))
    seconds = time.monotonic() - begun
    again = _delays(database, killed, _begins(fleet))
    crashes = database.value("SELECT count(*) FROM pqclock.attempt WHERE outcome = 'crashed'")
    return Storm(
        count, len(killed), _number(database, FINISHED_ONCE), undone, int(str(crashes)),
        _percentile(again, 0.5), _percentile(again, 0.99), round(seconds, 1),
    )  # fmt: skip


def _interrupted(database: Database, within: float, every: float, disturb: Callable[[], object]) -> int:
    """Disturb at each interval until nothing is left to do, or the time is over; gives what is left."""
    until = time.monotonic() + within
    following = time.monotonic() + every
    while (undone := _number(database, UNDONE)) and time.monotonic() < until:
        if time.monotonic() >= following:
            disturb()
            following += every
        time.sleep(0.02)
    return undone


def _kill_one(database: Database, parents: list) -> float:  # type: ignore[type-arg]
    """Kill a worker process; gives the database's time, in seconds since 1970."""
    victim = random.choice(parents)
    for pid in children_of(victim):
        os.kill(pid, signal.SIGKILL)
    return float(str(database.value(NOW)))


def _begins(fleet: Fleet) -> dict[int, list[float]]:
    """When each job began, each time: its handler writes that down, whatever becomes of it then."""
    begins = defaultdict[int, list[float]](list)
    for line in (fleet.folder / "begins").read_text().splitlines():
        job_id, at = line.split()
        begins[int(job_id)].append(float(at))
    return begins


def _delays(database: Database, killed: list[float], begins: dict[int, list[float]]) -> list[float]:
    """From each kill to when the jobs of that process began again; the last kill before its rescue is that of a job."""
    delays = []
    for job_id, rescued in database.rows(RESCUED):
        kill = max((at for at in killed if at <= float(str(rescued))), default=float(str(rescued)))
        again = [begin for begin in begins[int(str(job_id))] if begin > kill]
        delays.append(min(again) - kill if again else math.inf)
    return sorted(delays)


def _percentile(values: list[float], share: float) -> float:
    return round(values[min(len(values) - 1, int(share * len(values)))], 3) if values else 0.0


def _number(database: Database, statement: str) -> int:
    return int(str(database.value(statement)))


def main() -> int:
    """Everything at full length, each part on a server of its own; a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kill-every", type=parse_duration, default=parse_duration("1s"))
    parser.add_argument("--steps", type=int, default=100_000)
    asked = parser.parse_args()
    every, long = asked.kill_every.total_seconds(), {"steps": asked.steps, "kills": 10, "pause": 0.0005, "within": 600}
    parts: list[Callable[[Fleet, Database], Storm | March | Neighbours]] = [
        partial(storm, count=asked.jobs, workers=asked.workers, kill_every=every, within=asked.jobs / 20 + 60),
        partial(march, **long),
        partial(ledger, **long),
        partial(neighbours, seconds=30, poison_every=3),
    ]
    faults = [fault for part in parts for fault in _performed(part)]
    for fault in faults:
        print(f"broken: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _performed(part: Callable[[Fleet, Database], Storm | March | Neighbours]) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        server = embedded.start(Path(name) / ".pqclock")
        session = connect(server.url, "pqclock", "test")
        migrate.migrate(session)
        fleet = Fleet(Path(name), server.url)
        try:
            report = part(fleet, Database(server.url, session))
        finally:
            fleet.end()
            session.close()
            server.close()
            embedded.erase(Path(name) / ".pqclock")
    print(json.dumps({"part": type(report).__name__.lower(), **asdict(report)}), flush=True)
    return report.faults()


if __name__ == "__main__":
    sys.exit(main())
