"""Gates over a whole fleet: no limit is exceeded, and what is allowed is used, whatever is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from itertools import pairwise

import pytest

from conftest import Database
from processes.admissions import by_key, most_at_once, most_in_a_window, read_runs
from processes.fleet import Fleet, children_of, eventually
from processes.test_workers import workers
from store.gated import enqueue_gated, fuse, throttle

APP = "processes.gated:app"
KEYS = [f"k{n}" for n in range(8)]
RATE, CONCURRENCY = 10, 3


def start(fleet: Fleet, queues: str = "*:8", skew: float = 0.0) -> subprocess.Popen[bytes]:
    return fleet.start("worker", "--app", APP, "--queues", queues, PQCLOCK_TEST_SKEW=str(skew))


def backlog(database: Database, count: int, seconds: float) -> None:
    for key in KEYS:
        gates = [f"throttle:stripe:{key}", f"throttle:pool:{key}"]
        args = f'{{"key": "{key}", "seconds": {seconds}}}'
        enqueue_gated(database.session, *gates, count=count, task="hit", args=args)


def ran(fleet: Fleet) -> int:
    return sum(len(file.read_text().splitlines()) for file in fleet.folder.glob("runs-*.jsonl"))


@pytest.mark.timeout(120)
def test_no_window_is_exceeded_by_a_fleet_whose_workers_are_killed(fleet: Fleet, database: Database) -> None:
    throttle(database.session, "stripe", rate=RATE, per="1 second")
    throttle(database.session, "pool", concurrency=CONCURRENCY)
    fleet.clock()
    parents = [start(fleet, skew=skew) for skew in (0.0, 3600.0, -3600.0, 0.25)]
    eventually(lambda: workers(database) == 4)
    backlog(database, 400, 0.1)
    chance, killed = random.Random(7), dict[int, float]()
    begin = time.time()
    while time.time() < begin + 15:
        time.sleep(chance.uniform(0.5, 1.5))
        for pid in children_of(chance.choice(parents)):
            os.kill(pid, signal.SIGKILL)
            killed[pid] = time.time()
    quiet = time.time() + 3
    time.sleep(8)
    end = time.time() - 0.5
    runs = read_runs(fleet.folder, killed)
    for key, of_key in by_key(runs).items():
        grants = [run.granted for run in of_key]
        assert most_in_a_window(grants, 1.0) <= RATE, key
        assert most_at_once(of_key) <= CONCURRENCY, key
        used = [instant for instant in grants if quiet <= instant < end]
        assert len(used) >= 0.95 * RATE * (end - quiet), (key, len(used), max(b - a for a, b in pairwise(sorted(used))))
    assert set(by_key(runs)) == set(KEYS)
