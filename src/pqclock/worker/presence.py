"""This worker's row among the processes: its beats keep the leases of its jobs."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Any

from pqclock import __version__
from pqclock.loop import DatabaseClock
from pqclock.store import job_verbs, processes
from pqclock.store.database import CONNECTION_LOST, DatabaseError, Session, connect

log = logging.getLogger("pqclock.worker")

BEAT_EVERY = 5.0


class Presence:
    """Beats when it is time to, and registers when there is no row to beat on."""

    def __init__(
        self, url: str, schema: str, doing: str, clock: DatabaseClock, *, hears: bool = False, isolates: bool = False
    ) -> None:
        self._url = url
        self._schema = schema
        self._doing = doing
        self._clock = clock
        self._hears = hears
        self._isolates = isolates
        self.process_id: int | None = None
        self.next_beat = 0.0

    def beat_if_due(self, session: Session) -> bool:
        """Beat when it is time; True when it was."""
        if time.monotonic() < self.next_beat:
            return False
        if not self._beat(session):
            self._register(session)
            # The time must be known before the first job begins.
            self._beat(session)
        self.next_beat = time.monotonic() + BEAT_EVERY
        return True

    def _beat(self, session: Session) -> bool:
        sent = time.monotonic()
        now = None if self.process_id is None else processes.beat(session, self.process_id)
        if now is not None:
            # The statement reads the time at its begin.
            self._clock.read(now, sent, sent)
        return now is not None

    def _register(self, session: Session) -> None:
        if self.process_id is not None:
            log.warning("this worker was declared dead: jobs that it still runs were given to others")
        self.process_id = processes.register(
            session, "worker", pid=os.getpid(), host=socket.gethostname(), code_version=__version__, doing=self._doing,
            token=os.environ.get(processes.TOKEN_VARIABLE), hears=self._hears,
            isolates=self._isolates,
        )  # fmt: skip
        log.info("worker %s works %s", self.process_id, self._doing, extra={"worker_id": self.process_id})

    def beat_apart(self) -> list[int]:
        """Beat on a connection of its own; gives the running jobs that somebody has asked to end."""
        self.next_beat = time.monotonic() + BEAT_EVERY
        asked: list[int] = []

        def beat(session: Session, process_id: int) -> None:
            processes.beat(session, process_id)
            asked.extend(job_verbs.asked(session, process_id))

        self._briefly(beat)
        return asked

    def leave(self) -> None:
        """Take the row away: this worker ended in order."""
        self._briefly(processes.leave)

    def _briefly(self, verb: Callable[[Session, int], Any]) -> None:
        """Do something with the row on a connection of its own; it does not matter if that fails."""
        if self.process_id is None:
            return
        try:
            session = connect(self._url, self._schema, "worker")
            try:
                verb(session, self.process_id)
            finally:
                session.close()
        except (*CONNECTION_LOST, DatabaseError) as error:
            log.debug("the worker's process row could not be written: %s", error)
