"""Parents and children: what ends a supervisor, what it restarts, and stops that come before the first connection."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from conftest import Database
from pqclock import supervisor
from pqclock.settings import load
from pqclock.store.processes import TOKEN_VARIABLE
from pqclock.supervisor import Bury, Child, Supervisor
from processes.fleet import APP, IN_THE_BACKGROUND, Fleet, children_of, eventually, is_alive
from processes.test_faults import NOBODY
from processes.test_workers import put, state, workers

PATIENT = ("--wait", "60s")


def catches_term(pid: int) -> bool:
    """True once a process has a handler for TERM."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@contextmanager
def outage(server_url: str, database: Database) -> Iterator[None]:
    """The database lets nobody in."""
    name = psycopg.conninfo.conninfo_to_dict(database.url)["dbname"]
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        ours = "pid <> pg_backend_pid() AND application_name <> 'pqclock test' AND datname = %s"
        admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}".encode(), [name])
        try:
            yield
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())


def test_a_child_that_is_restarted_in_an_outage_is_tried_for_ever(
    fleet: Fleet, database: Database, server_url: str
) -> None:
    parent = fleet.worker("*:1", "--processes", "2", "--wait", "100ms")
    eventually(lambda: workers(database) == 2)
    first, second = children_of(parent)
    with outage(server_url, database):
        os.kill(first, signal.SIGKILL)
        eventually(lambda: fleet.log_of(parent).count("ended with code 3") >= 2)
        assert is_alive(second)
    recovered = "SELECT count(*) FROM pqclock.process WHERE beat_at > clock_timestamp() - interval '2 s'"
    eventually(lambda: database.value(recovered) == 2, within=25)
    assert parent.poll() is None


@pytest.mark.parametrize("arguments", [["clock"], ["worker", "--app", "processes.apps:app"], ["demo"]])
def test_a_stop_before_the_first_connection_ends_with_0(fleet: Fleet, arguments: list[str]) -> None:
    process = fleet.start(*arguments, *PATIENT, PQCLOCK_DATABASE_URL=NOBODY)
    eventually(lambda: catches_term(process.pid))
    process.terminate()
    assert process.wait(5) == 0


def test_a_worker_child_hears_a_stop_before_its_first_connection(fleet: Fleet) -> None:
    parent = fleet.start("worker", "--app", "processes.apps:app", *PATIENT, PQCLOCK_DATABASE_URL=NOBODY)
    (child,) = eventually(lambda: children_of(parent))
    eventually(lambda: catches_term(child))
    os.kill(child, signal.SIGTERM)
    eventually(lambda: "ended with code 0" in fleet.log_of(parent), within=5)


def test_a_second_signal_gives_the_jobs_of_the_killed_back_at_once(fleet: Fleet, database: Database) -> None:
    fleet.clock()
    parent = fleet.worker("naps:1")
    eventually(lambda: workers(database) == 1)
    job_id = put(database, "nap", '{"seconds": 60}', "naps")
    eventually(lambda: state(database, job_id) == "running")
    (child,) = children_of(parent)
    parent.terminate()
    waiting = put(database, "nap", '{"seconds": 60}', "naps")
    time.sleep(0.2)  # one TERM that is not handled yet would swallow the other
    parent.terminate()
    assert parent.wait(3) != 0
    assert not is_alive(child)
    assert workers(database) == 0
    eventually(lambda: [state(database, each) for each in (job_id, waiting)] == ["ready", "ready"], within=5)
    # It was not the job that took the worker down.
    assert database.rows("SELECT DISTINCT crashes, deaths FROM pqclock.job") == [(0, 0)]
    assert database.rows("SELECT outcome FROM pqclock.attempt") in ([], [("interrupted",)])


def test_each_child_has_a_token_of_its_own(fleet: Fleet, database: Database) -> None:
    fleet.worker("*:1", "--processes", "2")
    eventually(lambda: workers(database) == 2)
    assert database.value("SELECT count(DISTINCT token) FROM pqclock.process") == 2
    assert load(environ={TOKEN_VARIABLE: "x"}).origins == {}


class Watched:
    """A supervisor of shell commands, run in a thread; its children are gone at the end."""

    def __init__(self, *scripts: str, on_death: Bury = lambda _begun: None) -> None:
        self.children = [Child(f"child {n}", ["/bin/sh", "-c", script]) for n, script in enumerate(scripts)]
        self.supervisor = Supervisor(self.children, {}, wait=1.0, stop_timeout=1.0, on_death=on_death)
        self.ended: list[Any] = []
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.ended.append(self.supervisor.run())
        except OSError as error:
            self.ended.append(type(error))

    def __enter__(self) -> Watched:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.stop()
        self.thread.join(15)
        assert not self.thread.is_alive()


@pytest.mark.parametrize("role", [["clock"], ["worker", "--app", APP], ["--app", APP]])
def test_a_role_in_the_background_of_a_script_ends_with_it_at_ctrl_c(
    fleet: Fleet, database: Database, role: list[str]
) -> None:
    # Such a shell has SIGINT ignored for its children, and Ctrl-C would leave them behind.
    process = fleet.start(*role, before=IN_THE_BACKGROUND)
    eventually(lambda: database.rows("SELECT id FROM pqclock.processes"))
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 0
    assert database.rows("SELECT id FROM pqclock.processes") == []


@pytest.mark.parametrize("code", [1, 3])
def test_a_child_that_refuses_to_begin_ends_all(code: int) -> None:
    with Watched("exec sleep 60", f"exit {code}") as watched:
        eventually(lambda: watched.ended)
    assert watched.ended == [code]
    assert all(child.process is None or child.process.poll() is not None for child in watched.children)


def test_a_later_life_that_ends_is_followed_by_another_whatever_the_code(tmp_path: Path) -> None:
    begun = [tmp_path / f"begun-{code}" for code in range(5)]
    scripts = [f"test -e {path} && exit {code}; touch {path}; kill -9 $$" for code, path in enumerate(begun)]
    with Watched(*scripts) as watched:
        eventually(lambda: all(child.lives >= 4 for child in watched.children) or watched.ended)
        assert watched.ended == []
    assert watched.ended == [0]


def test_no_child_is_left_behind_when_one_cannot_be_started() -> None:
    watched = Watched("exec sleep 60", "")
    watched.children[1].command = ["/nowhere/to/be/found"]
    with watched:
        eventually(lambda: watched.ended)
    assert watched.ended == [FileNotFoundError]
    assert watched.children[0].process is not None
    assert watched.children[0].process.poll() is not None


def test_one_that_cannot_be_started_again_is_tried_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_LIMIT", 0.1)
    watched = Watched("exec sleep 60", "sleep 0.2")
    real = subprocess.Popen
    refused: list[None] = []

    def popen(command: Any, **options: Any) -> Any:
        if watched.children[1].lives == 1 and len(refused) < 2:
            refused.append(None)
            raise BlockingIOError(11, "no more processes")
        return real(command, **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    with watched:
        eventually(lambda: watched.children[1].lives >= 2 or watched.ended)
        assert watched.ended == []
    assert len(refused) == 2


def test_an_end_at_once_does_not_wait_for_a_database_that_is_slow() -> None:
    asked: list[Sequence[str]] = []
    hold = threading.Event()

    def bury(tokens: Mapping[str, Sequence[int] | None]) -> None:
        asked.append(list(tokens))
        hold.wait(30)

    with Watched("exec sleep 60", on_death=bury) as watched:
        (child,) = watched.children
        eventually(lambda: child.process)
        token = child.token
        begun = time.monotonic()
        watched.supervisor.kill()
        assert time.monotonic() - begun < 3
        assert [token] in asked
        hold.set()


def interrupt_within(call: Callable[[], None]) -> None:
    """Call it, and again from within at every step of the first call, as signals do to a handler's call path."""
    inside = False

    def step(_frame: object, _event: str, _what: object) -> None:
        nonlocal inside
        if not inside:
            inside = True
            call()
            inside = False

    sys.setprofile(step)
    try:
        call()
    finally:
        sys.setprofile(None)


STOPPABLE = """
from typing import Any, cast
from pqclock.address import Address
from pqclock.clock.service import ClockService
from pqclock.demo.run import Demo
from pqclock.loop import Stop
from pqclock.settings import Settings
from pqclock.supervisor import Supervisor
from processes.test_supervisor import interrupt_within

supervisor = Supervisor([], {}, wait=1, stop_timeout=1, on_death=print)
clock = ClockService(Settings(), Address("postgresql://", "a test"))
stop = Stop()
stop.hand_over(supervisor.stop)
for call in (supervisor.stop, supervisor.wake, clock.stop, clock.reload, stop.ask,
             Demo(cast(Any, None), supervisor, None, watch=False).stop):
    interrupt_within(call)
print("done")
"""


def test_a_stop_may_be_interrupted_by_another_one_anywhere() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPABLE],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True, text=True, timeout=15, check=False,
    )  # fmt: skip
    assert done.stdout == "done\n", done.stderr
