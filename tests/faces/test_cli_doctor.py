"""`doctor`: each fault is found, named, and never more than one check's affair."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pqclock import loop
from pqclock.cli import zones
from pqclock.store import alarms, health, jobs, leadership, processes, schedules, tasks
from pqclock.store.database import Session
from processes.pooler import Pooler
from store.gated import claim, enqueue_gated, throttle

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


def publish(database: Any, name: str) -> None:
    options: dict[str, Any] = {
        "queue": None,
        "priority": None,
        "max_attempts": None,
        "labels": [],
        "arg_defaults": {},
        "options": {},
    }
    tasks.publish(database.session, [{"name": name, **options, "code_version": "1"}])


def enqueue(database: Any, task: str, queue: str) -> None:
    jobs.insert(database.session, [jobs.NewJob(task, "{}", queue=queue)])


def test_all_in_order(database: Any, examined: Examined) -> None:
    lead(database)
    work(database)
    found = examined(0)
    assert {name: state for name, (state, _) in found.items() if state != "ok"} == {}
    assert list(found)[:5] == ["settings", "files", "who is told", "zone data", "address"]
    assert "PQCLOCK_DATABASE_URL" in found["settings"][1]


def test_open_alarms_and_who_is_told_of_them(database: Any, examined: Examined) -> None:
    assert examined()["who is told"][1].startswith("nobody hears of alarms")
    alarms.begin(database.session, "missed", "nightly", "schedule nightly: no run has begun: see `pqclock status`")
    found = examined(1, PQCLOCK_ALARM_PING="https://hc.example/secret-uuid", PQCLOCK_ALARM_TASK="ops.page")
    assert found["alarms"] == ("problem", "schedule nightly: no run has begun: see `pqclock status`")
    assert found["who is told"] == ("ok", "alarm_task, alarm_ping hear of alarms")
    assert "secret-uuid" not in str(found) and "alarm_ping = (secret)" in found["settings"][1]
    assert "SENTRY_DSN" in examined(1, PQCLOCK_ALARM_SENTRY="clock")["who is told"][1]


def test_hooks_that_cannot_hear_are_found(database: Any, examined: Examined, tmp_path: Path) -> None:
    script = tmp_path / "page.sh"
    script.write_text("#!/bin/sh\n")
    said = examined(1, PQCLOCK_ALARM_COMMAND=f"{script} now")["who is told"]
    assert said[0] == "problem" and str(script) in said[1] and "make it executable" in said[1]
    script.chmod(0o755)
    assert examined(PQCLOCK_ALARM_COMMAND=f"{script} now")["who is told"][0] == "ok"
    publish(database, "ops.page")
    assert examined(PQCLOCK_ALARM_TASK="ops.page")["alarm_task"] == ("ok", "ops.page is published")
    state, message = examined(1, PQCLOCK_ALARM_TASK="ops.paeg")["alarm_task"]
    assert state == "problem" and message.endswith('; did you mean "ops.page"?')


def test_news_that_nobody_heard_are_a_problem_until_they_are_told(database: Any, examined: Examined) -> None:
    alarms.begin(database.session, "missed", "nightly", "late")
    (news,) = alarms.claim_untold(database.session)
    alarms.not_told(database.session, news, "alarm_ping: hc.example answered 503")
    alarms.end(database.session, "missed", "nightly")
    state, message = examined(1)["alarms"]
    assert state == "problem" and message.startswith(
        "1 alarm could not be told, the last one because of alarm_ping: hc.example"
    )
    alarms.told(database.session, news)
    assert examined()["alarms"][0] == "ok"


def test_a_fresh_database_has_warnings(examined: Examined) -> None:
    found = examined(0)
    assert found["clock"][0] == found["workers"][0] == "warning"
    assert "pqclock worker" in found["workers"][1]


@pytest.mark.parametrize(("skew", "state"), [(0.2, "ok"), (-3.0, "warning"), (45.0, "problem")])
def test_clocks_whose_machines_are_off_the_databases_time(
    database: Any, examined: Examined, skew: float, state: str
) -> None:
    clock = processes.register(database.session, "clock", pid=7, host="box", code_version="1")
    processes.beat(database.session, clock, skew=skew)
    found = examined()["clocks' time"]
    assert found[0] == state and (state == "ok" or f"box:7 by {skew:+.1f} s" in found[1])


def test_a_last_beat_in_the_future(database: Any, examined: Examined) -> None:
    lead(database)
    database.session.conn.execute("UPDATE pqclock.leader SET beat_at = clock_timestamp() + interval '1 hour'")
    found = examined(1)["clock"]
    assert found[0] == "problem" and "set back" in found[1]


def test_passwords_are_not_shown(command: Command) -> None:
    url = "postgresql://ada:secret123@127.0.0.1:1/db"
    done = command("doctor", PQCLOCK_DATABASE_URL=url, PQCLOCK_CLOCK_DATABASE_URL=url)
    assert done.code == 1 and "secret123" not in done.out + done.err
    assert "127.0.0.1:1/db" in done.out and "cannot be reached" in done.out


def test_without_an_address(command: Command) -> None:
    done = command("doctor", "--json")
    found = {one["name"]: one for one in done.json["checks"]}
    assert done.code == 1 and list(found) == ["settings", "files", "who is told", "zone data", "address"]
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
        allowed = {"PQCLOCK_ALLOW_SESSION_POOLER": "yes"}
        assert examined(PQCLOCK_DATABASE_URL=pooler.url, **allowed)["pooler"][0] == "ok"
        found = examined(PQCLOCK_DATABASE_URL=database.url, PQCLOCK_CLOCK_DATABASE_URL=pooler.url, **allowed)
        assert found["clock's address"][0] == "ok"


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
    publish(database, "tt")
    assert examined(1)["queues"][1].endswith('whose App has them; did you mean "tt"?')


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


@pytest.mark.parametrize(
    ("function", "found", "name", "state", "part"),
    [
        ("keepalives", health.Keepalives(11, 11), "keepalives", "ok", "after 11 s"),
        ("keepalives", health.Keepalives(None, 11), "keepalives", "warning", "this machine never notices"),
        ("keepalives", health.Keepalives(11, 7200), "keepalives", "warning", "the server takes 7200 s to notice"),
        ("server", health.Server("13.9", 130_009, False), "server", "problem", "needs 14 or later"),
        ("server", health.Server("17.1", 170_001, True), "server", "problem", "the primary's address"),
        ("limits", health.Limits(False, True, True, 100, 3, 5), "limits", "problem", "autovacuum"),
        ("limits", health.Limits(True, True, False, 100, 3, 5), "limits", "problem", "idle_session_timeout"),
        ("limits", health.Limits(True, True, True, 20, 3, 15), "limits", "warning", "only 2 of 20 connections"),
        ("notifications", 0.2, "notifications", "warning", "20% full"),
        ("notifications", 0.6, "notifications", "problem", "60% full"),
        ("dead_rows", health.DeadRows(60_000, 100), "dead rows", "warning", "60,000 dead rows"),
    ],
)
def test_what_the_server_says(
    examined: Examined, monkeypatch: pytest.MonkeyPatch, function: str, found: object, name: str, state: str, part: str
) -> None:
    monkeypatch.setattr(health, function, lambda _session: found)
    assert examined()[name][0] == state
    assert part in examined()[name][1]


def test_keepalives_of_a_real_connection(database: Any, examined: Examined) -> None:
    with health_session(database) as session:
        found = health.keepalives(session)
    # Over TCP what was asked for, on a local socket nothing.
    assert found in (None, health.Keepalives(11, 11))
    assert examined()["keepalives"] == (
        "ok", "a local socket needs none" if found is None
        else "this machine notices after 11 s that the other end is gone, the server after 11 s",
    )  # fmt: skip


@contextmanager
def health_session(database: Any) -> Iterator[Session]:
    """A session in a transaction, as the checks have it."""
    with closing(database.connect()) as session, session.transaction():
        yield session


def use_zone(database: Any, zone: str) -> None:
    definition = {"task": "t", "cron": "0 2 * * *", "timezone": zone}
    now = loop.now()
    row = {"key": "a", "source": "a.toml:1", "state": "active", "definition": definition, "planned_to": now}
    schedules.add(database.session, "default", [row], now)


def test_zones_that_one_side_does_not_know(database: Any, examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    use_zone(database, "Mars/Base")
    state, message = examined()["zones"]
    assert state == "problem" and "upgrade the package tzdata" in message
    known = zoneinfo.available_timezones()
    monkeypatch.setattr(zoneinfo, "available_timezones", lambda: {*known, "Mars/Base"})
    state, message = examined()["zones"]
    assert state == "warning" and "the server does not know the zones Mars/Base" in message


@pytest.mark.parametrize(("used", "state"), [("Europe/Berlin", "warning"), ("UTC", "ok")])
def test_zone_data_that_differ(
    database: Any, examined: Examined, monkeypatch: pytest.MonkeyPatch, used: str, state: str
) -> None:
    use_zone(database, used)
    assert "with the same rules" in examined()["zones"][1]
    real, later = zones._offset, loop.now() + timedelta(days=100)

    def another(zone: zoneinfo.ZoneInfo, instant: datetime) -> float:
        return real(zone, instant) + (3600 if zone.key == "Europe/Berlin" and instant > later else 0)

    monkeypatch.setattr(zones, "_offset", another)
    found = examined()["zones"]
    assert found[0] == state and "Europe/Berlin" in found[1]
    assert (f"{later:%Y-%m-%d}" in found[1]) == (state == "warning")


def test_zones_are_compared_on_both_sides_of_each_change() -> None:
    samples = dict(zones._samples(zoneinfo.ZoneInfo("Europe/Berlin"), datetime(2027, 1, 1, tzinfo=UTC)))
    change = datetime(2027, 3, 28, 1, tzinfo=UTC)
    assert (samples[change - timedelta(seconds=1)], samples[change]) == (3600, 7200)


def test_for_people(database: Any, command: Command) -> None:
    done = command("doctor", PQCLOCK_DATABASE_URL=database.url)
    assert done.code == 0 and "warning" in done.out and "0 problems, 2 warnings" in done.err


def test_jobs_that_no_gate_lets_start(database: Any, examined: Examined) -> None:
    lead(database)
    work(database)
    throttle(database.session, "slow", rate=3)
    enqueue_gated(database.session, "throttle:slow:x", units=3)
    assert examined()["gates"][0] == "ok"
    enqueue_gated(database.session, "throttle:slow:x", units=5)
    enqueue_gated(database.session, "throttle:slow:x", units=4)
    enqueue_gated(database.session, "fuse:nobody:x")
    state, message = examined()["gates"]
    assert state == "warning"
    assert "rules that nobody has declared, fuse.nobody: declare them" in message and "`pqclock rules put`" in message
    assert "throttle.slow (5 units, and its rate is 3): raise the rate" in message
    claim(database.session, now=None)
    assert examined()["gates"] == (state, message)
    database.session.conn.execute(
        "INSERT INTO pqclock.rule (kind, name, source, state, updated_at, definition, failures, within, cool_down,"
        " max_cool_down, probes) VALUES ('fuse', 'nobody', 'api', 'removed', now(), '{}', 1, '1 m', '1 m', '1 m', 1)"
    )
    assert "nobody" not in examined()["gates"][1]
