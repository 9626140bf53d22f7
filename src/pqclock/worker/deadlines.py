"""What is to happen at a time, unless it is called off: one thread for all runs of a worker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

log = logging.getLogger("pqclock.worker")


class Deadline:
    """Something that happens later, once."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action

    def call_off(self) -> None:
        """It does not happen, if it has not begun."""
        self._action = None

    def happen(self) -> None:
        """Do it now; nothing that it raises gets out."""
        action, self._action = self._action, None
        if action is None:
            return
        try:
            action()
        except Exception:
            log.exception("what was to happen at a deadline failed")


class Deadlines:
    """A heap of deadlines by the monotonic clock, and a thread that is started for the first one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Deadline]] = []
        self._numbers = count()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def at(self, instant: float, action: Callable[[], None]) -> Deadline:
        """Have `action` called at this monotonic time, on the thread of the deadlines: it must not take long."""
        deadline = Deadline(action)
        with self._changed:
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
            deadline.happen()
