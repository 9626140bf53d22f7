"""What handlers tell a benchmark without speaking to anybody: how many began, and when, in a file that both have mapped.

Of each process: how many jobs began, and when the first one did; of each job of a numbered range, when it began. Times
are nanoseconds of the machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import itertools
import mmap
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

VARIABLE = "PQCLOCK_BENCH_SLOTS"
_WORD = struct.Struct("q")
_PROCESSES = 64


class Slots:
    """The counters of up to 64 processes, and the begins of `numbered` jobs."""

    def __init__(self, path: Path, numbered: int = 0) -> None:
        size = (2 * _PROCESSES + numbered) * _WORD.size
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")
        self._own = 2 * (os.getpid() % _PROCESSES)
        self._count = itertools.count(1)
        self.numbered = len(self._words) - 2 * _PROCESSES

    def begin(self, number: int | None = None) -> None:
        """A handler of this process begins."""
        words, own = self._words, self._own
        if not words[own]:
            words[own + 1] = time.monotonic_ns()
        # A thread that is held up here may write less than the one before it did: only the next one mends that.
        words[own] = next(self._count)
        if number is not None and number < self.numbered:
            words[2 * _PROCESSES + number] = time.monotonic_ns()

    @property
    def begun(self) -> int:
        """How many jobs began, in all processes; at the end perhaps as many too few as there are threads."""
        return sum(self._words[0 : 2 * _PROCESSES : 2])

    @property
    def first(self) -> float | None:
        """When the first one began, in seconds; None before that."""
        firsts = [at for at in self._words[1 : 2 * _PROCESSES : 2] if at]
        return min(firsts) / 1e9 if firsts else None

    def begins(self) -> list[float | None]:
        """When each of the numbered jobs began, in seconds."""
        return [at / 1e9 if at else None for at in self._words[2 * _PROCESSES :]]


def own() -> Slots | None:
    """Those of the benchmark that started this process, if one did."""
    path = os.environ.get(VARIABLE)
    return Slots(Path(path)) if path else None


def beginning() -> Callable[[int | None], None]:
    """What a handler calls as it begins, whether a benchmark listens or not."""
    mapped = own()
    return (lambda _: None) if mapped is None else mapped.begin
