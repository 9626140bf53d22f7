"""`pqclock jobs retry|run|cancel|discard`, `pqclock grants`, and a schema of another version, as people meet them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pqclock import App
from pqclock.errors import ArgumentError, UnknownJob
from pqclock.rules.job import Outcome
from pqclock.rules.pools import parse_pools
from pqclock.store import finishing, jobs, migrate, processes

Command = Callable[..., Any]


@pytest.fixture
def run(database: Any, command: Command) -> Command:
    """The command, with the address of the test's database."""
    return lambda *args: command(*args, PQCLOCK_DATABASE_URL=database.url)


def failed(database: Any, number: int = 1, **more: Any) -> list[int]:
    new = [jobs.NewJob("mail.send", "{}", **more) for _ in range(number)]
    ids = [job_id for job_id, _ in jobs.insert(database.session, new)]
    claimed = claim(database)
    finishing.finish(
        database.session, [Outcome(job.id, 1, "failed", "failed", error="Timeout: slow") for job in claimed], 1
    )
    return ids


def claim(database: Any) -> list[Any]:
    worker = processes.register(database.session, "worker", pid=7, host="box", code_version="1")
    return jobs.claim(database.session, parse_pools("*")[0], ["mail.send"], 10_000, worker_id=worker, lease=1)


def test_jobs_are_retried_by_id(database: Any, run: Command) -> None:
    a, b = failed(database, 2)
    done = run("jobs", "retry", str(a), "--json")
    assert done.code == 0
    assert done.json["jobs"] == [{"id": a, "done": True, "outcome": "ready", "state": "ready", "holder": None}]
    summary = {"verb": "retry", "matched": 1, "done": 1, "by_state": {"failed": 1}, "left": {}, "plan": False}
    assert done.json["summary"] == [summary]
    done = run("jobs", "retry", str(a), str(b))
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines() == [
        f"job {a}: left alone: it is ready: only what has ended can be tried again, and what is scheduled",
        f"job {b}: it is ready again",
        "retry: 1 of 2 jobs; left alone: 1 state",
    ]


def test_a_job_without_its_history_is_refused_by_one_sentence(database: Any, run: Command) -> None:
    (job_id,) = failed(database)
    done = run("jobs", "retry", str(job_id), "4711", "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "unknown_job")
    assert (
        "has no job 4711: there was none, or its history is past its time and was dropped"
        in done.json["error"]["message"]
    )
    assert database.value("SELECT count(*) FROM pqclock.job") == 0


def test_a_filter_is_counted_first_and_done_after(database: Any, run: Command) -> None:
    failed(database, 3)
    done = run("jobs", "retry", "--error", "TIMEOUT", "--since", "1h", "--plan")
    assert (done.code, done.err) == (0, "retry: 3 jobs (3 failed) are meant; nothing was changed\n")
    assert run("jobs", "retry", "--error", "nothing", "--json").json["summary"][0]["matched"] == 0
    assert run("jobs", "retry", "--task", "mail.send").err == "retry: 3 of 3 jobs\n"
    done = run("jobs", "discard", "--task", "mail.send", "--state", "ready", "--reason", "too late")
    assert done.err == "discard: 3 of 3 jobs\n"
    errors = database.rows("SELECT DISTINCT state, error ~ '^discarded by .+: too late$' FROM pqclock.jobs")
    assert errors == [("discarded", True)]


def test_a_running_job_is_asked_and_one_that_is_forced_ends(database: Any, run: Command) -> None:
    (job_id,) = (job_id for job_id, _ in jobs.insert(database.session, [jobs.NewJob("mail.send", "{}")]))
    claim(database)
    assert run("jobs", "discard", str(job_id)).err == (
        f"job {job_id}: left alone: it is running: `pqclock jobs cancel` ends it\n"
    )
    assert run("jobs", "cancel", str(job_id)).err == (
        f"job {job_id}: it runs, and was asked to end; --force ends it at once\n"
    )
    assert run("jobs", "cancel", str(job_id), "--force").err == f"job {job_id}: it is cancelled\n"
    assert run("jobs", "cancel", str(job_id)).err == f"job {job_id}: left alone: it is cancelled: it has ended\n"


def test_a_scheduled_job_is_due_now(database: Any, run: Command) -> None:
    new = jobs.NewJob("mail.send", "{}", delay=timedelta(days=1))
    (job_id,) = (job_id for job_id, _ in jobs.insert(database.session, [new]))
    assert run("jobs", "run", str(job_id)).err == f"job {job_id}: it is due now\n"
    assert jobs.promote(database.session, 10).promoted == 1


def test_many_are_not_changed_unasked(database: Any, run: Command) -> None:
    failed(database, 1001)
    done = run("jobs", "retry", "--task", "mail.send")
    assert done.code == 2
    assert (
        "1001 jobs are meant, and nobody is there to be asked: give --yes if that is so, or --plan first." in done.err
    )
    assert run("jobs", "retry", "--task", "mail.send", "--yes").err == "retry: 1,001 of 1,001 jobs\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["retry"], "no job is named: give JOB..., or a filter such as --task NAME."),
        (["cancel", "1", "--task", "x"], "jobs and a filter do not go together"),
        (["discard", "--state", "running"], "state 'running' is not taken: use scheduled or ready"),
        (["run", "--schedule", "nightly"], "the database has no schedule"),
        (["retry", "--since", "soon"], "'soon' is no time"),
        (["retry", "x"], "a job id is a whole number"),
    ],
)
def test_what_is_not_meant_is_refused(run: Command, args: list[str], words: str) -> None:
    done = run("jobs", *args)
    assert done.code in (1, 2)
    assert words in done.err


def test_the_app_has_the_same_verbs(database: Any) -> None:
    app = App(database.url)
    a, b = failed(database, 2)
    assert app.jobs.retry(task="mail.send", plan=True).matched == 2
    told: list[tuple[int, int]] = []
    assert app.jobs.retry(error="timeout", on_progress=lambda *at: told.append(at)).done == 2
    assert told == [(2, 2)]
    assert app.jobs.cancel(a, reason="wrong month").jobs[0].state == "cancelled"
    assert app.jobs.list(state="cancelled").rows[0].error == "cancelled by the application: wrong month"
    assert app.jobs.discard(state=["ready"]).by_state == {"ready": 1}
    assert app.jobs.run(b).left == {"state": 1}
    with pytest.raises(UnknownJob):
        app.jobs.retry(a, 4711)
    calls: list[tuple[Callable[[], object], str]] = [
        (app.jobs.retry, "got neither jobs nor a filter"),
        (lambda: app.jobs.retry(a, task="x"), "got jobs and a filter"),
        (lambda: app.jobs.retry("a"), "pass ids of jobs"),  # type: ignore[arg-type]
        (lambda: app.jobs.retry(tusk="x"), "does not know 'tusk'"),
        (lambda: app.jobs.retry(since="1h"), "is no datetime"),
        (lambda: app.jobs.retry(since=datetime(2026, 1, 1)), "has no time zone"),
        (lambda: app.jobs.retry(since=datetime(2026, 1, 1, tzinfo=UTC), task="a\x00"), "no text that the database"),
    ]
    for call, words in calls:
        with pytest.raises(ArgumentError, match=words):
            call()
    app.close()


def test_grants_are_printed_without_a_connection(command: Command) -> None:
    done = command("grants", "--role-prefix", "shop", "--schema", "jobs")
    assert done.code == 0
    assert 'GRANT "shop_owner" TO "shop_migrator";' in done.out
    rows = json.loads(command("grants", "--json").out)["grants"]
    assert rows[0]["roles"][-1] == "pqclock_reader"
    refused = command("grants", "--role-prefix", "Shop")
    assert (refused.code, "role prefix 'Shop' is not allowed" in refused.err) == (2, True)


def started(database: Any, folder: Any, *role: str) -> tuple[int, str]:
    """A process of its own with this role: exit code and log."""
    environment = {**os.environ, "PQCLOCK_DATABASE_URL": database.url}
    command = [sys.executable, "-m", "pqclock", *role]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def test_each_start_looks_at_the_version_of_the_schema(database: Any, run: Command, tmp_path: Any) -> None:
    (tmp_path / "a.py").write_text("from pqclock import App\napp = App()\n")
    newest = "(SELECT max(number) FROM pqclock.migration)"
    missing = database.value(f"DELETE FROM pqclock.migration WHERE number = {newest} RETURNING number")
    old = f"this pqclock needs {missing}: run `pqclock migrate`"
    new = f"is at version 99, too new for this pqclock ({missing}): upgrade pqclock"
    for words in (old, new):
        for role in (["clock"], ["worker", "--app", "a:app"]):
            code, log = started(database, tmp_path, *role)
            assert (code, words in log) == (4, True), log
        for role in (["jobs"], ["status"], ["apply"]):
            done = run(*role)
            assert (done.code, words in done.err) == (4, True), done.err
        if words == new:
            break
        database.session.conn.execute(
            "INSERT INTO pqclock.migration VALUES (%s, 'x', '', %s), (99, 'later', '', 99)", [missing, missing]
        )


def test_a_schema_one_version_newer_serves_the_code_before_it(database: Any, run: Command) -> None:
    """Code N - 1 on schema N: what a rolling deploy has for a while, after `pqclock migrate` and before the last restart."""
    known = migrate.migrations()
    next_one = (known[-1].number + 1, "next", "", known[-1].number)
    database.session.conn.execute("INSERT INTO pqclock.migration VALUES (%s, %s, %s, %s)", next_one)
    assert run("jobs").code == 0
    assert run("migrate", "--check").code == 0
    # So says every schema: what it breaks for the version before, it may break only one version later.
    assert known[-2].number >= migrate.SERVES_FROM
