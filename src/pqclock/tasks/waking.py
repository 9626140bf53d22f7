"""Tells workers of jobs that came in: of a queue's first ones at once, and when there are many, then once in 50 ms.

A notification costs its transaction a lock that all others of the server wait for, and has every worker look. So of many
enqueues, one by one, only the first few tell of their jobs themselves; what else comes in within 50 ms is told of at the
end of these, which begins the next window. A process that is killed before has its last jobs found by the next poll.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pqclock.store import listening
from pqclock.store.database import Session

log = logging.getLogger("pqclock.tasks")

WINDOW = 0.05
# So few in a window cost nothing, and need not wait for its end: what comes at a walk is heard at once.
AT_ONCE = 8
# Its thread ends when there was nothing to tell for so long, and with it its connection.
IDLE = 1.0

# A task, and the queue that the call names, if it does.
Kind = tuple[str, str | None]


@dataclass(slots=True)
class _Window:
    """Since when, and how many notifications are still free in it."""

    ends: float
    free: int


class Waking:
    """What was told of when, and what is still to be, on a connection of its own. For all threads and event loops."""

    def __init__(self, connect: Callable[[], Session]) -> None:
        self._connect = connect
        self._changed = threading.Condition()
        # The notification that a job of each kind brought last; where it goes is for the database to say.
        self._wakes: dict[Kind, str | None] = {}
        self._windows: dict[str, _Window] = {}
        self._owed: set[str] = set()
        self._thread: threading.Thread | None = None

    def is_quiet(self, kind: Kind) -> bool:
        """Whether a job of this kind may come in without a notification: `came` has it told of later then."""
        with self._changed:
            wake = self._wakes.get(kind)
            if wake is None:
                return False
            # What is owed is told of any moment now.
            window = self._windows[wake]
            return wake in self._owed or (window.free == 0 and time.monotonic() < window.ends)

    def came(self, kind: Kind, wake: str | None, *, quiet: bool) -> None:
        """A job came in and is committed; `wake` is the notification that it sent, or was to send had it not been quiet."""
        with self._changed:
            self._wakes[kind] = wake
            if wake is None:
                return
            if not quiet:
                self._count(wake, time.monotonic())
                return
            self._owed.add(wake)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pqclock-waking", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _count(self, wake: str, now: float) -> None:
        window = self._windows.get(wake)
        if window is None or now >= window.ends:
            self._windows[wake] = _Window(now + WINDOW, AT_ONCE - 1)
        else:
            window.free = max(0, window.free - 1)

    def flush(self) -> None:
        """Tell at once of what is still to be told of."""
        with self._changed:
            wakes, self._owed = self._owed, set()
            self._changed.notify()
        if wakes:
            self._close(self._tell(wakes, None))

    def _run(self) -> None:
        session: Session | None = None
        while (wakes := self._next()) is not None:
            session = self._tell(wakes, session)
        self._close(session)

    def _next(self) -> set[str] | None:
        """Wait for the end of a window in which something came in; None when nothing has come in for long."""
        with self._changed:
            while True:
                now = time.monotonic()
                due = {wake for wake in self._owed if self._windows[wake].ends <= now}
                if due:
                    self._owed -= due
                    self._windows.update((wake, _Window(now + WINDOW, 0)) for wake in due)
                    return due
                ends = [self._windows[wake].ends - now for wake in self._owed]
                if not self._changed.wait(min(ends, default=IDLE)) and not ends and not self._owed:
                    self._thread = None
                    return None

    def _tell(self, wakes: Collection[str], session: Session | None) -> Session | None:
        """Notify; gives the session if that is still good. Where it does not work, the next poll finds the jobs."""
        try:
            session = session or self._connect()
            listening.say(session, *wakes)
        except Exception as error:
            log.debug("workers could not be told of new jobs: %s", error)
            self._close(session)
            return None
        return session

    @staticmethod
    def _close(session: Session | None) -> None:
        if session is not None:
            session.close()
