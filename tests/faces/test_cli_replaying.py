"""`gates replay` against a real server: runs of the past, and what a rule would have made of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pqclock import App
from pqclock.errors import ArgumentError, UnknownRule
from pqclock.rules.files import rule_from_fields
from pqclock.store import replaying

Command = Callable[..., Any]

HISTORY = """
INSERT INTO pqclock.job_history (id, state, queue, task, args, priority, labels, run_at, attempt, max_attempts, gates,
                                 created_at, started_at, finished_at)
SELECT %(id)s, 'succeeded', 'q', %(task)s, %(args)s, 0, '{}', now(), 1, 1, %(gates)s, now(), t.at, t.at + %(length)s
FROM (SELECT date_trunc('second', now()) - %(ago)s AS at) AS t
"""
ATTEMPT = """
INSERT INTO pqclock.attempt (job_id, attempt, outcome, started_at, finished_at, error_type)
SELECT %(id)s, 1, %(outcome)s, t.at, t.at + %(length)s, %(error)s
FROM (SELECT date_trunc('second', now()) - %(ago)s AS at) AS t
"""
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def call(database: Any, command: Command) -> Command:
    """The command, with the address of the test's database."""
    return lambda *args: command("gates", "replay", *args, PQCLOCK_DATABASE_URL=database.url)


def ran(
    database: Any,
    ago: timedelta,
    *gates: str,
    task: str = "mail",
    outcome: str = "succeeded",
    error: str | None = None,
    **args: Any,
) -> None:
    """A job that ran for a second, so long ago."""
    (number,) = database.session.conn.execute("SELECT nextval('pqclock.job_id')").fetchone()
    params = {"id": number, "task": task, "args": json.dumps(args), "gates": sorted(gates) or None, "ago": ago}
    params |= {"length": SECOND, "outcome": outcome, "error": error}
    database.session.conn.execute(HISTORY, params)
    database.session.conn.execute(ATTEMPT, params)


def test_a_rule_of_the_database_and_its_runs(database: Any, call: Command) -> None:
    with closing(App(database.url)) as app:
        app.rules.put("throttle.stripe", rate="1/1m")
    for _ in range(3):
        ran(database, HOUR, "throttle:stripe:acme", "fuse:stripe")
    ran(database, HOUR, "throttle:stripe:beta")
    ran(database, HOUR, "throttle:striped:acme")
    ran(database, 8 * DAY, "throttle:stripe:acme")
    found = call("throttle.stripe", "--json").json
    assert [(row["key"], row["starts"], row["delayed"], row["total"], row["max"]) for row in found["replay"]] == [
        ("acme", 3, 2, "3m", "2m"),
        ("beta", 1, 0, "0s", "0s"),
    ]
    (summary,) = found["summary"]
    assert (summary["rule"], summary["starts"], summary["delayed"], summary["keys"]) == ("throttle.stripe", 4, 2, 2)
    assert summary["definition"] == {"rate": "1/1m"} and summary["worst_at"].endswith("Z")
    shown = call("stripe")
    assert "delayed  2 (50.0%), by 3m in all" in shown.out and "throttle.stripe (rate 1/1m)" in shown.out
    assert "acme  3     2        66.7%  3m" in shown.out and "beta" not in shown.out
    assert call("stripe", "--since", "30d", "--json").json["summary"][0]["starts"] == 5
    assert call("stripe", "--rate", "60/1m", "--burst", "5", "--json").json["summary"][0]["delayed"] == 0


def test_jobs_that_do_not_pass_it_yet(database: Any, call: Command) -> None:
    for account in ("a", "a", "b", None):
        ran(database, HOUR, account=account)
    ran(database, HOUR, task="other", account="a")
    done = call("throttle.new", "--rate", "1/1m", "--task", "mail", "--key", "{account}")
    assert done.code == 0 and "1 run left out" in done.err and "runs     3 of 2 keys since" in done.out
    found = call("new", "--concurrency", "1", "--task", "mail", "--task", "other", "--all", "--json").json
    assert [(row["key"], row["starts"], row["delayed"], row["total"]) for row in found["replay"]] == [("", 5, 4, "10s")]
    done = call("throttle.new", "--rate", "1/1m")
    assert "history has no runs of jobs that pass throttle.new" in done.err and "--task with --key" in done.err


def test_a_fuse_of_files_that_are_not_applied_yet(database: Any, call: Command) -> None:
    Path("new.toml").write_text('[fuse.stock]\nfailures = 2\nwithin = "1m"\ncool_down = "5m"\nonly = ["OSError"]\n')
    for error in ("OSError", "ValueError", "OSError"):
        ran(database, HOUR, outcome="failed", error=error)
    ran(database, HOUR - 10 * SECOND)
    args = ("fuse.stock", "--file", "new.toml", "--task", "mail", "--all")
    (row,) = call(*args, "--json").json["replay"]
    assert (row["blown"], row["blown_for"], row["delayed"], row["max"]) == (1, "5m", 1, "4m51s")
    assert "blown    1 time, for 5m in all" in call(*args).out
    assert call(*args, "--failures", "3", "--json").json["replay"][0]["blown"] == 0
    done = call("fuse.stok", "--file", "new.toml")
    assert done.code == 1 and "declare no rule 'fuse.stok'; did you mean \"fuse.stock\"?" in done.err


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (("throttle.nobody",), 1, 'the database has no rule "throttle.nobody"'),
        (("nobody",), 2, "there is no such rule: write throttle.NAME or fuse.NAME"),
        (("throttle.a", "--rate", "x"), 2, 'rate must be a rate such as "100/1m"'),
        (("throttle.a", "--rate", "1/1s", "--key", "{a}"), 2, "name their --task"),
        (("throttle.a", "--rate", "1/1s", "--task", "t", "--all", "--key", "{a}"), 2, "give one of them"),
        (("throttle.a", "--rate", "1/1s", "--task", "t", "--key", "{a"), 2, "is no field: write for example {account}"),
        (("throttle.a", "--rate", "1/1s", "--since", "yesterday"), 2, "is no time: write for example 7d"),
        (("throttle.a", "--rate", "1/1s", "--since", "100w", "--units", "2"), 2, "units 2 are above the rate, 1"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(call: Command, args: tuple[str, ...], code: int, sentence: str) -> None:
    done = call(*args)
    assert done.code == code and sentence in done.err


def test_both_kinds_of_one_name_are_told_apart(database: Any, call: Command) -> None:
    with closing(App(database.url)) as app:
        app.rules.put("throttle.a", rate="1/1s")
        app.rules.put("fuse.a", failures=1, within="1m", cool_down="1m")
    assert "there is fuse.a and throttle.a" in call("a").err
    ran(database, HOUR, "fuse:a")
    assert call("fuse.a", "--json").json["summary"][0]["starts"] == 1


def test_the_same_from_python(database: Any) -> None:
    app = App(database.url)
    for _ in range(2):
        ran(database, HOUR, account="a")
    found = app.gates.replay("throttle.x", timedelta(days=1), tasks=["mail"], key="{account}", rate="1/1m")
    assert [(one.key, one.delayed, one.max) for one in found.keys] == [("a", 1, timedelta(minutes=1))]
    with pytest.raises(UnknownRule):
        app.gates.replay("throttle.x")
    with pytest.raises(ArgumentError, match="name their tasks"):
        app.gates.replay("throttle.x", rate="1/1s", key="{account}")
    app.close()


def test_live_jobs_that_ran_before_count_and_runs_of_unknown_start(database: Any) -> None:
    ran(database, HOUR, "throttle:x")
    database.session.conn.execute("UPDATE pqclock.attempt SET started_at = NULL, outcome = 'crashed'")
    found = replaying.replay(
        database.session, rule_from_fields("throttle.x", {"concurrency": 1}), replaying.Question(timedelta(days=1))
    )
    assert found.overall.starts == 1
