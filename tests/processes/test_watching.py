"""Clocks that watch their files: what a change comes to, however it is made, and what is no change."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from psycopg import sql

from conftest import Database
from pqclock.address import Address
from pqclock.cli.children import clock_child
from pqclock.cli.roles import watching_at_home
from pqclock.settings import load
from processes.fleet import Fleet, eventually
from processes.test_clocks import leader

ACTIVE = "SELECT key FROM pqclock.schedules WHERE state = 'active' ORDER BY key"
VERSIONS = "SELECT count(*) FROM pqclock.set_version"


def hourly(*keys: str) -> str:
    """A schedule file with these keys."""
    return "".join(f'[schedule.{key}]\ntask = "note"\nevery = "1h"\n' for key in keys)


def watching(fleet: Fleet) -> subprocess.Popen[bytes]:
    """A clock that watches, when it leads or stands by."""
    clock = fleet.start("clock", "--log-format", "json", PQCLOCK_WATCH="true")
    eventually(lambda: any(word in fleet.log_of(clock) for word in ("leading", "standing by")))
    return clock


def has(database: Database, *keys: str) -> bool:
    """Whether these are the active schedules."""
    return database.rows(ACTIVE) == [(key,) for key in sorted(keys)]


def test_a_change_is_applied_and_a_broken_one_is_told_once(fleet: Fleet, database: Database) -> None:
    fleet.schedules(hourly("a"))
    clock = watching(fleet)
    fleet.schedules(hourly("a", "b"))
    eventually(lambda: has(database, "a", "b"))
    fleet.schedules(hourly("c") + "[schedule.")
    eventually(lambda: "not applied" in fleet.log_of(clock))
    assert has(database, "a", "b")
    os.utime(fleet.folder / "schedules" / "test.toml")
    # A comment: seen after the touch, and no new meaning.
    fleet.schedules("# fine\n" + hourly("a", "b"))
    eventually(lambda: "mean what they meant" in fleet.log_of(clock))
    assert fleet.log_of(clock).count("not applied") == fleet.log_of(clock).count('"level": "error"') == 1
    assert "test.toml:" in fleet.log_of(clock) and "see `pqclock check`" in fleet.log_of(clock)
    assert database.value(VERSIONS) == 2


def test_two_clocks_apply_a_change_once(fleet: Fleet, database: Database) -> None:
    fleet.schedules(hourly("a"))
    clocks = [watching(fleet), watching(fleet)]
    eventually(lambda: leader(database))
    fleet.schedules(hourly("b"))
    eventually(lambda: all(fleet.log_of(clock).count("applied set default") == 2 for clock in clocks))
    assert has(database, "b")
    assert database.value(VERSIONS) == 2
    assert database.rows("SELECT version FROM pqclock.schedule WHERE key = 'b'") == [(1,)]


def test_files_that_are_gone_remove_nothing(fleet: Fleet, database: Database) -> None:
    fleet.schedules(hourly("a"))
    clock = watching(fleet)
    folder = fleet.folder / "schedules"
    (folder / "test.toml").unlink()
    eventually(lambda: "`pqclock apply` with an empty folder" in fleet.log_of(clock))
    clock.send_signal(signal.SIGHUP)
    eventually(lambda: fleet.log_of(clock).count("`pqclock apply` with an empty folder") == 2)
    folder.rmdir()
    eventually(lambda: fleet.log_of(clock).count("`pqclock apply` with an empty folder") == 3)
    assert has(database, "a")
    folder.mkdir()
    fleet.schedules(hourly("a", "b"))
    eventually(lambda: has(database, "a", "b"))
    (folder / "test.toml").unlink()
    assert fleet.start("apply").wait(15) == 0
    assert has(database)


def test_a_start_with_an_empty_folder_removes_nothing(fleet: Fleet, database: Database) -> None:
    fleet.schedules(hourly("a"))
    first = watching(fleet)
    first.terminate()
    first.wait(10)
    (fleet.folder / "schedules" / "test.toml").unlink()
    assert "`pqclock apply` with an empty folder" in fleet.log_of(watching(fleet))
    assert has(database, "a")


def test_a_swapped_link_is_a_change(fleet: Fleet, database: Database) -> None:
    # As Kubernetes mounts a ConfigMap: a.toml -> ..data/a.toml, ..data -> ..1, and the swap is a rename of a new ..data.
    folder = fleet.folder / "schedules"

    def publish(name: str, text: str) -> None:
        (folder / name).mkdir()
        (folder / name / "a.toml").write_text(text)
        (folder / "..data_tmp").symlink_to(name)
        (folder / "..data_tmp").rename(folder / "..data")

    publish("..1", hourly("a"))
    (folder / "a.toml").symlink_to(Path("..data") / "a.toml")
    watching(fleet)
    assert has(database, "a")
    publish("..2", hourly("b"))
    eventually(lambda: has(database, "b"))


def test_a_change_waits_for_a_database_that_is_away(fleet: Fleet, database: Database, server_url: str) -> None:
    fleet.schedules(hourly("a"))
    clock = watching(fleet)
    eventually(lambda: leader(database))
    with psycopg.connect(server_url, autocommit=True) as admin:

        def allow(connections: str) -> None:
            name = sql.Identifier(database.session.conn.info.dbname)
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS " + connections).format(name))

        allow("false")
        fleet.schedules(hourly("b"))
        eventually(lambda: "cannot be applied now" in fleet.log_of(clock))
        allow("true")
    eventually(lambda: has(database, "b"))


@pytest.mark.parametrize("flags", [[], ["--no-watch"]])
def test_without_the_setting_nothing_is_watched(fleet: Fleet, flags: list[str]) -> None:
    fleet.schedules(hourly("a"))
    watch = {"PQCLOCK_WATCH": "true"} if flags else {}
    clock = fleet.start("clock", "--log-format", "json", *flags, **watch)
    eventually(lambda: "leading" in fleet.log_of(clock))
    assert "are watched" not in fleet.log_of(clock)


@pytest.mark.parametrize(
    ("embedded", "given", "flag"),
    [
        (True, {}, "--watch"),
        (False, {}, "--no-watch"),
        (True, {"watch": False}, "--no-watch"),
        (False, {"watch": True}, "--watch"),
    ],
)
def test_pqclock_alone_watches_on_the_embedded_server(embedded: bool, given: dict[str, object], flag: str) -> None:
    address = Address("postgresql://", "a test", server=cast(Any, object()) if embedded else None)
    assert flag in clock_child(watching_at_home(load(given, environ={}), address)).command
