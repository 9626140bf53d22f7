"""`plan` against a real server: what it tells is what `apply` does, and it does nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]

A = '[schedule.a]\ntask = "t"\nevery = "1h"\n'
B = '[schedule.b]\ntask = "t"\ncron = "0 2 * * *"\n'


@pytest.fixture
def planned(database: Any, command: Command) -> Command:
    """The command, with the address of the test's database."""
    Path("schedules").mkdir()
    return lambda *args: command(*args, PQCLOCK_DATABASE_URL=database.url)


def write(text: str) -> None:
    Path("schedules/s.toml").write_text(text, encoding="utf-8")


def test_what_would_change(database: Any, planned: Command) -> None:
    write(A + B)
    found = planned("plan", "--json").json
    assert [(one["change"], one["key"], one["fields"]) for one in found["changes"]] == [
        ("added", "a", []),
        ("added", "b", []),
    ]
    assert found["summary"][0] | {"files": "new", "added": 2, "unchanged": 0} == found["summary"][0]
    assert database.value("SELECT count(*) FROM pqclock.schedule") == 0
    assert database.value("SELECT count(*) FROM pqclock.set_version") == 0
    planned("apply")
    found = planned("plan", "--json").json
    assert found["changes"] == [] and found["summary"][0]["files"] == "in force"
    assert planned("plan", "--exit-code").code == 0


def test_field_by_field(planned: Command) -> None:
    write(A + B)
    planned("apply")
    write(
        "\n\n" + A + '[schedule.c]\ntask = "t"\nevery = "2h"\n' + B.replace("0 2 * * *", "5 2 * * *") + 'queue = "q"\n'
    )
    found = planned("plan", "--json").json
    changes = {one["key"]: one for one in found["changes"]}
    assert {key: one["change"] for key, one in changes.items()} == {"a": "moved", "b": "changed", "c": "added"}
    fields = {field["name"]: (field["old"], field["new"]) for field in changes["b"]["fields"]}
    assert fields["cron"] == ("0 2 * * *", "5 2 * * *") and fields["queue"] == (None, "q")
    done = planned("plan")
    assert done.code == 0 and '    cron: "0 2 * * *" -> "5 2 * * *"' in done.out
    assert "    queue: not set -> " in done.out and "1 added, 1 changed, 0 renamed, 0 removed, 1 moved" in done.err
    assert planned("plan", "--exit-code").code == 1


def test_removed_and_coming_back(planned: Command) -> None:
    write(A + B)
    planned("apply")
    write(A)
    assert "removed  b" in planned("plan").out
    planned("apply")
    write(A + B)
    done = planned("plan")
    assert '    state: "removed" -> "active"' in done.out
    assert "older than the ones in force" in done.err


def test_what_belongs_to_another_set_is_an_error(planned: Command) -> None:
    write(A)
    planned("apply", "--set", "other")
    write(A + B)
    done = planned("plan")
    assert done.code == 1
    assert "refused  a" in done.out and "belongs to set 'other'" in done.out and "added    b" in done.out
    assert planned("apply").code == 1


def test_what_would_be_caught_up(database: Any, planned: Command) -> None:
    write(A + B + 'catch_up = "none"\n')
    planned("apply")
    ago = "UPDATE pqclock.schedule SET planned_to = %s, next_tick = %s"
    then = database.value("SELECT now()") - timedelta(days=3)
    database.rows(ago + " RETURNING 1", then, then)
    found = planned("plan", "--json").json
    caught = {one["key"]: (one["inserted"], one["skipped"]) for one in found["catch_up"]}
    assert caught["a"][0] == 1 and set(caught["a"][1]) == {"window", "latest"} and sum(caught["a"][1].values()) == 71
    assert caught["b"] == (0, {"missed": 3})
    assert database.value("SELECT count(*) FROM pqclock.tick") == 0
    assert "missed ticks" in planned("plan").out


def test_hostile_definitions_are_shown_harmlessly(database: Any, planned: Command) -> None:
    write(A)
    planned("apply")
    hostile = '{"task": "t\\u001b[31m", "every": "nonsense"}'
    database.rows(
        "UPDATE pqclock.schedule SET definition = %s, planned_to = now() - interval '1 day', next_tick = now() RETURNING 1",
        hostile,
    )
    done = planned("plan")
    assert done.code == 0 and "\x1b" not in done.out
    assert "the definition cannot be read" in done.out


def test_without_files_or_tables(empty_url: str, command: Command) -> None:
    assert command("plan", PQCLOCK_DATABASE_URL=empty_url).code == 2
    Path("a.toml").write_text("nonsense", encoding="utf-8")
    assert command("plan", "a.toml").code == 1
    Path("a.toml").write_text(A, encoding="utf-8")
    assert command("plan", "a.toml").code == 4


def test_promises_of_queues_and_schedules(database: Any, planned: Command) -> None:
    write(A + 'alert_after = "10m"\n[queue.mice]\nslo = "15m"\n[queue.plain]\n')
    found = planned("plan", "--json").json
    assert [(one["rule"], one["change"]) for one in found["rules"]] == [("queue.mice", "added")]
    assert planned("apply").code == 0
    assert database.rows("SELECT queue, slo FROM pqclock.queue_slo") == [("mice", "15m")]
    assert database.value("SELECT within FROM pqclock.promise") == timedelta(minutes=10)
    write(A + 'alert_after = "5m"\n[queue.mice]\nslo = "1m"\n')
    done = planned("plan")
    assert 'changed  [queue.mice]\n    slo: "15m" -> "1m"' in done.out and '    alert_after: "10m" -> "5m"' in done.out
    assert planned("plan", "--exit-code").code == 1
    assert planned("apply").code == 0
    assert database.value("SELECT within FROM pqclock.promise") == timedelta(minutes=5)
    write(A)
    assert "removed  [queue.mice]" in planned("plan").out
    assert planned("apply").code == 0
    assert (
        database.value("SELECT count(*) FROM pqclock.queue_slo")
        == 0
        == database.value("SELECT count(*) FROM pqclock.promise")
    )
