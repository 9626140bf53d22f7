"""`alarms`: what is wrong and what was, and a test of those who are to hear of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Database
from pqclock.store import alarms

Command = Callable[..., Any]


@pytest.fixture
def told(database: Database, command: Command) -> Command:
    """The command `alarms`, with the address of the test's database."""
    return lambda *args, **environ: command("alarms", *args, PQCLOCK_DATABASE_URL=database.url, **environ)


def test_open_alarms_come_before_those_that_are_over(told: Command, database: Database) -> None:
    assert told().err == "nothing is wrong, and nothing was for as long as that is kept\n"
    for subject in ("first", "second", "third"):
        alarms.begin(database.session, "missed", subject, f"no run of {subject}")
    alarms.end(database.session, "missed", "second")
    assert [one["subject"] for one in told("--json").json["alarms"]] == ["first", "third", "second"]
    assert [one["subject"] for one in told("--json", "--limit", "1").json["alarms"]] == ["first"]
    assert [one["subject"] for one in told("list", "--open", "--json").json["alarms"]] == ["first", "third"]
    assert "no run of second" in told().out and "no run of second" not in told("--open").out


def test_why_somebody_was_not_told_stands_beside_it(told: Command, database: Database) -> None:
    alarms.begin(database.session, "slo", "mice", "slow")
    (news,) = alarms.claim_untold(database.session)
    alarms.not_told(database.session, news, "alarm_ping: hc.example answered 503")
    assert "slow (not told: alarm_ping: hc.example answered 503)" in told().out
    assert told("--json").json["alarms"][0]["untold"] == "alarm_ping: hc.example answered 503"
    alarms.told(database.session, news)
    assert "not told" not in told().out


def test_hooks_can_be_tried(told: Command, database: Database, tmp_path: Path) -> None:
    script = tmp_path / "page.sh"
    script.write_text(f"#!/bin/sh\ncat >> {tmp_path}/heard; echo >> {tmp_path}/heard\n")
    script.chmod(0o755)
    for _ in range(2):
        done = told("test", "--json", PQCLOCK_ALARM_COMMAND=str(script), PQCLOCK_ALARM_TASK="ops.page")
        assert done.code == 0, done.err
        assert [(one["hook"], one["state"], one["fault"]) for one in done.json["heard"]] == [
            (hook, state, None) for hook in ("alarm_task", "alarm_command") for state in ("raised", "over")
        ]
    heard = [json.loads(line) for line in (tmp_path / "heard").read_text().splitlines()]
    assert [(one["kind"], one["state"]) for one in heard] == [("test", "raised"), ("test", "over")] * 2
    assert heard[1]["message"].startswith("is over after")
    # Each test is told anew.
    assert database.value("SELECT count(*) FROM pqclock.job WHERE task = 'ops.page'") == 4
    assert database.value("SELECT count(*) FROM pqclock.alarm") == 0


def test_a_hook_that_does_not_hear_fails_the_test(told: Command) -> None:
    done = told("test", PQCLOCK_ALARM_COMMAND="sh -c 'echo no phone >&2; exit 3'")
    assert done.code == 1 and "ended with code 3: no phone" in done.out
    done = told("test", PQCLOCK_ALARM_COMMAND="")
    assert done.code == 2


def test_without_hooks_there_is_nothing_to_try(told: Command) -> None:
    done = told("test")
    assert done.code == 2 and "nobody is named who hears of alarms: set alarm_command" in done.err
