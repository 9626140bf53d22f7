"""`pqclock web` and the dashboard beside clock and workers, as processes."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from conftest import Database
from processes.fleet import APP, Fleet, children_of, eventually

TOKEN = "a-secret-of-the-tests"


def address_of(fleet: Fleet, process: subprocess.Popen[bytes]) -> str:
    """Where the dashboard of a process is, once it is."""

    def served() -> str | None:
        found = re.search(r"dashboard: (http://\S+?)/", fleet.log_of(process))
        return found and found[1]

    return eventually(served)


def ask(url: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_web_serves_until_it_is_stopped_also_with_open_pages(fleet: Fleet) -> None:
    process = fleet.start("web", "--web", "127.0.0.1:0", "--health", "127.0.0.1:0")
    address = address_of(fleet, process)
    status, text = ask(f"{address}/schedules")
    assert status == 200 and "No schedules" in text
    health = re.search(r"health: (http://[0-9.:]+)/livez", fleet.log_of(process))
    assert health is not None
    eventually(lambda: ask(f"{health[1]}/readyz")[0] == 200)
    with urllib.request.urlopen(f"{address}/events", timeout=10) as stream:
        assert stream.readline() == b"retry: 200\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_changes_are_sent_as_events(fleet: Fleet, database: Database) -> None:
    address = address_of(fleet, fleet.start("web", "--web", "127.0.0.1:0"))
    with urllib.request.urlopen(f"{address}/events", timeout=10) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.readline() == b"retry: 200\n"
        eventually(
            lambda: (
                database.value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%web live%'") == 1
            )
        )
        # Its first look comes after it has begun to listen.
        database.session.conn.execute("SELECT pg_sleep(0.5)")
        database.session.conn.execute("SELECT pqclock.enqueue('mail')")
        stream.readline()
        assert stream.readline() == b"event: changed\n"
    # Nobody looks any more: nothing is asked of the database.
    eventually(
        lambda: database.value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%web live%'") == 0,
        30,
    )


def test_on_the_network_a_token_is_needed(fleet: Fleet) -> None:
    refused = fleet.start("web", "--web", ":0")
    assert refused.wait(20) == 2
    assert "set PQCLOCK_WEB_TOKEN" in fleet.log_of(refused)
    short = fleet.start("web", "--web", ":0", PQCLOCK_WEB_TOKEN="short")
    assert short.wait(20) == 2
    assert "16 characters" in fleet.log_of(short) and "short'" not in fleet.log_of(short)
    open_one = fleet.start("web", "--web", ":0", PQCLOCK_WEB_TOKEN=TOKEN)
    address = address_of(fleet, open_one)
    assert ask(f"{address}/jobs")[0] == 401
    secret = base64.b64encode(f"ada:{TOKEN}".encode()).decode()
    assert ask(f"{address}/jobs", Authorization=f"Basic {secret}")[0] == 200
    assert ask(f"{address}/jobs", Authorization=f"Basic {secret}", Host="evil.example")[0] == 421
    assert TOKEN not in fleet.log_of(open_one)


def test_a_port_that_is_taken_is_refused_only_where_it_was_asked_for(fleet: Fleet) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = fleet.start("web", "--web", f"127.0.0.1:{taken.getsockname()[1]}")
        assert refused.wait(20) == 2
        assert "use another port" in fleet.log_of(refused)
    first, second = (address_of(fleet, fleet.start("web")) for _ in range(2))
    assert first != second


def test_a_hangup_ends_no_dashboard(fleet: Fleet) -> None:
    process = fleet.start("web", "--web", "127.0.0.1:0")
    address = address_of(fleet, process)
    process.send_signal(signal.SIGHUP)
    assert ask(f"{address}/schedules")[0] == 200 and process.poll() is None


def test_web_waits_for_its_database(fleet: Fleet) -> None:
    process = fleet.start(
        "web", "--web", "127.0.0.1:0", "--wait", "1s", PQCLOCK_DATABASE_URL="postgresql://nobody@127.0.0.1:9/x"
    )
    assert process.wait(30) == 3
    assert "127.0.0.1:9/x cannot be reached" in fleet.log_of(process) and "psycopg.pool" not in fleet.log_of(process)


def test_web_wants_the_schema(fleet: Fleet, empty_url: str) -> None:
    process = fleet.start("web", "--web", "127.0.0.1:0", PQCLOCK_DATABASE_URL=empty_url)
    assert process.wait(20) == 4
    assert "pqclock migrate" in fleet.log_of(process)


def test_files_that_are_not_in_force_are_told(fleet: Fleet) -> None:
    fleet.schedules('[schedule.a]\ntask = "t"\nevery = "1h"\n')
    address = address_of(fleet, fleet.start("web", "--web", "127.0.0.1:0"))
    assert "The files are not in force" in ask(f"{address}/schedules")[1]
    assert fleet.start("apply").wait(20) == 0
    text = ask(f"{address}/schedules")[1]
    assert "The files are not in force" not in text and "the same" in text


@pytest.mark.parametrize("how", ["killed", "off"])
def test_everything_goes_on_without_its_dashboard(fleet: Fleet, how: str) -> None:
    where = "off" if how == "off" else "127.0.0.1:0"
    process = fleet.start("--app", APP, "--web", where, "--health", "127.0.0.1:0")
    health = eventually(lambda: re.search(r"health: (http://[0-9.:]+)/livez", fleet.log_of(process)))[1]
    eventually(lambda: ask(f"{health}/readyz")[0] == 200)
    others = 2
    if how == "off":
        assert len(children_of(process)) == others
        assert "dashboard" not in fleet.log_of(process)
        return
    assert ask(f"{address_of(fleet, process)}/schedules")[0] == 200
    web = next(pid for pid in children_of(process) if b"\0web\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(web, signal.SIGKILL)
    eventually(lambda: len(re.findall(r"dashboard: http", fleet.log_of(process))) == 2)
    assert ask(f"{health}/livez")[0] == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
