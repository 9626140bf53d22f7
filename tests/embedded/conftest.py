"""Folders for real servers, processes that use them, and waiting for what must come about."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pqclock.embedded import erase, start
from pqclock.embedded.state import read_live

UserProcess = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool], float], float]:
    """Wait until the condition holds and give the seconds it took; fail when it does not in time."""

    def wait(condition: Callable[[], bool], within: float) -> float:
        began = time.monotonic()
        while not condition():
            assert time.monotonic() < began + within, f"not within {within} s"
            time.sleep(0.02)
        return time.monotonic() - began

    return wait


@pytest.fixture
def runs() -> Callable[[int], bool]:
    """Say whether a process lives; one that nobody has reaped yet does not."""

    def look(pid: int) -> bool:
        told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return bool(told.stdout.strip()) and not told.stdout.startswith("Z")

    return look


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A new directory that every user may pass through, as projects are."""
    made = Path(tempfile.mkdtemp(prefix="pqclock-test-", dir="/tmp"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def new_folder(open_dir: Path) -> Iterator[Path]:
    """The folder of a server, still to be made."""
    yield open_dir / ".pqclock"
    end_keeper(open_dir / ".pqclock")
    erase(open_dir / ".pqclock")


@pytest.fixture(scope="session")
def made_once() -> Iterator[Path]:
    """A folder whose server was made and has ended."""
    within = Path(tempfile.mkdtemp(prefix="pqclock-test-", dir="/tmp"))
    within.chmod(0o711)
    start(within / ".pqclock", durable=False).close()
    end_keeper(within / ".pqclock")
    yield within / ".pqclock"
    shutil.rmtree(within)


@pytest.fixture
def folder(new_folder: Path, made_once: Path) -> Path:
    """The folder of a server that only needs to be started."""
    subprocess.run(["cp", "-a", made_once, new_folder], check=True)
    (new_folder / "server.log").unlink()
    return new_folder


def end_keeper(folder: Path) -> None:
    """End the keeper of a folder, which is quicker than to wait until it looks."""
    while (found := read_live(folder / "state.json")) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.keeper, signal.SIGTERM)
        time.sleep(0.02)


@pytest.fixture
def begin_user() -> Iterator[UserProcess]:
    """Begin a process that uses the server of a folder; `heard` reads what it says first."""
    begun: list[subprocess.Popen[str]] = []

    def begin(folder: Path, account: pwd.struct_passwd | None = None) -> subprocess.Popen[str]:
        options: dict[str, Any] = {}
        if account is not None:
            options = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            if not can_read(Path(__file__), options):
                pytest.skip("this tree lies in a folder that other users cannot enter: no process of theirs can run it")
        command = [python_for(options), str(Path(__file__).with_name("user_process.py")), str(folder)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env=environment,
            **options,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def can_read(path: Path, options: dict[str, Any]) -> bool:
    """Whether a process with these options can read a file."""
    return subprocess.run(["test", "-r", path], cwd="/", check=False, **options).returncode == 0


def python_for(options: dict[str, Any]) -> str:
    """Find a Python that a process with these options can run: ours may lie in a private home."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            subprocess.run([python, "-c", ""], check=True, cwd="/", **options)
        except (OSError, subprocess.SubprocessError):
            continue
        return python
    pytest.skip("no Python of this version is within the other user's reach")


@pytest.fixture
def heard() -> Callable[[subprocess.Popen[str]], dict[str, str]]:
    """Read the first line of a user process: its `url` or its `error`."""

    def read(process: subprocess.Popen[str]) -> dict[str, str]:
        assert process.stdout is not None
        said: dict[str, str] = json.loads(process.stdout.readline())
        return said

    return read


@pytest.fixture
def only_root() -> None:
    """Skip what only root can try: to be another user."""
    if os.geteuid() != 0:
        pytest.skip("only root can run a process as another user")
