"""What the commands tell of jobs that wait for others, and of fan-outs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pqclock import App
from pqclock.rules.job import Outcome
from pqclock.rules.pools import parse_pools
from pqclock.store import finishing, jobs

Command = Callable[..., Any]


@pytest.fixture
def listed(database: Any, command: Command) -> Command:
    """The command, with the address of the test's database."""
    return lambda *args: command(*args, PQCLOCK_DATABASE_URL=database.url)


@pytest.fixture
def app(database: Any) -> Iterator[App]:
    """An app with two tasks."""
    app = App(database.url)
    app.task("mail")(lambda: None)
    app.task("chunk")(lambda items: None)
    yield app
    app.close()


def run(database: Any, *states: str) -> None:
    """End the first jobs like that."""
    for state in states:
        (job,) = jobs.claim(database.session, parse_pools("*")[0], ["mail", "chunk"], 1, worker_id=1, lease=1)
        assert finishing.finish(database.session, [Outcome(job.id, 1, state, state)], 1)


def test_explain_and_listings_tell_what_a_job_waits_for(database: Any, app: App, listed: Command) -> None:
    mail = app.tasks["mail"]
    first = [mail.enqueue() for _ in range(7)]
    jobs.claim(database.session, parse_pools("*")[0], ["mail"], 1, worker_id=1, lease=1)
    one = mail.using(after=[first[0]]).enqueue()
    all_ = mail.using(after=first).enqueue()
    told = listed("explain", str(one.id)).out
    assert (
        f"- it waits until job {first[0].id} (running) has succeeded; it is cancelled when that ends otherwise\n"
        in told
    )
    told = listed("explain", str(all_.id)).out
    assert f"job {first[0].id} (running), job {first[1].id} (ready)," in told
    assert (
        f"job {first[4].id} (ready) and 2 more have succeeded; it is cancelled when one of them ends otherwise" in told
    )
    (reason,) = [
        r
        for r in json.loads(listed("explain", str(one.id), "--json").out)["explain"][0]["reasons"]
        if r["kind"] == "after"
    ]
    assert (reason["jobs"], reason["endless"]) == ([first[0].id], True)
    listing = listed("jobs", "--state", "scheduled").out
    assert f"after job {first[0].id} (running)" in listing
    assert "and 6 more" in listing
    shown = listed("jobs", "show", str(one.id))
    assert f"after job {first[0].id} (running)" in shown.out
    shown = json.loads(listed("jobs", "show", str(one.id), "--json").out)
    assert shown["after"] == [{"id": first[0].id, "state": "running"}]
    assert app.jobs.explain(one.id).reasons[0].kind == "after"


def test_the_progress_of_a_fan_out_is_shown(database: Any, app: App, listed: Command) -> None:
    whole = app.fan_out("chunk", range(4), chunk=1)
    app.tasks["mail"].enqueue()
    run(database, "succeeded", "succeeded", "failed")
    rows = json.loads(listed("jobs", "list", "--parent", str(whole.id), "--json").out)["jobs"]
    assert sorted(row["id"] for row in rows) == [job.id for job in whole.jobs]
    assert [row.id for row in app.jobs.list(parent=whole.id, state="ready").rows] == [whole.jobs[3].id]
    assert "no such jobs" in listed("jobs", "--parent", "4711").err
    shown = listed("jobs", "show", str(whole.id)).out
    assert "2 of 4 done (50 %), 1 failed" in shown
    assert "chunk" in shown
    (told,) = json.loads(listed("jobs", "show", str(whole.id), "--json").out)["fan_outs"]
    assert (told["id"], told["done"], told["failed"], told["total"]) == (whole.id, 2, 1, 4)
    shown = listed("jobs", "show", str(whole.jobs[0].id)).out
    assert f"{whole.id}: 2 of 4 done (50 %), 1 failed" in shown
    whole = json.loads(listed("jobs", "show", str(whole.jobs[0].id), "--json").out)
    assert whole["parent"][0]["done"] == 2


def test_a_job_may_be_a_parent(database: Any, app: App, listed: Command) -> None:
    mail = app.tasks["mail"]
    parent = mail.enqueue()
    mail.using(parent=parent).enqueue()
    run(database, "succeeded")
    shown = listed("jobs", "show", str(parent.id)).out
    assert "0 of 1 done (0 %)" in shown
    run(database, "succeeded")
    assert json.loads(listed("jobs", "show", str(parent.id), "--json").out)["parts"] == [
        {"done": 1, "failed": 0, "total": 1}
    ]
