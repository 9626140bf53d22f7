"""Forks and ends of the process: no socket is shared, no lock outlives its holder, and an exit stops in order."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from conftest import Database
from hosting.conftest import Script
from pqclock.hosting.places import Place
from processes.fleet import eventually

TASK = """
@app.task("double")
def double(n):
    return 2 * n
"""

FORKED = (
    TASK
    + """
import psycopg, warnings, socket
warnings.simplefilter("ignore", DeprecationWarning)

def inodes():
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{fd}")] = int(fd)
        except OSError:
            pass
    return found

def peers():
    '''Inodes of connected sockets to the server: TCP or the server's unix socket.'''
    result = set()
    for name, fd in inodes().items():
        if name.startswith("socket:"):
            with socket.socket(fileno=os.dup(fd)) as copy:
                try:
                    peer = copy.getpeername()
                except OSError:
                    continue
                if peer:
                    result.add(name)
    return result

def backends():
    with psycopg.connect(os.environ["PQCLOCK_DATABASE_URL"]) as conn:
        names = ["pqclock worker", "pqclock finisher", "pqclock clock", "pqclock app"]
        return set(conn.execute("SELECT pid FROM pg_stat_activity WHERE application_name = ANY(%s)"
                                " AND datname = current_database()", [names]).fetchall())

worker, clock = app.worker().start(), app.clock().start()
assert double.enqueue(n=1).result("10s") == 2
eventually(lambda: clock.state == "leading")
before, served_by = peers(), backends()
assert len(before) >= 4 and len(served_by) >= 4, (before, served_by)
child = os.fork()
if child == 0:
    try:
        assert not worker.running and clock.state == "stopped", (worker, clock)
        assert repr(worker) == f"<worker of process {os.getppid()}, not running in this fork of it>"
        assert not before & peers(), before & peers()
        assert worker.stop() and clock.stop()
        handle = double.using(queue="child").enqueue(n=2)
        with app.worker(queues="child:1"), clock:
            assert handle.result("10s") == 4
            eventually(lambda: clock.state == "waiting")
        app.close()
        code = 0
    except BaseException:
        import traceback; traceback.print_exc()
        code = 1
    os._exit(code)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert backends() >= served_by
assert clock.state == "leading" and worker.running
assert double.enqueue(n=3).result("10s") == 6
worker.stop(), clock.stop(), app.close()
print("well")
"""
)

ORPHANED = (
    TASK
    + """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
worker, clock = app.worker().start(), app.clock().start()
eventually(lambda: clock.state == "leading")
double.enqueue(n=1).result("10s")
if os.fork() == 0:
    sys.stdin.close()
    for fd in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), fd)
    open("child", "w").write(str(os.getpid()))
    time.sleep(30)
    os._exit(0)
eventually(lambda: os.path.exists("child"))
os.kill(os.getpid(), signal.SIGKILL)
"""
)

EXIT = """
begun = threading.Event()

@app.task("slow")
def slow():
    begun.set()
    time.sleep(0.3)
    return "done"

worker, clock = app.worker().start(), app.clock().start()
eventually(lambda: clock.state == "leading")
handle = slow.enqueue()
begun.wait(10)
"""


def sessions(database: Database) -> object:
    return database.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pqclock %'"
        " AND application_name <> 'pqclock test'",
    )


def test_a_forked_child_shares_nothing_and_starts_its_own(script: Script) -> None:
    done = script(FORKED)
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr
    for name in ("worker", "clock"):
        assert f"INFO pqclock.hosting the {name} that process" in done.stderr
    assert "Traceback" not in done.stderr and "WARNING" not in done.stderr, done.stderr


def test_a_child_that_outlives_its_parent_keeps_no_session_and_no_lock(
    script: Script, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = script(ORPHANED)
    assert done.returncode == -signal.SIGKILL, done.stderr
    child = int((tmp_path / "child").read_text())
    try:
        eventually(lambda: sessions(database) == 0, 5)
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
        place = Place(database.url, "pqclock")
        assert place.path.exists() and place.take()
        place.leave()
    finally:
        os.kill(child, signal.SIGKILL)


def test_the_end_of_the_interpreter_stops_what_still_runs(script: Script, database: Database) -> None:
    done = script(EXIT)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "CRITICAL" not in done.stderr, done.stderr
    assert "resigned: term" in done.stderr
    assert database.value("SELECT state FROM pqclock.jobs WHERE task = 'slow'") == "succeeded"
    assert database.value("SELECT count(*) FROM pqclock.process") == 0
