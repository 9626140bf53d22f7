"""What the planner leaves alone, so that one schedule does not hold up the others."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from pqclock.store.database import sentence

log = logging.getLogger("pqclock.clock")

# How long to leave alone what somebody else holds locked: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = timedelta(milliseconds=100), timedelta(seconds=3)

# A schedule at one version, or a span of missed ticks with nothing beside its id.
Identity = tuple[int, int]


class Aside:
    """Some wait until somebody lets go of what they need; some are broken, and `trouble` says what that means."""

    def __init__(self, trouble: str) -> None:
        self._trouble = trouble
        self._broken: set[Identity] = set()
        # Of those that were given up: what is wrong, until it is written where people look.
        self.untold: dict[Identity, str] = {}
        self._until: dict[Identity, datetime] = {}
        self._times: dict[Identity, int] = {}

    def left_alone(self, now: datetime) -> set[Identity]:
        """What is not to be planned now."""
        self._until = {identity: until for identity, until in self._until.items() if until > now}
        return self._broken | self._until.keys()

    @property
    def ends_at(self) -> datetime | None:
        """When the first of those that wait is to be tried again."""
        return min(self._until.values(), default=None)

    def is_suspect(self, identity: Identity) -> bool:
        """Whether it kept others waiting before: it is tried by itself."""
        return identity in self._times

    def hold(self, identity: Identity, now: datetime) -> None:
        """Leave it alone for a moment: somebody holds its row."""
        self._until[identity] = now + FIRST_PAUSE

    def block(self, identity: Identity, key: str, now: datetime) -> None:
        """Leave it alone, for longer each time: somebody holds what its write has to wait for."""
        times = self._times.get(identity, 0)
        self._until[identity] = now + min(FIRST_PAUSE * 2**times, LONGEST_PAUSE)
        self._times[identity] = min(times + 1, 10)
        if times == 2:
            log.warning(
                "schedule %s has to wait: a transaction holds one of its ticks locked; `pqclock doctor` names old ones",
                key,
            )

    def give_up(self, identity: Identity, key: str, error: Exception) -> None:
        """Leave it alone for good, and tell of it once."""
        words = sentence(error) or type(error).__name__
        self._broken.add(identity)
        self.untold[identity] = words
        log.error("schedule %s %s: %s: %s", key, self._trouble, type(error).__name__, words)

    def release(self, identity: Identity) -> None:
        """It was written."""
        self._times.pop(identity, None)
