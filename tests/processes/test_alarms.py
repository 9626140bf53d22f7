"""Broken promises among real processes: who finds them, who tells, and that it is told while nobody leads."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Database
from processes.fleet import Fleet, eventually
from processes.test_clocks import leader

SCHEDULES = """
[schedule.promised]
task = "note"
every = "1s"
catch_up = "none"
alert_after = "2s"

[schedule.unpromised]
task = "note"
every = "1s"

[queue.default]
slo = "2s"
"""


def told(folder: Path) -> list[tuple[str, str, str]]:
    """What the program was told: kind, subject, state."""
    file = folder / "told"
    lines = file.read_text().splitlines() if file.exists() else []
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [(one["kind"], one["subject"], one["state"]) for one in found]


@pytest.fixture
def hook(fleet: Fleet) -> dict[str, str]:
    """Settings with a program that notes what it is told."""
    script = "import sys; open('told', 'a').write(sys.stdin.read() + chr(10))"
    return {"PQCLOCK_ALARM_COMMAND": shlex.join([sys.executable, "-c", script])}


def test_the_leader_tells_of_missed_runs_and_late_queues_and_of_their_end(fleet: Fleet, hook: dict[str, str]) -> None:
    fleet.schedules(SCHEDULES)
    fleet.start("clock", **hook)
    broken = {("missed", "promised", "raised"), ("slo", "default", "raised")}
    eventually(lambda: broken <= set(told(fleet.folder)), 25.0)
    fleet.start("worker", "--app", "processes.apps:app", **hook)
    over = {("missed", "promised", "over"), ("slo", "default", "over")}
    eventually(lambda: over <= set(told(fleet.folder)), 25.0)
    assert len(told(fleet.folder)) == 4


def test_when_the_leader_is_silent_a_worker_tells(fleet: Fleet, database: Database, hook: dict[str, str]) -> None:
    # Decided on at its time: what was inserted ahead would be run by workers for a minute more.
    fleet.schedules(SCHEDULES.replace('alert_after = "2s"', 'alert_after = "2s"\noverlap = "skip"'))
    clock = fleet.start("clock", **hook)
    workers = [fleet.start("worker", "--app", "processes.apps:app", **hook) for _ in range(2)]
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.jobs WHERE state = 'succeeded'"))
    assert told(fleet.folder) == []
    clock.kill()
    eventually(lambda: {("silence", "", "raised"), ("missed", "promised", "raised")} <= set(told(fleet.folder)), 30.0)
    assert all(worker.poll() is None for worker in workers)
    fleet.start("clock", **hook)
    eventually(lambda: leader(database))
    over = {("silence", "", "over"), ("missed", "promised", "over")}
    eventually(lambda: over <= set(told(fleet.folder)), 30.0)
    assert len(told(fleet.folder)) == len(set(told(fleet.folder)))
