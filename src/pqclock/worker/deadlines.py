"""What is to happen at a time, unless it is called off: one thread for all runs of a worker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count

# Runs that ended long before their deadlines leave these behind: beyond so many they are thrown out.
KEPT = 100

log = logging.getLogger("pqclock.worker")


class Deadline:
    """Something that happens later, once."""

    def __init__(self, action: Callable[[], None], on_call_off: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action
        self._on_call_off = on_call_off

    @property
    def off(self) -> bool:
        """True when it was called off, or has happened."""
        return self._action is None

    def call_off(self) -> None:
        """It does not happen, if it has not begun."""
        if self._action is not None:
            self._action = None
            self._on_call_off()

    def happen(self) -> None:
        """Do it now; nothing that it raises gets out."""
        action, self._action = self._action, None
        if action is None:
            return
        try:
            action()
        except BaseException:
            log.exception("what was to happen at a deadline failed")


class Deadlines:
    """A heap of deadlines by the monotonic clock, and a thread that is started for the first one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Deadline]] = []
        self._numbers = count()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._off = 0

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, instant: float, action: Callable[[], None]) -> Deadline:
        """Have `action` called at this monotonic time, on the thread of the deadlines: it must not take long."""
        deadline = Deadline(action, self._count_off)
        with self._changed:
            if self._off > KEPT and 2 * self._off > len(self._heap):
                self._heap = [entry for entry in self._heap if not entry[2].off]
                heapify(self._heap)
                self._off = 0
            heappush(self._heap, (instant, next(self._numbers), deadline))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pqclock-deadlines", daemon=True)
                self._thread.start()
            if self._heap[0][2] is deadline:
                self._changed.notify()
        return deadline

    def stop(self) -> None:
        """Let nothing happen any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _count_off(self) -> None:
        with self._changed:
            self._off += 1

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                wait = self._heap[0][0] - time.monotonic() if self._heap else None
                if wait is None or wait > 0:
                    self._changed.wait(wait)
                    continue
                deadline = heappop(self._heap)[2]
                self._off -= deadline.off
            deadline.happen()
