"""Long work that is killed time and again, and neighbours of jobs that kill their process."""

from __future__ import annotations

import os
import random
import signal
import statistics
import time
from dataclasses import dataclass
from datetime import timedelta

from conftest import Database
from pqclock.store import jobs
from pqclock.store.jobs import NewJob
from processes.fleet import Fleet, children_of, eventually

# What a kill may cost an iteration, in seconds of its work.
REPEATED_AT_MOST = 5.0
# By how much a poison job may delay those that run beside it; what is not measurable is no delay, in seconds.
DELAYED_AT_MOST = 1.2
UNNOTICED = 0.0005


@dataclass(frozen=True)
class March:
    """What came of an iteration that was killed; `repeated` are the seconds of work done twice, the most of one kill."""

    task: str
    steps: int
    kills: int
    missing: int
    twice: int
    repeated: float
    seconds: float

    def faults(self) -> list[str]:
        """The laws that were broken, in words."""
        found = [f"{self.missing} of {self.steps} steps of {self.task} were not done"] if self.missing else []
        if self.task == "ledger" and self.twice:
            found.append(f"{self.twice} steps in transactions of their own were done twice")
        if self.repeated > REPEATED_AT_MOST:
            found.append(f"a kill had {self.repeated:.1f} s of work done again")
        return found


@dataclass(frozen=True)
class Neighbours:
    """Start delays of short jobs in seconds, alone and beside poison jobs."""

    poisons: int
    p50_alone: float
    p50_beside: float
    p95_alone: float
    p95_beside: float

    def faults(self) -> list[str]:
        """The law that was broken, in words."""
        if self.p50_beside <= DELAYED_AT_MOST * self.p50_alone + UNNOTICED:
            return []
        return [f"poison jobs delay their neighbours: {self.p50_beside:.4f} s instead of {self.p50_alone:.4f} s (p50)"]


def march(fleet: Fleet, database: Database, *, steps: int, kills: int, pause: float, within: float) -> March:
    """Kill an iteration at some moment after each time it has saved how far it came; its steps leave lines in a file."""
    seconds = _killed_at_random(fleet, database, NewJob("march", _args(steps, pause), queue="march"), kills, within)
    lines = [line.split() for line in (fleet.folder / "steps").read_text().splitlines()]
    # Of each step, when it was done last; a number that comes again is where a run has begun after a kill.
    done: dict[int, float] = {}
    repeated, before, twice = 0.0, 0.0, 0
    last = 0
    for number, at in ((int(number), float(at)) for number, at in lines):
        if number <= last:
            repeated = max(repeated, before - done[number])
        twice += number in done
        done[number] = before = at
        last = number
    return March("march", steps, kills, steps - len(done), twice, round(repeated, 2), seconds)


def ledger(fleet: Fleet, database: Database, *, steps: int, kills: int, pause: float, within: float) -> March:
    """The same where the steps are rows, in the transactions of their checkpoints."""
    database.session.conn.execute("CREATE TABLE steps (n integer)")
    seconds = _killed_at_random(fleet, database, NewJob("ledger", _args(steps, pause), queue="march"), kills, within)
    (row,) = database.rows("SELECT count(DISTINCT n), count(*) - count(DISTINCT n) FROM steps")
    done, twice = (int(str(number)) for number in row)
    return March("ledger", steps, kills, steps - done, twice, 0.0, seconds)


def _args(steps: int, pause: float) -> str:
    return f'{{"last": {steps}, "pause": {pause}}}'


def _killed_at_random(fleet: Fleet, database: Database, job: NewJob, kills: int, within: float) -> float:
    fleet.clock()
    parent = fleet.worker("march:1")
    began = time.monotonic()
    job_id = jobs.insert(database.session, [job])[0][0]
    for _ in range(kills):
        before = _cursor(database)
        eventually(lambda before=before: _cursor(database) > before, 30)  # type: ignore[misc]
        # Somewhere between this save and the next one.
        time.sleep(random.uniform(0.0, 4.0 if job.task == "march" else 0.3))
        for pid in children_of(parent):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: database.value("SELECT state FROM pqclock.jobs WHERE id = %s", job_id) == "succeeded", within)
    return round(time.monotonic() - began, 1)


def _cursor(database: Database) -> int:
    return int(str(database.value("SELECT coalesce(max((checkpoint ->> 'cursor')::int), 0) FROM pqclock.job")))


def neighbours(fleet: Fleet, database: Database, *, seconds: float, poison_every: float) -> Neighbours:
    """Short jobs come in steadily, first alone, then beside jobs that kill their process."""
    fleet.clock()
    for _ in range(2):
        fleet.worker("storm:4")
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.process WHERE kind = 'worker'") == 2)
    _stream(fleet, database, 1.0, 0.0)
    alone, _ = _stream(fleet, database, seconds, 0.0)
    beside, poisons = _stream(fleet, database, seconds, poison_every)
    return Neighbours(
        poisons, round(statistics.median(alone), 5), round(statistics.median(beside), 5), _p95(alone), _p95(beside)
    )


def _p95(delays: list[float]) -> float:
    return round(sorted(delays)[int(0.95 * len(delays))], 5)


def _stream(fleet: Fleet, database: Database, seconds: float, poison_every: float) -> tuple[list[float], int]:
    """The start delays of short jobs, and the number of poison jobs among them."""
    begins = fleet.folder / "begins"
    begins.write_text("")
    until = time.monotonic() + seconds
    next_poison = time.monotonic() if poison_every else until
    ids, poisons = [], 0
    while time.monotonic() < until:
        if time.monotonic() >= next_poison:
            jobs.insert(database.session, [NewJob("poison", "{}", queue="storm")])
            next_poison += poison_every
            poisons += 1
        ids += jobs.insert(database.session, [NewJob("brief", "{}", queue="storm", delay=timedelta(0))])
        time.sleep(0.02)
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.job WHERE task = 'brief'") == 0, 30)
    came = {
        int(str(job_id)): float(str(at))
        for job_id, at in database.rows("SELECT id, extract(epoch FROM created_at)::float8 FROM pqclock.job_history")
    }
    first: dict[int, float] = {}
    for line in begins.read_text().splitlines():
        job_id, at = line.split()
        first.setdefault(int(job_id), float(at))
    return [first[job_id] - came[job_id] for job_id, _ in ids], poisons
