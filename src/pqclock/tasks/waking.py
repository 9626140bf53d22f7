"""Tells workers of jobs that came in: of a queue's first one at once, and then once in 50 ms.

A notification costs its transaction a lock that all others of the server wait for, and has every worker look. So of many
enqueues, one by one, only the first tells of its job itself; what comes in within the window after it is told of at the
window's end, which begins the next one. A process that is killed before has its last jobs found by the next poll.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from pqclock.store import listening
from pqclock.store.database import Session

log = logging.getLogger("pqclock.tasks")

WINDOW = 0.05
# Its thread ends when there was nothing to tell for so long, and with it its connection.
IDLE = 1.0

# A task, and the queue that the call names, if it does.
Kind = tuple[str, str | None]


class Waking:
    """What was told of when, and what is still to be, on a connection of its own. For all threads and event loops."""

    def __init__(self, connect: Callable[[], Session]) -> None:
        self._connect = connect
        self._changed = threading.Condition()
        # The notification that a job of each kind brought last; where it goes is for the database to say.
        self._wakes: dict[Kind, str | None] = {}
        # When each was sent last.
        self._told: dict[str, float] = {}
        self._owed: set[str] = set()
        self._thread: threading.Thread | None = None

    def is_quiet(self, kind: Kind) -> bool:
        """Whether a job of this kind may come in without a notification: `came` has it told of later then."""
        with self._changed:
            wake = self._wakes.get(kind)
            return wake is not None and time.monotonic() < self._told[wake] + WINDOW

    def came(self, kind: Kind, wake: str | None, *, quiet: bool) -> None:
        """A job came in and is committed; `wake` is the notification that it sent, or was to send had it not been quiet."""
        with self._changed:
            self._wakes[kind] = wake
            if wake is None:
                return
            if not quiet:
                self._told[wake] = time.monotonic()
                return
            self._owed.add(wake)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pqclock-waking", daemon=True)
                self._thread.start()
            self._changed.notify()

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
                due = {wake for wake in self._owed if self._told[wake] + WINDOW <= now}
                if due:
                    self._owed -= due
                    self._told.update(dict.fromkeys(due, now))
                    return due
                ends = [self._told[wake] + WINDOW - now for wake in self._owed]
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
