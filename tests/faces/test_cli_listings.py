"""The listing commands against a real server: fields, filters, pages, and harmless hostile text."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import Database
from pqclock.rules.job import Outcome
from pqclock.rules.pools import parse_pools
from pqclock.store import alarms, finishing, gates, jobs, leadership, listing_rows, processes, schedules, tasks
from pqclock.store.database import Session
from store.gated import claim as gated_claim
from store.gated import enqueue_gated, fuse, throttle

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=365 * 50)
HOSTILE = "[red]\x1b[31mred\x1b[0m\n\u202egnp[/red] :smile:"

Command = Callable[..., Any]


@pytest.fixture
def listed(database: Any, command: Command) -> Command:
    """The command, with the address of the test's database."""
    return lambda *args: command(*args, PQCLOCK_DATABASE_URL=database.url)


def enqueue(session: Session, task: str = "mail.send", **more: Any) -> int:
    labels = json.dumps(more.pop("labels", []))
    job = jobs.NewJob(task, json.dumps(more.pop("args", {})), labels=labels, **more)
    return int(jobs.insert(session, [job], now=NOW)[0][0])


def run_all(session: Session, task: str, **result: Any) -> int:
    worker = processes.register(session, "worker", pid=7, host="box", code_version="1")
    claimed = jobs.claim(session, parse_pools("*")[0], [task], 10, worker_id=worker, lease=1, now=NOW)
    end = NOW + timedelta(seconds=3)
    outcomes = [
        Outcome(job.id, 1, result["state"], result["state"], started_at=NOW, finished_at=end, **result.get("more", {}))
        for job in claimed
    ]
    finishing.finish(session, outcomes, worker, now=end)
    return worker


def add_schedules(session: Session, *keys: str, **definition: Any) -> None:
    rows = [
        {
            "key": key,
            "source": "s.toml:1",
            "state": "active",
            "definition": {"task": "t", **definition},
            "planned_to": NOW,
        }
        for key in keys
    ]
    schedules.add(session, "default", rows, NOW)


def test_jobs_have_the_fields_of_the_view(database: Any, listed: Command) -> None:
    job = enqueue(database.session, args={"to": "ä"}, labels=["finance"], queue="mice", run_at=LATER)
    found = listed("jobs", "--json").json
    assert found["version"] == 1 and found["next"] is None
    (row,) = found["jobs"]
    columns = [c.name for c in database.session.conn.execute("SELECT * FROM pqclock.jobs LIMIT 0").description]
    assert list(row) == columns
    assert row | {"id": job, "state": "scheduled", "queue": "mice", "args": {"to": "ä"}, "labels": ["finance"]} == row
    assert (row["run_at"], row["created_at"]) == (LATER.isoformat().replace("+00:00", "Z"), "2026-11-22T02:00:00Z")


@pytest.mark.parametrize(
    ("view", "row"),
    [
        ("jobs", listing_rows.JobRow),
        ("schedules", listing_rows.ScheduleRow),
        ("ticks", listing_rows.TickRow),
        ("queues", listing_rows.QueueRow),
        ("processes", listing_rows.ProcessRow),
    ],
)
def test_rows_are_those_of_the_public_views(view: str, row: Any, database: Any) -> None:
    described = database.session.conn.execute(f"SELECT * FROM pqclock.{view} LIMIT 0").description
    # What the clock found wrong with a schedule is no part of the view.
    assert [column.name for column in described] == [name for name in row.__slots__ if name != "fault"]


def test_jobs_filters(database: Any, listed: Command) -> None:
    session = database.session
    failed = enqueue(session, "reports.bad")
    run_all(session, "reports.bad", state="failed", more={"error_type": "ValueError", "error": "no"})
    waiting = enqueue(session, queue="mice", labels=["a", "b"])
    later = enqueue(session, run_at=LATER)

    def ids(*filters: str) -> list[int]:
        return [row["id"] for row in listed("jobs", *filters, "--json").json["jobs"]]

    assert ids() == ids("list") == [later, waiting, failed]
    assert ids("--state", "failed") == ids("--task", "reports.bad") == [failed]
    assert ids("--state", "scheduled") == [later]
    assert ids("--queue", "mice") == ids("--label", "b") == [waiting]
    assert ids("--label", "b", "--state", "failed") == ids("--schedule", "none") == []
    assert "no such jobs" in listed("jobs", "--queue", "none").err


def test_jobs_pages_go_over_live_and_finished(database: Any, listed: Command) -> None:
    done = [enqueue(database.session, "done") for _ in range(3)]
    run_all(database.session, "done", state="succeeded")
    live = [enqueue(database.session) for _ in range(4)]
    seen, cursor = [], ""
    while cursor is not None:
        page = listed("jobs", "--limit", "2", "--json", *(["--cursor", cursor] if cursor else [])).json
        seen.append([row["id"] for row in page["jobs"]])
        cursor = page["next"]
    newest = sorted(done + live, reverse=True)
    assert seen == [newest[:2], newest[2:4], newest[4:6], newest[6:]]
    assert f"more: --cursor {newest[1]}" in listed("jobs", "--limit", "2").err


def test_job_with_its_attempts(database: Any, listed: Command) -> None:
    job = enqueue(database.session, max_attempts=3)
    more = {"error_type": "KeyError", "error": "'day'", "traceback": "Traceback ...\nKeyError: 'day'"}
    worker = run_all(database.session, "mail.send", state="failed", more=more)
    found = listed("jobs", "show", str(job), "--json").json
    assert found["jobs"][0]["state"] == "failed" and found["next"] is None
    (attempt,) = found["attempts"]
    assert attempt == {
        "attempt": 1, "outcome": "failed", "worker_id": worker, "started_at": "2026-11-22T02:00:00Z",
        "finished_at": "2026-11-22T02:00:03Z", **more,
    }  # fmt: skip
    text = listed("jobs", "show", str(job)).out
    assert "KeyError: 'day'" in text and "Traceback ..." in text and "finished_at" in text


def test_unknown_job(listed: Command) -> None:
    done = listed("jobs", "show", "4711", "--json")
    assert done.code == 1
    assert done.json["error"]["code"] == "unknown_job"
    assert done.json["error"]["where"] == "pqclock jobs show"
    assert done.err.startswith("pqclock: error: the database has no job 4711, or not any more")
    assert listed("jobs", "show", str(10**30)).code == 1


def test_a_pause_without_an_end(database: Any, listed: Command) -> None:
    add_schedules(database.session, "a", every="1h")
    database.session.conn.execute("UPDATE pqclock.schedule SET paused_until = 'infinity'")
    assert listed("schedules", "--json").json["schedules"][0]["paused_until"] == "9999-12-31T00:00:00Z"
    assert "for ever" in listed("schedules", "show", "a").out


def test_schedules_list_in_pages_without_removed_ones(database: Any, listed: Command) -> None:
    session = database.session
    add_schedules(session, "a", "b", cron="0 2 * * *", timezone="Europe/Berlin")
    add_schedules(session, "c", every="15m")
    session.conn.execute("UPDATE pqclock.schedule SET state = 'removed' WHERE key = 'b'")
    session.conn.execute("UPDATE pqclock.schedule SET paused_until = 'infinity', note = 'later' WHERE key = 'c'")
    page = listed("schedules", "--limit", "1", "--json").json
    assert ([row["key"] for row in page["schedules"]], page["next"]) == (["a"], "a")
    page = listed("schedules", "--cursor", "a", "--json").json
    assert ([row["key"] for row in page["schedules"]], page["next"]) == (["c"], None)
    assert page["schedules"][0]["paused_until"] == "9999-12-31T00:00:00Z"
    assert [row["key"] for row in listed("schedules", "--state", "removed", "--json").json["schedules"]] == ["b"]
    text = listed("schedules").out
    assert "0 2 * * * (Europe/Berlin)" in text and "every 15m" in text and "paused until for ever: later" in text


def test_schedule_with_its_ledger(database: Any, listed: Command) -> None:
    session = database.session
    add_schedules(session, "nightly", cron="0 2 * * *")
    (due,) = schedules.due(session, LATER, 10)
    epoch = leadership.elect(session, 1)
    entries = [
        schedules.TickRow(due.id, NOW + timedelta(days=day), NOW + timedelta(days=day), 1, "skipped", "missed", "clock")
        for day in range(3)
    ]
    reach = schedules.Reach(due.id, due.version, NOW, NOW + timedelta(days=3), None)
    schedules.insert_ticks(session, epoch, [reach], entries)
    found = listed("schedules", "show", "nightly", "--ticks", "2", "--json").json
    assert [row["key"] for row in found["schedules"]] == ["nightly"]
    assert [tick["tick"] for tick in found["ticks"]] == ["2026-11-24T02:00:00Z", "2026-11-23T02:00:00Z"]
    assert "missed" in listed("schedules", "show", "nightly").out
    unknown = listed("schedules", "show", "nighlty")
    assert unknown.code == 1 and 'did you mean "nightly"?' in unknown.err


def test_schedules_with_their_last_runs(database: Any, listed: Command) -> None:
    session = database.session
    add_schedules(session, "idle", every="1h")
    add_schedules(session, "nightly", cron="0 2 * * *", queue="mice", timezone="Europe/Berlin")
    (nightly,) = [one for one in schedules.due(session, LATER, 10) if one.key == "nightly"]
    epoch, days = leadership.elect(session, 1), [NOW - timedelta(days=day) for day in (2, 1)]
    entries = [
        schedules.TickRow(nightly.id, day, day, 1, "inserted", None, "clock", run_at=day, args={}) for day in days
    ]
    entries.append(schedules.TickRow(nightly.id, NOW, NOW, 1, "skipped", "missed", "clock"))
    reach = schedules.Reach(nightly.id, nightly.version, NOW, NOW, None)
    schedules.insert_ticks(session, epoch, [reach], entries, NOW - timedelta(days=3))
    jobs.promote(session, 10, now=NOW)
    run_all(session, "t", state="failed", more={"error": "first\nsecond", "error_type": "KeyError"})
    idle, found = listed("schedules", "--json").json["schedules"]
    assert idle["last"] is None
    assert (
        found["last"] | {"tick": "2026-11-22T02:00:00Z", "outcome": "skipped", "reason": "missed", "state": None}
        == found["last"]
    )
    text = listed("schedules").out
    assert "skipped: missed" in text
    shown = listed("schedules", "show", "nightly", "--json").json
    (row,) = shown["schedules"]
    assert row["last"] == found["last"] and row["runs_measured"] == 2
    assert (row["lateness_p50_ms"], row["duration_p50_ms"]) == (36 * 3_600_000, 3000)
    assert [(run["state"], run["attempt"], run["error"]) for run in shown["runs"]] == [("failed", 1, "first")] * 2
    text = listed("schedules", "show", "nightly").out
    assert "last runs" in text and "first" in text and "second" not in text
    assert "p50 1d12h, p99 " in text and "(due -> handler begins, last 2 runs)" in text
    assert listed("schedules", "show", "idle", "--json").json["schedules"][0]["lateness_p50_ms"] is None
    assert "last runs" not in listed("schedules", "show", "idle").out


def test_queues_tasks_and_processes(database: Any, listed: Command) -> None:
    session = database.session
    enqueue(session, queue="mice")
    enqueue(session, queue="elephants", run_at=LATER)
    (elephants, mice) = listed("queues", "--json").json["queues"]
    assert (elephants["queue"], elephants["scheduled"], elephants["ready"]) == ("elephants", 1, 0)
    assert (mice["ready"], mice["oldest_ready_at"]) == (1, "2026-11-22T02:00:00Z")
    assert listed("queues", "--limit", "1", "--json").json["next"] == "elephants"
    task = {"name": "mail.send", "queue": "mice", "priority": None, "max_attempts": 3, "labels": None}
    tasks.publish(session, [task | {"arg_defaults": {"to": "x"}, "options": {}, "code_version": "7"}])
    (row,) = listed("tasks", "--json").json["tasks"]
    assert row | {"task": "mail.send", "queue": "mice", "max_attempts": 3, "arg_defaults": {"to": "x"}} == row
    clock = processes.register(session, "clock", pid=1, host="box", code_version="1")
    leadership.elect(session, clock)
    (row,) = listed("processes", "--json").json["processes"]
    assert (row["id"], row["kind"], row["leader"], row["epoch"]) == (clock, "clock", True, 1)
    for noun in ("queues", "tasks", "processes"):
        text = listed(noun)
        assert (text.code, text.err) == (0, "")
        assert ("box" if noun == "processes" else "mice") in text.out


@pytest.mark.parametrize("noun", ["jobs", "schedules", "queues", "tasks", "processes"])
def test_nothing_to_list(noun: str, listed: Command) -> None:
    assert listed(noun, "--json").json == {"version": 1, noun: [], "next": None}
    people = listed(noun)
    assert (people.code, people.out) == (0, "") and people.err.startswith("no ")


def test_status(database: Any, listed: Command) -> None:
    session = database.session
    assert "no clock leads" in listed("status").out
    leader, _, _ = [
        processes.register(session, kind, pid=number, host="box", code_version="1")
        for number, kind in enumerate(["clock", "clock", "worker"])
    ]
    leadership.elect(session, leader)
    add_schedules(session, "yearly", cron="0 0 1 1 *")
    session.conn.execute("UPDATE pqclock.schedule SET next_tick = %s", [LATER])
    failed = enqueue(session, "bad")
    run_all(session, "bad", state="failed", more={"error": "first\nsecond"})
    enqueue(session)
    (row,) = listed("status", "--json").json["status"]
    assert (row["leader"]["epoch"], row["leader"]["pid"], row["standbys"], row["workers"]) == (1, 0, 1, 2)
    assert 0 <= row["leader"]["beat_age"] < 60
    assert [tick["key"] for tick in row["coming"]] == ["yearly"]
    assert [failure["id"] for failure in row["failures"]] == [failed]
    text = listed("status").out
    assert "leader box:0, term 1" in text and "1 standing by, 2 workers" in text
    assert "first" in text and "second" not in text and "yearly" in text


def test_status_shows_alarms_and_gates_that_hold_something_back(database: Database, listed: Command) -> None:
    session = database.session
    alarms.begin(session, "missed", "nightly", "schedule nightly: no run has begun")
    alarms.begin(session, "slo", "mice", "over")
    alarms.end(session, "slo", "mice")
    throttle(session, "stripe", rate=1, per="1 hour", burst=1)
    fuse(session, "bank")
    fuse(session, "calm")
    enqueue_gated(session, "throttle:stripe:a", count=3, task="charge")
    enqueue_gated(session, "fuse:bank:", task="transfer")
    enqueue_gated(session, "fuse:calm:", task="other")
    worker = processes.register(session, "worker", pid=1, host="box", code_version="1")
    gated_claim(session, tasks=("charge",), worker_id=worker, now=None)
    gates.blow(session, "bank", None, "known")
    text = listed("status").out
    assert "schedule nightly: no run has begun" in text and "mice" not in text
    (row,) = listed("status", "--json").json["status"]
    assert [one["kind"] for one in row["alarms"]] == ["missed"]
    assert [(one["rule"], one["standing"]) for one in row["gates"]] == [("bank", "blown"), ("stripe", "waiting")]
    assert "stripe:a" in text and "known" in text and "calm" not in text


def test_status_says_when_the_files_here_are_not_in_force(listed: Command, tmp_path: Path) -> None:
    assert listed("status", "--json").json["status"][0]["files"] is None
    folder = tmp_path / "schedules"
    folder.mkdir()
    (folder / "a.toml").write_text('[schedule.a]\ntask = "t"\ncron = "0 2 * * *"\ntimezone = "UTC"\n')
    assert "The files are not in force: `pqclock plan`" in listed("status").out
    assert listed("apply").code == 0
    assert listed("status", "--json").json["status"][0]["files"] == {"word": "the same", "fine": True, "text": ""}
    assert "files" not in listed("status").out
    (folder / "a.toml").write_text("[schedule.a]\n")
    assert "The schedule files have" in listed("status").out
    assert listed("status", "--json").json["status"][0]["files"]["word"] == "files are wrong"


def test_a_silent_leader_is_shown_as_one(database: Any, listed: Command) -> None:
    clock = processes.register(database.session, "clock", pid=5, host="box", code_version="1", now=NOW)
    leadership.elect(database.session, clock, now=NOW - timedelta(days=400))
    assert "has not beaten for" in listed("status").out


def test_hostile_text_is_shown_and_not_obeyed(database: Any, listed: Command) -> None:
    session = database.session
    job = enqueue(session, "mail", labels=[HOSTILE], args={HOSTILE: HOSTILE})
    run_all(session, "mail", state="failed", more={"error": HOSTILE, "error_type": HOSTILE, "traceback": HOSTILE})
    session.conn.execute("INSERT INTO pqclock.queue (name, note) VALUES (%s, %s)", [HOSTILE, HOSTILE])
    alarms.begin(session, "slo", HOSTILE, HOSTILE)
    add_schedules(session, HOSTILE, cron=HOSTILE, timezone=HOSTILE)
    for args in (
        ["jobs"],
        ["jobs", "show", str(job)],
        ["queues"],
        ["schedules"],
        ["schedules", "show", HOSTILE],
        ["status"],
        ["alarms"],
    ):
        done = listed(*args)
        assert done.code == 0, done.err
        assert all(line.isprintable() for line in done.out.splitlines())
        assert "[red]" in done.out
        assert listed(*args, "--json").json["version"] == 1


def test_reading_writes_nothing_and_ends_in_time(database: Any) -> None:
    import psycopg

    from pqclock.errors import PqclockError
    from pqclock.store import listings

    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), listings.reading(database.session):
        enqueue(database.session)
    with pytest.raises(PqclockError, match="took longer"), listings.reading(database.session):
        database.session.conn.execute("SET LOCAL statement_timeout = 10")
        database.session.conn.execute("SELECT pg_sleep(5)")


def test_job_ids_are_read_by_index(database: Any) -> None:
    from pqclock.store.database import query

    session = database.session
    session.conn.execute("SET enable_seqscan = off")
    params: dict[str, Any] = dict.fromkeys(("state", "queue", "task", "schedule", "label", "parent"))
    plan = session.conn.execute(
        b"EXPLAIN " + query("listings.job_ids", "pqclock"), params | {"before": 2**63 - 1, "above": -1, "limit": 51}
    ).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert "Merge Append" in text and "job_pkey" in text and "Seq Scan" not in text
