"""`simulate`: what files come to, offline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]

FILES = """
[schedule.nightly]
task = "reports.nightly"
cron = "30 2 * * *"
timezone = "Europe/Berlin"
queue = "reports"

[schedule.hourly]
task = "x"
every = "1h"

[schedule.off]
task = "x"
every = "1h"
enabled = false
"""
YEAR = ("--from", "2027-01-01", "--to", "2028-01-01")


@pytest.fixture
def files(command: Command) -> None:
    Path("schedules").mkdir()
    Path("schedules/a.toml").write_text(FILES, encoding="utf-8")


def test_simulate_for_tools(files: None, command: Command) -> None:
    found = command("simulate", *YEAR, "--json").json
    assert found["version"] == 1 and found["next"] is None
    assert {row["key"]: row["ticks"] for row in found["schedules"]} == {"nightly": 365, "hourly": 8760}
    assert [(row["queue"], row["ticks"], row["most"]) for row in found["queues"]] == [
        ("reports", 365, 1),
        (None, 8760, 1),
    ]
    assert found["range"][0]["window_until"] == "2027-01-08T00:00:00Z"
    assert [len(hours) for hours in found["heat"]] == [24] * 7
    changes = [(row["key"], row["effect"], row["instant"], row["before"]) for row in found["clock_changes"]]
    assert changes == [
        ("nightly", "shifted", "2027-03-28T01:00:00Z", 3600),
        ("nightly", "once", "2027-10-31T01:00:00Z", 7200),
    ]
    assert found["empty_dates"] == [] and len(found["busiest"]) == 10


def test_simulate_for_people(files: None, command: Command) -> None:
    done = command("simulate", *YEAR)
    assert done.code == 0
    assert "2 schedules from 2027-01-01T00:00:00Z to 2028-01-01T00:00:00Z: 9,125 ticks" in done.err
    assert "1 schedule not enabled" in done.err
    assert "ticks by weekday and hour" in done.out and "Wed" in done.out
    assert "2027-03-28 03:00:00 CEST" in done.out and "shifted" in done.out


def test_dates_without_ticks(command: Command) -> None:
    Path("a.toml").write_text('[schedule.a]\ntask = "x"\ncron = "0 0 * * MON"\n', encoding="utf-8")
    found = command("simulate", "a.toml", "--from", "2027-01-04", "--to", "2027-01-11", "--json").json
    assert found["empty_dates"] == [f"2027-01-{day:02}" for day in range(5, 11)]
    assert "dates without any tick" in command("simulate", "a.toml", *YEAR).out


def test_a_window_that_is_too_long_says_so(command: Command) -> None:
    Path("a.toml").write_text('[schedule.a]\ntask = "x"\nevery = "1s"\n', encoding="utf-8")
    done = command("simulate", "a.toml", "--window", "2w")
    assert done.code == 0 and "the window was made shorter" in done.err


@pytest.mark.parametrize(
    "asked",
    [
        ("--from", "2027-01-02", "--to", "2027-01-01"),
        ("--from", "2027-01-02", "--to", "2200-01-01"),
        ("--from", "9998-01-02"),
        ("--from", "nonsense"),
        ("--window", "nonsense"),
        ("--window", "1s"),
    ],
)
def test_ranges_that_are_none(files: None, command: Command, asked: tuple[str, ...]) -> None:
    done = command("simulate", *asked)
    assert done.code == 2 and done.out == "" and "Traceback" not in done.err


def test_broken_files_are_not_simulated(command: Command) -> None:
    done = command("simulate", "missing.toml")
    assert done.code == 1 and "no such file" in done.err


def test_no_schedules(command: Command) -> None:
    Path("a.toml").write_text("", encoding="utf-8")
    assert command("simulate", "a.toml").code == 0
