"""How many jobs are claimed ahead of free executors: no more than these will have begun in a moment."""

from __future__ import annotations

# What the executors have done lately they will do again: so many seconds of it.
AHEAD = 0.05
# With more, a claim would take longer than it saves.
LIMIT = 2_500
# A rate over a shorter time says nothing.
MEASURE_OVER = 0.002
# Jobs that wait so long for executors, although none has ended meanwhile, go to others.
PATIENCE = 0.1


class Pace:
    """Reckons by how many jobs have ended between two claims. `ended` is counted by whoever ends them."""

    def __init__(self) -> None:
        self.ended = 0
        self._marked_at = 0.0
        self._marked = 0
        # How many jobs may wait for an executor.
        self.ahead = 0
        self._seen = 0
        self._moved_at = 0.0

    def mark(self, now: float, *, full: bool) -> None:
        """A claim was made, and found all that it had asked for, or not: then there is nothing to claim ahead."""
        past = now - self._marked_at
        if not full:
            self.ahead = 0
        elif past >= MEASURE_OVER:
            self.ahead = min(LIMIT, int((self.ended - self._marked) / past * AHEAD))
        if past >= MEASURE_OVER:
            self._marked_at, self._marked = now, self.ended

    def stuck(self, now: float, waiting: int) -> bool:
        """True when jobs wait, and none has ended for too long."""
        if self.ended != self._seen or not waiting:
            self._seen, self._moved_at = self.ended, now
            return False
        return now - self._moved_at >= PATIENCE

    def stumble(self) -> None:
        """Claim nothing ahead until jobs end again."""
        self.ahead = 0
