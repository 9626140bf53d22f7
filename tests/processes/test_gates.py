"""Gates over a whole fleet: no limit is exceeded, and what is allowed is used, whatever is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from itertools import pairwise
from typing import Any

import pytest

from conftest import Database
from pqclock import App
from pqclock.loop import now
from processes.admissions import by_key, most_at_once, most_in_a_window, read_runs
from processes.fleet import Fleet, children_of, eventually, is_alive
from processes.test_workers import workers

APP = "processes.gated:app"
BLOWN = """
    SELECT blown_until, clock_timestamp() FROM pqclock.gate WHERE kind = 'fuse' AND blown_until > clock_timestamp()"""
KEYS = [f"k{n}" for n in range(8)]
RATE, CONCURRENCY = 10, 3


def start(fleet: Fleet, queues: str = "*:8", skew: float = 0.0) -> subprocess.Popen[bytes]:
    return fleet.start("worker", "--app", APP, "--queues", queues, PQCLOCK_TEST_SKEW=str(skew))


def declare(database: Database, rule: str, terms: dict[str, Any]) -> None:
    """Put a rule at run time."""
    app = App(database.url)
    app.rules.put(rule, **terms)
    app.close()


def put(database: Database, task: str, key: str, seconds: float = 0.0, count: int = 1, priority: int = 0) -> None:
    """Enqueue jobs from SQL, by what the workers have published of the task."""
    text = "SELECT count(pqclock.enqueue(%s, %s, priority => %s)) FROM generate_series(1, %s)"
    database.value(text, task, f'{{"key": "{key}", "seconds": {seconds}}}', priority, count)


def busy(fleet: Fleet) -> list[int]:
    """The processes in which something runs."""
    texts = {int(file.stem.partition("-")[2]): file.read_text() for file in fleet.folder.glob("runs-*.jsonl")}
    return [pid for pid, text in texts.items() if is_alive(pid) and text.count('"began"') > text.count('"ended"')]


def ran(fleet: Fleet) -> int:
    return sum(len(file.read_text().splitlines()) for file in fleet.folder.glob("runs-*.jsonl"))


@pytest.mark.timeout(120)
def test_no_window_is_exceeded_by_a_fleet_whose_workers_are_killed(fleet: Fleet, database: Database) -> None:
    declare(database, "throttle.stripe", {"rate": f"{RATE}/1s"})
    declare(database, "throttle.pool", {"concurrency": CONCURRENCY})
    fleet.clock()
    parents = [start(fleet, skew=skew) for skew in (0.0, 3600.0, -3600.0, 0.25)]
    eventually(lambda: workers(database) == 4)
    for key in KEYS:
        put(database, "hit", key, 0.1, count=400)
    chance, killed = random.Random(7), dict[int, float]()
    begin = now().timestamp()
    while now().timestamp() < begin + 8:
        time.sleep(chance.uniform(0.5, 1.5))
        for pid in children_of(chance.choice(parents)):
            os.kill(pid, signal.SIGKILL)
            killed[pid] = now().timestamp()
    quiet = now().timestamp() + 3
    time.sleep(8)
    end = now().timestamp() - 0.5
    runs = read_runs(fleet.folder, killed)
    for key, of_key in by_key(runs).items():
        grants = [run.granted for run in of_key]
        assert most_in_a_window(grants, 1.0) <= RATE, key
        assert most_at_once(of_key) <= CONCURRENCY, key
        used = [instant for instant in grants if quiet <= instant < end]
        assert len(used) >= 0.95 * RATE * (end - quiet), (key, len(used), max(b - a for a, b in pairwise(sorted(used))))
    assert set(by_key(runs)) == set(KEYS)


def test_a_place_is_free_again_when_its_worker_was_killed(fleet: Fleet, database: Database) -> None:
    declare(database, "throttle.one", {"concurrency": 1})
    fleet.clock()
    parents = [start(fleet, "*:2") for _ in range(2)]
    eventually(lambda: workers(database) == 2)
    put(database, "alone", "a", 60.0)
    eventually(lambda: ran(fleet) == 1)
    (log,) = fleet.folder.glob("runs-*.jsonl")
    holder = int(log.stem.partition("-")[2])
    put(database, "alone", "b", count=3, priority=-1)
    os.kill(holder, signal.SIGKILL)
    died = time.monotonic()
    eventually(lambda: ran(fleet) >= 1 + 2 * 3)
    assert time.monotonic() - died < 3.0
    assert all(parent.poll() is None for parent in parents)


@pytest.mark.timeout(120)
def test_a_blown_fuse_lets_only_probes_through_and_heals_though_probes_are_killed(
    fleet: Fleet, database: Database
) -> None:
    declare(database, "fuse.api", {"failures": 3, "within": "1m", "cool_down": "1s", "probes": 2})
    fleet.clock()
    for _ in range(3):
        start(fleet, "*:8")
    eventually(lambda: workers(database) == 3)
    (fleet.folder / "broken").touch()
    for key in KEYS:
        put(database, "risky", key, 0.3, count=10)
    blown: dict[float, float] = {}
    killed: dict[int, float] = {}
    end = time.monotonic() + 12
    while time.monotonic() < end:
        for until, seen in database.rows(BLOWN):
            blown.setdefault(until.timestamp(), seen.timestamp())  # type: ignore[attr-defined]
        if len(blown) >= 3 * (len(killed) + 1) and len(killed) < 2 and (probing := busy(fleet)):
            os.kill(probing[0], signal.SIGKILL)
            killed[probing[0]] = now().timestamp()
        time.sleep(0.01)
    (fleet.folder / "broken").unlink()
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.job") == 0, within=30)
    assert len(blown) >= 4 and len(killed) == 2
    runs = read_runs(fleet.folder, killed)
    for until, seen in blown.items():
        assert not [run.granted for run in runs if seen < run.granted < until]
    first_blown = min(blown.values())
    healed = max(blown)
    assert most_at_once([run for run in runs if first_blown < run.granted < healed]) <= 2
