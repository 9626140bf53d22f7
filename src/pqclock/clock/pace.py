"""How much the leader writes at a time: so much as keeps it from what falls due for a moment only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pqclock.store.database import STATEMENT_TOO_LONG

# Between two slices the leader beats and promotes: a slice shall take so many seconds, to plan and to write.
PLANNING = 0.02
WRITING = 0.02
# Rows of one slice: at first, at least, at most.
FIRST, LEAST, MOST = 200, 20, 4_000
# Schedules that are read for a slice, at least and at most.
FEWEST_SCHEDULES, MOST_SCHEDULES = 10, 1_000


class Budget:
    """What is left of a slice: rows, and time to plan them in."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._left = rows
        self._deadline = time.monotonic() + PLANNING

    def spent(self, rows: int) -> bool:
        """Take rows off; True when nothing is left."""
        self._left -= rows
        return self._left <= 0 or time.monotonic() > self._deadline


class Pace:
    """The size of a slice, by how long the ones before took to write."""

    def __init__(self) -> None:
        self.rows = float(FIRST)
        self._rows_of_one = 1.0
        self._together = MOST_SCHEDULES

    @property
    def schedules(self) -> int:
        """How many schedules are likely to fill a slice, and may be written together."""
        return int(min(max(self.rows / self._rows_of_one, FEWEST_SCHEDULES), self._together))

    def halve(self, schedules: int) -> None:
        """So many could not be written together: look for the one that stands in the way."""
        self._together = max(schedules // 2, 1)

    def grow(self) -> None:
        """A slice was written."""
        self._together = min(self._together * 2, MOST_SCHEDULES)

    def budget(self) -> Budget:
        """The budget of the next slice."""
        return Budget(int(self.rows))

    @contextmanager
    def measured(self, rows: int, schedules: int) -> Iterator[None]:
        """Time the writing of a slice, and size the next ones by it; one that is given up halves them."""
        begun = time.monotonic()
        try:
            yield
        except STATEMENT_TOO_LONG:
            self.rows = max(self.rows / 2, 1)
            raise
        self._rows_of_one += (max(rows / schedules, 1.0) - self._rows_of_one) / 4
        # Of a few rows most of the time is the way there and back.
        if rows >= min(self.rows / 2, FIRST):
            fitting = rows * WRITING / max(time.monotonic() - begun, 0.001)
            self.rows = min(max((self.rows + fitting) / 2, LEAST), self.rows * 2, MOST)
