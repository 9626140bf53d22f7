"""What a worker does in the leader's place."""

from __future__ import annotations

import logging
import time

from pqclock.alarming import Alarming
from pqclock.alarms import LATE, DeadMansSwitch
from pqclock.store import jobs, leadership
from pqclock.store.database import Session
from pqclock.store.standing_in import stand_in

log = logging.getLogger("pqclock.worker")

STAND_IN_SLICE = 1_000


class Deputy:
    """Does what cannot wait while no clock leads, and raises the alarm when none does."""

    def __init__(self, alarming: Alarming) -> None:
        self._listened_since = 0.0
        self._alarming = alarming
        self._switch = DeadMansSwitch(alarming.tell)
        self._stands_in = False

    def begin(self) -> None:
        """A new connection: whoever was silent before may have spoken."""
        self._listened_since = time.monotonic()
        self._switch.restart()

    def look(self, session: Session) -> None:
        """Stand in if it is needed. Silence is death only to one that has listened for a lease."""
        listened = time.monotonic() - self._listened_since
        done = stand_in(session, STAND_IN_SLICE, silent_too=listened > jobs.LEASE_LENGTH.total_seconds())
        # The dead man's switch must outlive the clock: whoever is there looks whether one leads.
        pulse = leadership.pulse(session, LATE)
        self._switch.look(pulse, time.monotonic())
        listened_long = listened >= jobs.LEADER_SILENCE.total_seconds()
        if done is not None and listened_long:
            # Not at once: after a stop of everything, or an outage, a leader comes in a moment, and what waited begins.
            self._alarming.stand_in()
        if done is None or pulse.clock_expected or not listened_long:
            self._stands_in = False
        elif not self._stands_in:
            self._stands_in = True
            log.warning("no clock leads, and none ever has: workers do what it does, but for ticks and partitions")

    def stop(self) -> None:
        """Tell nobody any more."""
        self._alarming.stop()
