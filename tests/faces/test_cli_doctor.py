"""`doctor`: each fault is found, named, and never more than one check's affair."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pqclock import loop
from pqclock.store import jobs, leadership, processes
from processes.pooler import Pooler

Command = Callable[..., Any]
Examined = Callable[..., dict[str, tuple[str, str]]]


@pytest.fixture
def examined(database: Any, command: Command) -> Examined:
    """The checks by name, as (state, message)."""

    def examine(code: int | None = None, **environ: str) -> dict[str, tuple[str, str]]:
        done = command("doctor", "--json", **{"PQCLOCK_DATABASE_URL": database.url, **environ})
        found = {one["name"]: (one["state"], one["message"]) for one in done.json["checks"]}
        problems = any(state == "problem" for state, _ in found.values())
        assert done.code == (1 if problems else 0)
        assert code is None or done.code == code
        return found

    return examine


def lead(database: Any) -> None:
    clock = processes.register(database.session, "clock", pid=1, host="box", code_version="1")
    leadership.elect(database.session, clock)


def work(database: Any, doing: str = "*:10") -> None:
    processes.register(database.session, "worker", pid=2, host="box", code_version="1", doing=doing)


def enqueue(database: Any, task: str, queue: str) -> None:
    jobs.insert(database.session, [jobs.NewJob(task, "{}", queue=queue)])


def test_all_in_order(database: Any, examined: Examined) -> None:
    lead(database)
    work(database)
    found = examined(0)
    assert {name: state for name, (state, _) in found.items() if state != "ok"} == {}
    assert list(found)[:4] == ["settings", "files", "zone data", "address"]
    assert "PQCLOCK_DATABASE_URL" in found["settings"][1]


def test_a_fresh_database_has_warnings(examined: Examined) -> None:
    found = examined(0)
    assert found["clock"][0] == found["workers"][0] == "warning"
    assert "pqclock worker" in found["workers"][1]


def test_passwords_are_not_shown(command: Command) -> None:
    url = "postgresql://ada:secret123@127.0.0.1:1/db"
    done = command("doctor", PQCLOCK_DATABASE_URL=url, PQCLOCK_CLOCK_DATABASE_URL=url)
    assert done.code == 1 and "secret123" not in done.out + done.err
    assert "127.0.0.1:1/db" in done.out and "cannot be reached" in done.out


def test_without_an_address(command: Command) -> None:
    done = command("doctor", "--json")
    found = {one["name"]: one for one in done.json["checks"]}
    assert done.code == 1 and list(found) == ["settings", "files", "zone data", "address"]
    assert found["address"]["state"] == "problem" and "no database address" in found["address"]["message"]


def test_an_empty_database(empty_url: str, command: Command) -> None:
    done = command("doctor", "--json", PQCLOCK_DATABASE_URL=empty_url)
    found = {one["name"]: one for one in done.json["checks"]}
    assert done.code == 1 and "pqclock migrate" in found["schema"]["message"]
    assert found["notifications"]["state"] == "ok" and "clock" not in found


def test_poolers(database: Any, examined: Examined) -> None:
    with Pooler(database.url) as pooler:
        found = examined(1, PQCLOCK_DATABASE_URL=pooler.url)
        assert found["pooler"][0] == "problem" and "PQCLOCK_CLOCK_DATABASE_URL" in found["pooler"][1]
        found = examined(PQCLOCK_DATABASE_URL=pooler.url, PQCLOCK_CLOCK_DATABASE_URL=database.url)
        assert found["pooler"][0] == found["clock's address"][0] == "ok"
        found = examined(1, PQCLOCK_DATABASE_URL=database.url, PQCLOCK_CLOCK_DATABASE_URL=pooler.url)
        assert found["pooler"][0] == "ok" and found["clock's address"][0] == "problem"


def test_a_silent_leader(database: Any, examined: Examined) -> None:
    lead(database)
    database.rows("UPDATE pqclock.leader SET beat_at = now() - interval '1 minute' RETURNING 1")
    state, message = examined(1)["clock"]
    assert state == "problem" and "has not beaten for 1m" in message


def test_queues_and_tasks_that_nobody_works(database: Any, examined: Examined) -> None:
    work(database, "mice:2")
    enqueue(database, "t", "whales")
    assert "whales" in examined(1)["queues"][1]
    work(database, "-mice:2")
    state, message = examined(1)["queues"]
    assert state == "problem" and "nobody has published, t" in message


def test_partitions(database: Any, examined: Examined) -> None:
    today = datetime.now(UTC).date()  # noqa: TID251
    database.session.conn.execute(f"DROP TABLE pqclock.tick_{today + timedelta(days=5):%Y%m%d}".encode())
    assert examined()["partitions"][0] == "warning"
    database.session.conn.execute(f"DROP TABLE pqclock.tick_{today:%Y%m%d}".encode())
    assert examined(1)["partitions"][0] == "problem"


def test_rows_outside_the_partitions(database: Any, examined: Examined) -> None:
    database.rows(
        "INSERT INTO pqclock.tick VALUES (1, '2001-01-01', '2001-01-01', 1, '2001-01-01', 'skipped', 'gap', 'clock', "
        "NULL, now()) RETURNING 1"
    )
    state, message = examined(0)["partitions"]
    assert state == "warning" and "tick_default (1)" in message


def test_privileges(database: Any, command: Command) -> None:
    role = sql.Identifier("pqclock_doctor_test")
    conn = database.session.conn
    conn.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))
    conn.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(role))
    try:
        conn.execute(sql.SQL("GRANT USAGE ON SCHEMA pqclock TO {}").format(role))
        conn.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA pqclock TO {}").format(role))
        url = psycopg.conninfo.make_conninfo(database.url, options="-c role=pqclock_doctor_test")
        done = command("doctor", "--json", PQCLOCK_DATABASE_URL=url)
        found = {one["name"]: one for one in done.json["checks"]}
        assert done.code == 1 and "INSERT on table job" in found["privileges"]["message"]
        assert "the ownership of table" in found["privileges"]["message"]
    finally:
        conn.execute(sql.SQL("DROP OWNED BY {}").format(role))
        conn.execute(sql.SQL("DROP ROLE {}").format(role))


def test_a_skew(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    real = loop.now
    monkeypatch.setattr(loop, "now", lambda: real() - timedelta(seconds=5))
    state, message = examined(0)["time"]
    assert state == "warning" and "ahead" in message


def test_old_snapshots(database: Any, examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    from pqclock.cli import diagnoses

    monkeypatch.setattr(diagnoses, "_OLD", timedelta(0))
    with database.session.transaction():
        database.rows("SELECT pg_current_xact_id()::text")
        state, message = examined(0)["old snapshots"]
    assert state == "warning" and "session pid" in message and "pqclock test" in message


def test_for_people(database: Any, command: Command) -> None:
    done = command("doctor", PQCLOCK_DATABASE_URL=database.url)
    assert done.code == 0 and "warning" in done.out and "0 problems, 2 warnings" in done.err
