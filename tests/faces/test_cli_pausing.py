"""`pqclock queues|tasks|labels list|pause|resume` and their Python."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pqclock import App
from pqclock.store import listing_rows
from store.samples import enqueue, new

if TYPE_CHECKING:
    from conftest import Database

Command = Callable[..., Any]
NAMES = {"queues": "mice", "tasks": "mail", "labels": "finance"}


@pytest.fixture
def listed(database: Database, command: Command) -> Command:
    """The command, with the address of the test's database."""
    return lambda *args: command(*args, PQCLOCK_DATABASE_URL=database.url)


@pytest.fixture
def job(database: Database) -> int:
    return enqueue(database.session, new(queue="mice", labels='["finance", "x"]'))[0]


@pytest.mark.parametrize("noun", NAMES)
def test_pause_and_resume(noun: str, job: int, listed: Command) -> None:
    name = NAMES[noun]
    kind = noun[:-1]
    done = listed(noun, "pause", name, "--note", "year's end")
    assert (done.code, done.out) == (0, "")
    assert done.err == f"{kind} {name}: paused; `pqclock {noun} resume` ends it\n"
    (row,) = [row for row in listed(noun, "--json").json[noun] if row[kind] == name]
    assert (row["paused_until"], row["note"]) == ("9999-12-31T00:00:00Z", "year's end")
    assert (row["scheduled"], row["ready"], row["running"]) == (0, 1, 0)
    shown = listed(noun)
    assert "for ever" in shown.out and "year's end" in shown.out
    (row,) = listed(noun, "pause", name, "--for", "2h", "--json").json[noun]
    assert not row["paused_until"].startswith("9999") and row["note"] is None
    assert listed(noun, "resume", name).err == f"{kind} {name}: resumed\n"
    assert listed(noun, "resume", name).err == f"{kind} {name}: it was not paused, nothing changed\n"
    assert listed(noun, "resume", name, "--json").code == 0


@pytest.mark.parametrize("noun", NAMES)
def test_a_name_that_no_job_has_is_told(noun: str, job: int, listed: Command) -> None:
    words = "no such task is published" if noun == "tasks" else "no live job has it"
    said = listed(noun, "pause", "mcie", "--for", "1h").err
    assert re.fullmatch(rf"{noun[:-1]} mcie: paused until .*in (1h|59m59s) \({words}\)\n", said)


def test_the_nearest_published_task_is_named(database: Database, listed: Command) -> None:
    database.session.conn.execute(
        "INSERT INTO pqclock.task (name, arg_defaults, options, code_version, published_at)"
        " VALUES ('reports.daily', '{}', '{}', '1', now())"
    )
    said = listed("tasks", "pause", "report.daily", "--for", "1h").err
    assert said.endswith('(no such task is published; did you mean "reports.daily"?)\n')


@pytest.mark.parametrize("noun", NAMES)
def test_bad_pauses(noun: str, listed: Command) -> None:
    assert listed(noun, "pause", "a", "--for", "2h", "--until", "2090-01-01").code == 2
    assert "over already" in listed(noun, "pause", "a", "--until", "2020-01-01").err
    done = listed(noun, "pause", "x" * 201)
    assert done.code == 2 and f"is not the name of a {noun[:-1]}" in done.err


def test_labels_of_live_jobs_are_listed_in_pages(job: int, listed: Command) -> None:
    first = listed("labels", "--limit", "1", "--json").json
    assert [row["label"] for row in first["labels"]] == ["finance"]
    second = listed("labels", "--limit", "1", "--cursor", first["next"], "--json").json
    assert ([row["label"] for row in second["labels"]], second["next"]) == (["x"], None)
    assert list(second["labels"][0]) == list(listing_rows.LabelRow.__slots__)


def test_pauses_are_in_the_status(job: int, listed: Command) -> None:
    assert listed("status", "--json").json["status"][0]["pauses"] == []
    for noun, name in NAMES.items():
        listed(noun, "pause", name, "--note", "moved")
    found = listed("status", "--json").json["status"][0]["pauses"]
    assert [(row["kind"], row["name"]) for row in found] == [("label", "finance"), ("queue", "mice"), ("task", "mail")]
    assert "for ever" in listed("status").out


def test_no_labels(listed: Command) -> None:
    assert listed("labels").err == "no labels: no live job has one\n"


def test_the_same_verbs_in_python(database: Database, job: int) -> None:
    app = App(database.url)

    @app.task("mail")
    def mail() -> None: ...

    try:
        app.queues.pause("mice", timedelta(hours=1), note="moved")
        app.tasks.pause("mail")
        app.labels.pause("finance", "2h")
        assert [(row.queue, row.note) for row in app.queues.list().rows] == [("mice", "moved")]
        assert [row.task for row in app.tasks.list().rows if row.paused_until] == ["mail"]
        assert [row.label for row in app.labels.list().rows if row.paused_until] == ["finance"]
        assert all((app.queues.resume("mice"), app.tasks.resume("mail"), app.labels.resume("finance")))
        assert app.tasks.resume("mail") is False
        assert (dict(app.tasks), len(app.tasks), repr(app.tasks)) == ({"mail": mail}, 1, "Tasks(['mail'])")
    finally:
        app.close()
