"""When a process has done enough: what leaks a little in every job is given back by a new process."""

from __future__ import annotations

import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Limits:
    """How many jobs a process runs, and how much memory (bytes) it may come to have; None for no limit."""

    jobs: int | None = None
    memory: int | None = None

    def reached(self, jobs: int, pid: int | None = None) -> str | None:
        """Why the process is to be replaced, in words; None as long as it is good enough."""
        if self.jobs is not None and jobs >= self.jobs:
            return f"it has run {jobs} jobs"
        if self.memory is not None and (used := resident(pid or os.getpid())) >= self.memory:
            return f"it has come to {used / 1_000_000:.0f} MB of memory"
        return None


def resident(pid: int) -> int:
    """The memory of a process in bytes; the most that this one ever had, where the system does not tell of others."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
