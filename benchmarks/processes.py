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
    with (folder / "clock.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pqclock", "clock"],
            cwd=folder,
            env={**os.environ, "PQCLOCK_DATABASE_URL": url},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mb(pid: int, most: bool = False) -> float:
    """Memory of a process in 10^6 bytes, now or at the most."""
    name = "VmHWM:" if most else "VmRSS:"
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024 / 1e6
