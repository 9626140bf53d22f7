"""What `pqclock` gives away, and how little its import costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pqclock

NAMES = [
    "App",
    "ArgumentError",
    "Cancel",
    "Cancelled",
    "Checkpoint",
    "Cooldown",
    "Cron",
    "CronError",
    "DatabaseUnreachable",
    "Failure",
    "FanOut",
    "Job",
    "JobFailed",
    "JobHandle",
    "JobNotFinished",
    "LeaseLost",
    "PqclockError",
    "Refused",
    "Retry",
    "SettingsError",
    "Snooze",
    "Task",
    "Timeout",
    "Unique",
    "UniqueConflict",
    "UnknownJob",
    "current_job",
]


def test_the_public_names_are_these_and_in_order() -> None:
    assert pqclock.__all__ == NAMES == sorted(NAMES)


@pytest.mark.parametrize("name", pqclock.__all__)
def test_every_public_name_can_be_imported_and_is_documented(name: str) -> None:
    assert getattr(pqclock, name).__doc__
    assert name in dir(pqclock)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'pqclock' has no attribute 'app'"):
        pqclock.app  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import pqclock", ["psycopg", "croniter", "click", "rich", "asyncio"]),
        ("from pqclock import Cron", ["psycopg", "click", "rich"]),
    ],
)
def test_an_import_loads_only_what_it_needs(statement: str, unwanted: list[str]) -> None:
    code = f"import sys; {statement}; print(*sorted(set(sys.modules) & {set(unwanted)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
