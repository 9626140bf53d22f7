"""What a process has used, as Linux tells it, and a clock as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def clock(url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A `pqclock clock` without schedule files, ended with its block."""
    with program(folder, "pqclock", "clock", PQCLOCK_DATABASE_URL=url) as process:
        yield process


@contextmanager
def worker(
    url: str, folder: Path, queues: str, *arguments: str, app: str = "benchmarks.noop_app:app", **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A `pqclock worker`, ended with its block."""
    given = {"PQCLOCK_DATABASE_URL": url, **environment}
    with program(folder, "pqclock", "worker", "--app", app, "--queues", queues, *arguments, **given) as process:
        yield process


@contextmanager
def program(folder: Path, module: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A module as a process of its own, ended with its block; what it says is in a file in the folder."""
    with (folder / f"{module}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(one for child in text.split() for one in family(int(child)))]


def family_seconds(pid: int) -> float:
    """User and system time of a process and of its children, also of those that have ended."""
    return sum(map(cpu_seconds, family(pid)[1:])) + sum(_times(pid))


def _times(pid: int) -> list[float]:
    """User and system time, of itself and of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return [0.0] * 4
    return [int(ticks) / _TICKS for ticks in fields[11:15]]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far; 0 for one that has ended."""
    return sum(_times(pid)[:2])


def resident_mb(pid: int, most: bool = False) -> float:
    """Memory of a process in 10^6 bytes, now or at the most."""
    name = "VmHWM:" if most else "VmRSS:"
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024 / 1e6
