"""`pqclock schedules put|remove|pause|resume|trigger` against a real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pqclock.clock.applier import apply
from pqclock.rules.schedule import Schedule

Command = Callable[..., Any]


@pytest.fixture
def scheduled(database: Any, command: Command) -> Command:
    """`pqclock schedules`, with the address of the test's database."""
    return lambda *args: command("schedules", *args, PQCLOCK_DATABASE_URL=database.url)


PUT = ("put", "customer-42", "--task", "mail.send")


def test_put_and_remove(database: Any, scheduled: Command) -> None:
    fields = ("--cron", "0 8 * * *", "--timezone", "Europe/Berlin", "--queue", "mail", "--priority", "-3")
    more = ("--args", '{"to": "ada"}', "--label", "a", "--label", "b", "--catch-up", "all", "--max-attempts", "2")
    done = scheduled(*PUT, *fields, *more, "--json")
    assert (done.code, done.err) == (0, "")
    (row,) = done.json["schedules"]
    assert done.json["version"] == 1 and done.json["next"] is None
    assert (row["key"], row["source"], row["state"], row["cron"]) == ("customer-42", "api", "active", "0 8 * * *")
    assert database.value("SELECT definition FROM pqclock.schedule") == {
        "task": "mail.send",
        "cron": "0 8 * * *",
        "timezone": "Europe/Berlin",
        "queue": "mail",
        "priority": -3,
        "args": {"to": "ada"},
        "labels": ["a", "b"],
        "catch_up": "all",
        "max_attempts": 2,
    }
    assert scheduled(*PUT, *fields, *more).err == "schedule customer-42: it is so already, nothing changed\n"
    assert scheduled(*PUT, "--at", "2030-01-01T00:00:00Z").err == "schedule customer-42: put\n"
    assert scheduled("remove", "customer-42", "--json").json["schedules"][0]["state"] == "removed"
    again = scheduled("remove", "customer-42", "--json")
    assert (again.code, again.json["error"]["code"]) == (1, "unknown_schedule")
    assert again.json["error"]["where"] == "pqclock schedules remove"


def test_faults_of_a_put_are_told_at_once(scheduled: Command) -> None:
    done = scheduled("put", "A", "--task", "t", "--cron", "x y", "--every", "1m", "--queue", "-", "--json")
    assert (done.code, done.json["error"]["code"]) == (2, "argument")
    lines = done.json["error"]["message"].splitlines()
    assert len(lines) >= 3 and any(line.startswith("queue ") for line in lines)
    assert "exactly one of cron, every and at is needed" in scheduled(*PUT).err


def test_pause_resume_and_the_list(scheduled: Command) -> None:
    scheduled(*PUT, "--every", "1h")
    done = scheduled("pause", "customer-42", "--for", "2h", "--note", "moving", "--json")
    (row,) = done.json["schedules"]
    assert (row["state"], row["note"]) == ("paused", "moving")
    assert "paused until" in scheduled("list").out and "moving" in scheduled("list").out
    assert "paused until" in scheduled("pause", "customer-42", "--for", "2h").err
    assert scheduled("pause", "customer-42").err == (
        "schedule customer-42: paused; `pqclock schedules resume` ends it\n"
    )
    assert scheduled("list", "--state", "paused", "--json").json["schedules"][0]["paused_until"].startswith("9999")
    assert scheduled("resume", "customer-42").err == "schedule customer-42: resumed\n"
    assert "not paused" in scheduled("resume", "customer-42").err
    assert "paused" not in scheduled("list").out
    assert scheduled("pause", "customer-42", "--until", "2999-01-01").code == 0


def test_trigger(database: Any, scheduled: Command) -> None:
    scheduled(*PUT, "--every", "1h", "--args", '{"day": "{key}", "n": 1}')
    done = scheduled("trigger", "customer-42", "--args", '{"n": 2}', "--json")
    assert (done.code, done.err) == (0, "")
    (job,) = done.json["jobs"]
    assert (job["state"], job["schedule_key"], job["tick"]) == ("ready", "customer-42", None)
    assert job["args"] == {"day": "customer-42", "n": 2}
    assert "is ready; see `pqclock jobs show" in scheduled("trigger", "customer-42").err
    assert database.value("SELECT count(*) FROM pqclock.tick") == 0


def test_a_schedule_of_files_is_named_with_its_file(database: Any, scheduled: Command) -> None:
    nightly = Schedule("nightly", "t", cron="0 2 * * *", source="schedules/a.toml:7")
    apply(database.session, "default", "1", [nightly], explicit=True)
    for verb in (("remove", "nightly"), ("put", "nightly", "--task", "t", "--every", "1m")):
        done = scheduled(*verb)
        assert done.code == 2 and "declared in schedules/a.toml:7" in done.err
    assert scheduled("pause", "nightly").code == 0
    for name in ("remove", "pause", "resume", "trigger"):
        done = scheduled(name, "nigthly")
        assert done.code == 1 and 'did you mean "nightly"?' in done.err


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (("put", "a"), "Missing option '--task'"),
        ((*PUT, "--every", "1m", "--args", "{"), "is no JSON"),
        ((*PUT, "--every", "1m", "--args", "[1]"), "is no JSON object"),
        (("pause", "a", "--for", "soon"), "'soon' is not a duration"),
        (("pause", "a", "--until", "2020-99-99"), "is no instant"),
        (("pause", "a", "--until", "2999-01-01", "--for", "1h"), "give one of them"),
        (("trigger", "a\0b"), "characters that the database cannot have"),
    ],
)
def test_wrong_usage(args: tuple[str, ...], part: str, scheduled: Command) -> None:
    done = scheduled(*args)
    assert done.code == 2 and part in done.err and "Traceback" not in done.err


def test_a_pause_that_is_over_is_refused(scheduled: Command) -> None:
    scheduled(*PUT, "--every", "1h")
    done = scheduled("pause", "customer-42", "--until", "2020-01-01")
    assert done.code == 2 and "is over already" in done.err
