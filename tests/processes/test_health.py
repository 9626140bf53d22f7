"""Health of real processes: ready when they reach the database, alive while they turn, and what systemd hears."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from conftest import Database
from pqclock import embedded
from processes.fleet import Fleet, children_of, eventually


def address_of(fleet: Fleet, process: subprocess.Popen[bytes]) -> str:
    """Where a process of the fleet serves its health, once it does."""

    def served() -> str | None:
        found = re.search(r"health: (http://[0-9.:]+)/livez", fleet.log_of(process))
        return found and found[1]

    return eventually(served)


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_leader_and_standby_are_both_ready(fleet: Fleet) -> None:
    clocks = [fleet.start("clock", "--health", "127.0.0.1:0") for _ in range(2)]
    for clock in clocks:
        address = address_of(fleet, clock)
        eventually(lambda address=address: ask(f"{address}/readyz") == (200, "ok\n"))  # type: ignore[misc]
        assert ask(f"{address}/livez") == (200, "ok\n")


def test_a_worker_is_ready_when_its_child_is(fleet: Fleet) -> None:
    worker = fleet.worker("*:2", "--health", "127.0.0.1:0", "--processes", "2")
    address = address_of(fleet, worker)
    eventually(lambda: ask(f"{address}/readyz")[0] == 200)
    # A child that stands still is overdue only after a while: its process alone is no sign of life.
    for child in children_of(worker):
        os.kill(child, signal.SIGKILL)
    eventually(lambda: len(children_of(worker)) == 2 and ask(f"{address}/readyz")[0] == 200)


def test_no_database_is_no_death(own_server: embedded.Server, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, own_server.url)
    try:
        assert fleet.start("migrate").wait(15) == 0
        clock = fleet.start("clock", "--health", "127.0.0.1:0")
        address = address_of(fleet, clock)
        eventually(lambda: ask(f"{address}/readyz")[0] == 200)
        own_server.close()
        eventually(lambda: ask(f"{address}/readyz") == (503, "no clock reaches the database\n"), within=30)
        assert ask(f"{address}/livez") == (200, "ok\n")
    finally:
        fleet.end()


def test_healthcheck_asks_the_process_here(fleet: Fleet) -> None:
    clock = fleet.start("clock", "--health", "127.0.0.1:0")
    endpoint = address_of(fleet, clock).removeprefix("http://")

    def check(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pqclock", "healthcheck", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=fleet.folder, timeout=60)

    eventually(lambda: check("--health", endpoint).returncode == 0)
    assert check("--health", endpoint, "--live").stdout == "ok\n"
    clock.terminate()
    clock.wait(15)
    gone = check("--health", endpoint)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "does not answer" in gone.stderr
    assert "is a process with this --health running here?" in gone.stderr
    unset = check()
    assert unset.returncode == 2
    assert "PQCLOCK_HEALTH" in unset.stderr


def test_systemd_hears_of_a_worker_from_begin_to_end(
    fleet: Fleet, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        path = str(tmp_path / "notify")
        systemd.bind(path)
        systemd.settimeout(15)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        monkeypatch.setenv("WATCHDOG_USEC", "900000")
        worker = fleet.worker()
        heard: list[str] = []

        def hear(word: str) -> None:
            while word not in heard:
                heard.extend(systemd.recv(9_999).decode().splitlines())

        hear("READY=1")
        hear("STATUS=worker 1: working")
        assert heard.count("READY=1") == 1
        heard.clear()
        hear("WATCHDOG=1")
        worker.terminate()
        hear("STOPPING=1")
        assert worker.wait(15) == 0
