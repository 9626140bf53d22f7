"""The edges of the histograms, and how many queues are counted by name."""

from __future__ import annotations

from collections.abc import Iterable

# Queues beyond so many are counted under one name: each is a series, and somebody may have one for each customer.
MOST_QUEUES = 100
OTHERS = "(others)"
LATENESS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900, 3600)
DURATIONS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900, 3600)


class Queues:
    """The queues that are counted by name: the first ones that came."""

    def __init__(self, so_far: Iterable[str] = ()) -> None:
        self._named = set(so_far)

    def bounded(self, queue: str) -> str:
        """The name under which a queue is counted."""
        if queue not in self._named:
            if len(self._named) >= MOST_QUEUES:
                return OTHERS
            self._named.add(queue)
        return queue
