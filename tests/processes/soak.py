"""Clocks under failover: leaders are killed, stopped, frozen and robbed of their server, and held to their laws.

    make soak FOR=2m KILL_EVERY=5s FREEZE_EVERY=45s RESTART_EVERY=30s

Schedules that tick every second, several clocks, one worker. The leader is killed and stopped in order, in turns, and
what went is replaced by a new clock. In the end every second of every schedule must be accounted for, and the next tick
after each fault must have come in time. Prints a table and a line of JSON; ends with 1 when a law was broken.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import cycle
from pathlib import Path

from conftest import Database
from pqclock import embedded
from pqclock.rules.durations import parse_duration
from pqclock.rules.schedule import Schedule
from pqclock.store import migrate, runtime, schedules
from pqclock.store.database import CONNECTION_LOST, connect
from processes import laws
from processes.fleet import Fleet, eventually
from processes.measuring import Fault, Limits, Report, report_of

# One in so many schedules is inserted when it is due, in a transaction; the others ahead, in one statement.
WHEN_DUE = 20
# What is put after a fault ticks once, so much later.
PROBED_AHEAD = timedelta(seconds=5)

LEADER = """
    SELECT p.pid, l.epoch, l.elected_at FROM pqclock.leader AS l JOIN pqclock.process AS p ON p.id = l.process_id"""
# What is planned once has half a minute in hand.
UNPLANNED = (
    "SELECT count(*) FROM pqclock.schedule WHERE NOT judged AND planned_to < clock_timestamp() + interval '30 s'"
)
# Each schedule is planned every half minute: at instants of their own, so that something is inserted all the time.
STAGGER = """
    UPDATE pqclock.schedule AS s SET plan_at = clock_timestamp() + n.share * interval '30 s'
    FROM (SELECT id, percent_rank() OVER (ORDER BY id) AS share FROM pqclock.schedule
          WHERE NOT definition ? 'overlap') AS n
    WHERE s.id = n.id"""
UNDONE = "SELECT count(*) FROM pqclock.job WHERE run_at <= %s"


@dataclass(frozen=True)
class Plan:
    """What to do, and how often; times are in seconds, and what has no interval is not done."""

    length: float = 120.0
    schedules: int = 200
    clocks: int = 3
    kill_every: float | None = 5.0
    freeze_every: float | None = None
    restart_every: float | None = None
    seed: int = 0


def declared(count: int) -> str:
    """A file of so many schedules that tick every second, with their jobs spread over it."""
    return "\n".join(
        f'[schedule.every-{n}]\ntask = "note"\nevery = "1s"\n'
        + ('overlap = "skip"\n' if n % WHEN_DUE == 0 else 'spread = "1s"\n')
        for n in range(count)
    )


class Soak:
    """Carries out a plan on a migrated database, with the processes of a fleet."""

    def __init__(self, plan: Plan, fleet: Fleet, database: Database) -> None:
        self._plan = plan
        self._fleet = fleet
        self._database = database
        self._clocks: dict[int, subprocess.Popen[bytes]] = {}
        self._faults: list[Fault] = []
        self._ways = cycle([signal.SIGKILL, signal.SIGTERM])

    def run(self) -> Report:
        """Begin, do to the leader what is planned, wait until all that came due is done, and report."""
        self._begin()
        since = self._now()
        self._strike(time.monotonic() + self._plan.length)
        until = self._now()
        # What is not so in time is in the report, and breaks a law there.
        finish = time.monotonic() + 15
        eventually(lambda: self._done(until) or time.monotonic() > finish, within=20)
        return report_of(self._database.session, self._faults, since, until)

    def close(self) -> None:
        """End the session with which it looks on."""
        self._database.session.close()

    def _begin(self) -> None:
        self._fleet.schedules(declared(self._plan.schedules))
        for _ in range(self._plan.clocks):
            self._start_clock()
        self._fleet.worker()
        eventually(lambda: self._leader() and not self._database.value(UNPLANNED), within=30)
        eventually(lambda: not self._database.value(UNDONE, self._now()), within=30)
        self._database.session.conn.execute(STAGGER.encode())
        schedules.wake_clock(self._database.session)

    def _strike(self, end: float) -> None:
        """One fault after the other, each kind in its own time, not in step with the ticks."""
        planned = [
            (self._plan.kill_every, self._replace),
            (self._plan.freeze_every, self._freeze),
            (self._plan.restart_every, self._restart),
        ]
        faults = [(every, fault) for every, fault in planned if every]
        chance = random.Random(self._plan.seed)
        turns = [(time.monotonic() + every, kind) for kind, (every, _) in enumerate(faults)]
        while turns and min(turns)[0] < end:
            due, kind = min(turns)
            every, fault = faults[kind]
            eventually(lambda due=due: time.monotonic() >= due, within=every + 1)  # type: ignore[misc]
            fault()
            turns[kind] = (max(due + every, time.monotonic()) + chance.uniform(-0.1, 0.1) * every, kind)
        eventually(lambda: time.monotonic() >= end, within=self._plan.length)

    def _replace(self) -> None:
        """Kill the leader or stop it in order, and start another clock."""
        way = next(self._ways)
        pid, epoch, _ = self._leading()
        struck = self._now()
        os.kill(pid, way)
        self._note("killed" if way == signal.SIGKILL else "stopped", struck, struck, epoch)
        gone = self._clocks.pop(pid)
        assert gone.wait(5) == (-signal.SIGKILL if way == signal.SIGKILL else 0), self._fleet.log_of(gone)
        self._start_clock()

    def _freeze(self) -> None:
        """Freeze the leader until another one leads, then let it see that its session is gone."""
        pid, epoch, _ = self._leading()
        log = self._fleet.log_of(self._clocks[pid])
        struck = self._now()
        os.kill(pid, signal.SIGSTOP)
        self._note("frozen", struck, struck, epoch)
        os.kill(pid, signal.SIGCONT)
        eventually(lambda: "standing by" in self._fleet.log_of(self._clocks[pid])[len(log) :])

    def _restart(self) -> None:
        """An immediate shutdown of the server, which its keeper starts again."""
        _, epoch, _ = self._leading()
        postmaster = int(str(self._database.value("SELECT pg_read_file('postmaster.pid')")).split()[0])
        struck = self._now()
        os.kill(postmaster, signal.SIGQUIT)
        eventually(lambda: not self._reached(), within=10)
        self.close()
        self._database = eventually(self._connected, within=30)
        self._note("restarted", struck, self._now(), epoch)

    def _note(self, kind: str, struck: datetime, begun: datetime, epoch: int) -> None:
        """Put a schedule that wants planning, wait for the next term, and note the fault that made it."""
        probe = Schedule(f"probe-{len(self._faults)}", "note", at=begun.replace(microsecond=0) + PROBED_AHEAD)
        runtime.put(self._database.session, [probe])
        _, _, elected = eventually(lambda: self._leader_after(epoch), within=30)
        self._faults.append(Fault(kind, struck, begun, elected, probe.key))

    def _start_clock(self) -> None:
        clock = self._fleet.clock()
        self._clocks[clock.pid] = clock

    def _leading(self) -> tuple[int, int, datetime]:
        return eventually(self._leader)

    def _leader(self) -> tuple[int, int, datetime] | None:
        """Process, epoch and beginning of the present term."""
        rows = self._database.rows(LEADER)
        return rows[0] if rows else None  # type: ignore[return-value]

    def _leader_after(self, epoch: int) -> tuple[int, int, datetime] | None:
        found = self._leader()
        return found if found and found[1] > epoch else None

    def _now(self) -> datetime:
        return schedules.database_now(self._database.session)

    def _done(self, until: datetime) -> bool:
        return not self._database.value(UNDONE, until) and not laws.broken(self._database.session, until=until)

    def _reached(self) -> bool:
        try:
            return bool(self._database.value("SELECT true"))
        except CONNECTION_LOST:
            return False

    def _connected(self) -> Database | None:
        try:
            return Database(self._database.url, connect(self._database.url, self._database.session.schema, "test"))
        except CONNECTION_LOST:
            return None


def soak(plan: Plan, slack: float) -> int:
    """Carry out a plan on a server of its own, and tell what came of it; gives the exit code."""
    with tempfile.TemporaryDirectory() as folder, embedded.start(Path(folder) / ".pqclock") as server:
        database = Database(server.url, connect(server.url, "pqclock", "test"))
        migrate.migrate(database.session)
        fleet = Fleet(Path(folder), server.url)
        soaking = Soak(plan, fleet, database)
        try:
            report = soaking.run()
        finally:
            fleet.end()
            soaking.close()
    broken = report.broken(Limits.times(slack))
    print(report.as_table(), end="\n\n")
    print(json.dumps({"plan": asdict(plan), **report.as_json(), "broken": broken}))
    for sentence in broken:
        print(f"broken: {sentence}", file=sys.stderr)
    return 1 if broken else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, and soak."""
    parser = argparse.ArgumentParser(prog="processes.soak", description="Clocks under failover, held to their laws.")
    parser.add_argument("--for", dest="length", type=_seconds, default=Plan.length)
    for name in ("kill-every", "freeze-every", "restart-every"):
        parser.add_argument(f"--{name}", type=_seconds, default=getattr(Plan, name.replace("-", "_")))
    for name in ("schedules", "clocks", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Plan, name))
    parser.add_argument(
        "--slack", type=float, default=1.0, help="how many times as long waits may be on a busy machine"
    )
    given = vars(parser.parse_args(arguments))
    slack = given.pop("slack")
    return soak(Plan(**given), slack)


def _seconds(text: str) -> float | None:
    """A duration; nothing is never."""
    return parse_duration(text).total_seconds() if text else None


if __name__ == "__main__":
    sys.exit(main())
