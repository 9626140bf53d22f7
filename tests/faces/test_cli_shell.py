"""The command as a shell sees it: real processes, pipes, signals, codes and speed."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from processes.fleet import IN_THE_BACKGROUND

COMMAND = [sys.executable, "-m", "pqclock"]
ENVIRONMENT = {
    key: value for key, value in os.environ.items() if not key.startswith(("PQCLOCK_", "PG", "DATABASE_URL"))
}


def run(*args: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *args], cwd=cwd, env=ENVIRONMENT | environ, capture_output=True, text=True, timeout=60, check=False
    )


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the command; what a failed test leaves running would make noise in a later one."""
    started = []

    def begin(*args: str, before: tuple[str, ...] = (), **more: Any) -> subprocess.Popen[str]:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ENVIRONMENT, **more}
        process = subprocess.Popen([*before, *COMMAND, *args], cwd=tmp_path, text=True, **streams)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from pqclock.cli import main
        main(["--help"])
        heavy = {"psycopg", "rich", "croniter", "tomli", "cron_descriptor"} & set(sys.modules)
        sys.exit(str(heavy) if heavy else 0)
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Exit codes: 0 done" in done.stdout


def test_help_is_fast(tmp_path: Path) -> None:
    taken = []
    for _ in range(5):
        before = time.perf_counter()
        assert run("--help", cwd=tmp_path).returncode == 0
        taken.append(time.perf_counter() - before)
    # Loose, for busy machines: the aim is 0.15 s.
    assert min(taken) < 0.5


def test_codes_and_streams(database: Any, tmp_path: Path) -> None:
    done = run("jobs", "--json", cwd=tmp_path, PQCLOCK_DATABASE_URL=database.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"version": 1, "jobs": [], "next": None}
    lost = run("jobs", cwd=tmp_path, DATABASE_URL="postgresql://nobody:secret@127.0.0.1:1/none")
    assert (lost.returncode, lost.stdout) == (3, "")
    assert lost.stderr.startswith("pqclock: error: PostgreSQL at 127.0.0.1:1/none cannot be reached")
    assert "secret" not in lost.stderr
    assert run("jobs", cwd=tmp_path).returncode == 2


def test_a_reader_that_has_had_enough(start: Start) -> None:
    process = start("next", "--cron", "* * * * *", "-n", "500")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "schema"],
            cwd=tmp_path,
            env=ENVIRONMENT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "pqclock: error: the system refused: No space left on device\n"


def test_an_encoding_that_lacks_characters(tmp_path: Path) -> None:
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "łoś.toml").write_text("[schedule.a]\ntask = 'x'\nevery = 'ł'\n", encoding="utf-8")
    done = run("check", cwd=tmp_path, PYTHONIOENCODING="latin-1")
    assert done.returncode == 1
    assert "schedules/\\u0142o\\u015b.toml:3:9: error: " in done.stdout and "Traceback" not in done.stderr


def watch(start: Start, url: str, **more: Any) -> subprocess.Popen[str]:
    """A watch that has looked a few times."""
    process = start("status", "--watch", "--interval", "0.1", "--json", "--database-url", url, **more)
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert all(line["version"] == 1 and line["status"][0]["workers"] == 0 for line in lines)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_gives_an_object_a_line_until_a_signal(number: int, database: Any, start: Start) -> None:
    process = watch(start, database.url)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_watch_in_the_background_leaves_ctrl_c_to_the_foreground(database: Any, start: Start) -> None:
    process = watch(start, database.url, before=IN_THE_BACKGROUND)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    # More than what may have been written before the signal came.
    assert all(json.loads(process.stdout.readline()) for _ in range(5))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_watch_outlives_its_connection(database: Any, start: Start) -> None:
    process = watch(start, database.url)
    assert process.stdout is not None and process.stderr is not None
    database.session.conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'pqclock command' AND datname = current_database()"
    )
    assert "cannot be reached" in process.stderr.readline()
    assert json.loads(process.stdout.readline())["version"] == 1
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_watch_repaints_a_terminal(database: Any, start: Start) -> None:
    master, slave = pty.openpty()
    process = start(
        "status", "--watch", "--interval", "0.1", stdout=slave, stderr=slave,
        env=ENVIRONMENT | {"PQCLOCK_DATABASE_URL": database.url, "TERM": "xterm"},
    )  # fmt: skip
    os.close(slave)
    seen = b""
    while seen.count(b"no clock leads") < 2:
        seen += os.read(master, 65536)
    process.send_signal(signal.SIGINT)
    while process.poll() is None:
        seen += _rest(master)
    assert process.returncode == 0
    assert b"\x1b[?1049h" in seen and b"Traceback" not in seen
    os.close(master)


def test_a_migration_draws_its_progress_on_a_terminal(empty_url: str, start: Start) -> None:
    master, slave = pty.openpty()
    environment = ENVIRONMENT | {"PQCLOCK_DATABASE_URL": empty_url, "TERM": "xterm"}
    process = start("migrate", stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    seen = b""
    while process.poll() is None:
        seen += _rest(master)
    seen += _rest(master)
    os.close(master)
    assert process.returncode == 0 and b"0011 alarms: applied" in seen
    assert b"waiting for the lock" in seen or b"/11 " in seen


def _rest(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:
        return b""


def test_completion_knows_the_commands(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("pqclock")], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=ENVIRONMENT | {"_PQCLOCK_COMPLETE": "bash_complete", "COMP_WORDS": "pqclock sch", "COMP_CWORD": "1"},
    )  # fmt: skip
    assert done.stdout.split() == ["plain,schema", "plain,schedules"]
