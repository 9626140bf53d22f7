"""Real processes of pqclock on a real database, with real signals; conditions are waited for, never slept for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

APP = "processes.apps:app"

# As a shell without job control starts what it puts into the background.
IN_THE_BACKGROUND = ("/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh")


def eventually(condition: Callable[[], T | None], within: float = 15.0) -> T:
    """What `condition` gives once it is true; the test fails when that takes too long."""
    deadline = time.monotonic() + within
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not so within {within} s: {condition.__name__}"
        time.sleep(0.01)


class Fleet:
    """Processes started by one test; all are gone at its end."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.processes: list[subprocess.Popen[bytes]] = []
        (folder / "schedules").mkdir()

    def schedules(self, text: str) -> None:
        """Write the schedule file that clocks apply."""
        (self.folder / "schedules" / "test.toml").write_text(text)

    def start(self, *arguments: str, before: Sequence[str] = (), **environment: str) -> subprocess.Popen[bytes]:
        """Start `pqclock ARGUMENTS` in the fleet's folder; its output goes to a file there."""
        log = (self.folder / f"{len(self.processes)}-{arguments[0] if arguments else 'all'}.log").open("wb")
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "pqclock", *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "PQCLOCK_DATABASE_URL": self.url,
                "PYTHONPATH": str(Path(__file__).parents[1]),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        self.processes.append(process)
        return process

    def clock(self) -> subprocess.Popen[bytes]:
        """Start a clock."""
        return self.start("clock", "--log-format", "json")

    def worker(self, queues: str = "*:4", *arguments: str) -> subprocess.Popen[bytes]:
        """Start a worker: its supervising parent and one child."""
        return self.start("worker", "--app", APP, "--queues", queues, *arguments)

    def log_of(self, process: subprocess.Popen[bytes]) -> str:
        """What a process of this fleet has said."""
        number = self.processes.index(process)
        return next(self.folder.glob(f"{number}-*.log")).read_text()

    def end(self) -> None:
        """Stop everything, by force where it must be."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def children_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The ids of a process's children."""
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def is_alive(pid: int) -> bool:
    """True while the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
