"""The roles of `pqclock grants`, made for real: each does its work, and nothing that is not its work."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql
from starlette.testclient import TestClient

from pqclock import App
from pqclock.clock.clock import Clock
from pqclock.errors import ArgumentError, Refused
from pqclock.rules.pools import parse_pools
from pqclock.store import explaining, grants, listings, migrate, partitions
from pqclock.store.database import Session, connect
from pqclock.web import create_app
from pqclock.worker.worker import Worker
from web.seed import fill
from web.test_pages import HERE, OWN, PAGES


@dataclass(frozen=True)
class Roles:
    """A database with the roles of one prefix, and logins that are members of each."""

    url: str
    prefix: str

    def url_of(self, role: str) -> str:
        return psycopg.conninfo.make_conninfo(self.url, user=f"{self.prefix}_{role}_login", password="secret")

    def connect(self, role: str) -> Session:
        return connect(self.url_of(role), "pqclock", "test")


@pytest.fixture
def prefix(server_url: str) -> Iterator[str]:
    """A prefix for roles, which are gone after the database is."""
    name = f"t{uuid.uuid4().hex[:8]}"
    yield name
    with psycopg.connect(server_url, autocommit=True) as admin:
        for (role,) in admin.execute("SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", [name]).fetchall():
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture
def roles(prefix: str, empty_url: str) -> Roles:
    """As a deployment does it: roles, the schema by a migrator, and the rights on what there is now."""
    made = Roles(empty_url, prefix)
    with psycopg.connect(empty_url, autocommit=True) as admin:
        admin.execute(grants.script("pqclock", prefix).encode())
        for role in grants.ROLES[1:]:
            login = sql.Identifier(f"{prefix}_{role}_login")
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret'").format(login))
            admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(f"{prefix}_{role}"), login))
        with closing(made.connect("migrator")) as migrator:
            migrate.migrate(migrator)
        for _ in range(2):
            admin.execute(grants.script("pqclock", prefix).encode())
    return made


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.02)


def test_the_owner_owns_all_of_it_whoever_migrated(roles: Roles) -> None:
    owners = """SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'pqclock'::regnamespace
        UNION SELECT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'pqclock'::regnamespace
        UNION SELECT typowner::regrole::text FROM pg_type WHERE typnamespace = 'pqclock'::regnamespace"""
    with psycopg.connect(roles.url) as admin:
        assert admin.execute(owners.encode()).fetchall() == [(f"{roles.prefix}_owner",)]
    with closing(roles.connect("migrator")) as migrator:
        assert migrate.migrate(migrator) == []
    with (
        closing(roles.connect("worker")) as worker,
        pytest.raises(Refused, match=r"belongs to the role .*_owner, and role"),
    ):
        migrate.migrate(worker)


def test_a_schema_that_was_made_by_somebody_else_is_taken_over(prefix: str, empty_url: str) -> None:
    with closing(connect(empty_url, "pqclock", "test")) as admin:
        migrate.migrate(admin)
        admin.conn.execute(grants.script("pqclock", prefix).encode())
        owners = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'pqclock'::regnamespace"
        assert admin.conn.execute(owners.encode()).fetchall() == [(f"{prefix}_owner",)]


@pytest.mark.parametrize("role", ["clock", "reader"])
def test_the_dashboard_looks_as_either_and_acts_as_the_clock(roles: Roles, role: str) -> None:
    with closing(connect(roles.url, "pqclock", "test")) as admin:
        seed = fill(admin)
    deeds = {
        "trigger": "heartbeat", "pause-schedule": "heartbeat", "cancel": seed.running, "retry": seed.failed,
        "discard": seed.ready, "run": seed.scheduled, "blow": "bank:acct", "reset": "bank:acct", "pause-queue": "q",
    }  # fmt: skip
    dashboard = create_app(roles.url_of(role))
    with TestClient(dashboard, base_url="http://localhost", client=HERE, headers=OWN) as page:
        for name in (*PAGES, "schedule?key=heartbeat", f"job?id={seed.ready}", "gate?ref=bank:acct"):
            assert page.get(f"/{name}").status_code == 200, name
        for slug, of in deeds.items():
            answer = page.post("/act", data={"do": slug, "of": str(of)}, follow_redirects=False)
            assert answer.status_code == (303 if role == "clock" else 400), (slug, answer.text)


def test_clock_worker_enqueuer_and_reader_work_together(roles: Roles) -> None:
    app = App(roles.url_of("worker"))
    ran: list[str] = []
    app.task("mail", unique=None, throttle="slow:{to}", max_attempts=2)(lambda to="x": ran.append(to))
    app.task("tick")(lambda: ran.append("tick"))
    clock = Clock(roles.url_of("clock"))
    worker = Worker(app, roles.url_of("worker"), "pqclock", parse_pools("*:4"), timedelta(seconds=5))
    with closing(roles.connect("clock")) as own:
        migrate.check_schema(own)
        old = datetime(2020, 5, 1, tzinfo=UTC)
        assert partitions.create_ahead(own, old) > 0
    ruling = App(roles.url_of("clock"))
    ruling.rules.put("throttle.slow", rate="100/1s")
    ruling.schedules.put("every", every="1s", task="tick", overlap="skip")
    threads = [threading.Thread(target=clock.run), threading.Thread(target=worker.run)]
    for thread in threads:
        thread.start()
    try:
        with closing(roles.connect("enqueuer")) as web:
            enqueue = (
                """SELECT pqclock.enqueue('mail', '{"to": "web"}', unique_key => 'k', delay => interval '200 ms')"""
            )
            (first,) = web.conn.execute(enqueue.encode()).fetchone() or (None,)
            assert web.conn.execute(enqueue.encode()).fetchone() == (first,)
        (done,) = app.enqueue_many([app.tasks["mail"].job(to="app")])
        until(lambda: {"web", "app", "tick"} <= set(ran))
        until(lambda: app.jobs.list(state="succeeded", task="mail").rows[1:])
        assert app.jobs.retry(done.id, succeeded=True).done == 1
        assert app.jobs.cancel(task="mail", state="scheduled").left == {}
        with psycopg.connect(roles.url) as admin:
            count = b"SELECT count(*) FROM pg_class WHERE relname ~ '_2020[0-9]{4}$'"
            # The leader dropped what was over, without any right to do so itself.
            until(lambda: admin.execute(count).fetchone() == (0,))
    finally:
        clock.stop()
        worker.stop()
        for thread in threads:
            thread.join(10)
        app.close()
        ruling.close()
    with closing(roles.connect("reader")) as reader, listings.reading(reader):
        assert first in [row.id for row in listings.jobs(reader).rows]
        assert listings.status(reader).leader.epoch == 1
        assert listings.schedules(reader).rows[0].key == "every"
        assert explaining.explain(reader, first)


VIEWS = ("jobs", "ticks", "schedules", "gates", "queues", "processes")
FORBIDDEN = {
    "enqueuer": [
        *(f"SELECT FROM pqclock.{name}" for name in (*VIEWS, "job", "task", "migration")),
        "INSERT INTO pqclock.queue (name) VALUES ('x')", "SELECT nextval('pqclock.job_id')",
        "SELECT pqclock.drop_day_partition('tick_20200101')", "SELECT pqclock.state_of(1)",
        "SELECT pqclock.paused_gates(now())", "CREATE TABLE pqclock.x (a int)",
    ],
    "reader": [
        "SELECT pqclock.enqueue('mail')", "DELETE FROM pqclock.job", "UPDATE pqclock.queue SET note = 'x'",
        "INSERT INTO pqclock.lane SELECT * FROM pqclock.lane",
        "DELETE FROM pqclock.job_history", "SELECT nextval('pqclock.job_id')",
        "SELECT pqclock.create_day_partition('tick', 'tick', '2020-01-01')",
    ],
    "worker": [
        "SELECT pqclock.drop_day_partition('tick_20200101')", "UPDATE pqclock.leader SET epoch = 1",
        "DELETE FROM pqclock.rule", "INSERT INTO pqclock.pause SELECT * FROM pqclock.pause", "DELETE FROM pqclock.schedule",
        "INSERT INTO pqclock.tick SELECT * FROM pqclock.tick", "UPDATE pqclock.migration SET number = 99",
        "CREATE TABLE pqclock.x (a int)", "DROP TABLE pqclock.job", "DELETE FROM pqclock.attempt",
    ],
    "clock": [
        "UPDATE pqclock.migration SET number = 99", "CREATE TABLE pqclock.x (a int)", "DROP TABLE pqclock.tick_default",
        "ALTER TABLE pqclock.job ADD COLUMN x int", "TRUNCATE pqclock.job",
        "CREATE OR REPLACE FUNCTION pqclock.state_of(job_id bigint) RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
    ],
}  # fmt: skip


@pytest.mark.parametrize("role", FORBIDDEN)
def test_what_is_not_its_work_is_refused_to_each(roles: Roles, role: str) -> None:
    with closing(roles.connect(role)) as own:
        for statement in FORBIDDEN[role]:
            with pytest.raises(
                (psycopg.errors.InsufficientPrivilege, psycopg.errors.DependentObjectsStillExist)
            ) as refusal:
                own.conn.execute(statement.encode())
            assert isinstance(refusal.value, psycopg.errors.InsufficientPrivilege), statement


def test_a_hostile_search_path_does_not_get_the_owners_rights(roles: Roles) -> None:
    """Functions and operators of a stranger that would be found first, if the caller's path counted."""
    with psycopg.connect(roles.url, autocommit=True) as admin:
        admin.execute(f'CREATE SCHEMA evil AUTHORIZATION "{roles.prefix}_enqueuer_login"'.encode())
    with closing(roles.connect("enqueuer")) as web:
        for function in ("format(text, text)", "jsonb_build_object(text, text)", "clock_timestamp()", "now()",
                         "array_remove(jsonb[], jsonb)", "nextval(regclass)", "pg_notify(text, text)",
                         "jsonb_strip_nulls(jsonb)", "unnest(text[])", "nullif(jsonb, jsonb)"):  # fmt: skip
            name, _, rest = function.partition("(")
            web.conn.execute(
                f'CREATE FUNCTION evil."{name}"({rest} RETURNS text LANGUAGE plpgsql AS '
                f"$$ BEGIN RAISE EXCEPTION 'evil % as %', '{name}', current_user; END $$".encode()
            )
        web.conn.execute(
            b"CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE plpgsql AS "
            b"$$ BEGIN RAISE EXCEPTION 'evil = as %', current_user; END $$"
        )
        web.conn.execute(b"CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same)")
        for path in ("evil, pg_catalog, public", "evil, pqclock, pg_catalog", "pg_temp, evil"):
            web.conn.execute(b"SELECT pg_catalog.set_config('search_path', %s, false)", [path])
            row = web.conn.execute(
                b"SELECT pqclock.enqueue('mail', '{\"a\": 1}', queue => 'mice', labels => ARRAY['x'], unique_key => %s, "
                b"throttle => ARRAY['stripe:{a}'])", [path],
            ).fetchone()  # fmt: skip
            assert row is not None
        web.conn.execute(b"CREATE TEMP TABLE job (id int)")
        web.conn.execute(b"SELECT pqclock.enqueue('mail')")
    with closing(connect(roles.url, "pqclock", "test")) as admin_session:
        assert len(listings.jobs(admin_session).rows) == 4


def test_every_function_that_runs_as_its_owner_has_a_path_of_its_own(database_url: str) -> None:
    with psycopg.connect(database_url) as admin:
        rows = admin.execute(
            "SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'pqclock'::regnamespace AND prosecdef ORDER BY 1"
        ).fetchall()
    assert [name for name, _ in rows] == ["create_day_partition", "drop_day_partition", "enqueue"]
    assert all("search_path=pg_catalog, pg_temp" in config for _, config in rows)


def test_other_names_and_bad_ones() -> None:
    text = grants.script("jobs", "shop")
    assert 'GRANT USAGE ON SCHEMA "jobs" TO "shop_clock"' in text
    assert "pqclock." not in text.replace("`pqclock", "")
    assert "{" not in text
    for bad in ("", "Shop", 'a"b', "pg_x", "1a", "a" * 51, "a;b"):
        with pytest.raises(ArgumentError, match=r"role prefix .* is not allowed"):
            grants.script("pqclock", bad)
