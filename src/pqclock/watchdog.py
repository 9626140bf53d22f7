"""A thread that watches a loop turn, and acts when it does not.

A loop that hangs holds what it holds: a lock, or a place among those that stand by. It cannot notice that itself.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from pqclock.pulse import Pulse

log = logging.getLogger("pqclock")

LIMIT = 10.0
LOOK_EVERY = 1.0
# A look that comes this late shows that the whole process stood still: the loop gets its time anew.
FROZEN_AFTER = 3.0
TELL_WITHIN = 2.0
FAILED = 1

OnHang = Callable[[str], None]


def report_hang(message: str) -> None:
    """Only say so: what a clock does inside another program, which is not ours to end."""
    log.critical("%s", message)


def end_process(message: str) -> None:
    """Say so, show where every thread stands, and end this process with code 1, whatever it is doing."""

    def tell() -> None:
        log.critical("%s: this process ends itself", message)
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()
            faulthandler.dump_traceback(all_threads=True)

    # Apart, since the loop may hang in just this: in the lock of the log, or on a stderr that nobody reads.
    teller = threading.Thread(target=tell, name="pqclock-last-word", daemon=True)
    teller.start()
    teller.join(TELL_WITHIN)
    os._exit(FAILED)


class Watchdog:
    """Watches one loop: it calls `enter` at each step, and `leave` when it does not want to be watched."""

    def __init__(self, loop: str, on_hang: OnHang, limit: float = LIMIT, pulse: Pulse | None = None) -> None:
        self._loop = loop
        self._pulse = pulse or Pulse()
        self._on_hang = on_hang
        self._limit = limit
        # Replaced as a whole, so that the watching thread never sees half of it: (phase, since, seconds allowed).
        self._step: tuple[str, float, float] | None = None
        self._told: object = None
        self._thawed_at = self._looked_at = time.monotonic()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to watch."""
        self._looked_at = time.monotonic()
        threading.Thread(target=self._run, name="pqclock-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()

    def enter(self, phase: str, seconds: float = 0.0) -> None:
        """The loop turns, and is now about to do `phase`, which may take so many seconds beyond the limit."""
        self._step = (phase, time.monotonic(), self._limit + seconds)
        self._pulse.turn(seconds)

    def leave(self) -> None:
        """The loop is done, or does what may take as long as it likes."""
        self._step = None

    def look(self, now: float) -> None:
        """Look at the loop at a monotonic time."""
        if now - self._looked_at > FROZEN_AFTER:
            self._thawed_at = now
        self._looked_at = now
        step = self._step
        if step is None or step is self._told:
            return
        phase, since, allowed = step
        if now - max(since, self._thawed_at) > allowed:
            self._told = step
            self._on_hang(f"the loop of the {self._loop} hangs: it has not turned for {now - since:.0f} s, in: {phase}")

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_EVERY):
            self.look(time.monotonic())
