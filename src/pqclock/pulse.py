"""Whether a loop turns and reaches its database, told to whoever asks: also from the page a child shares with its parent.

The monotonic clock is the machine's, so what one process writes by it another can read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from pqclock.marks import PULSE_WORDS, Marks

# Beyond what a step was said to take: a busy machine, a long pause of the interpreter.
LIMIT = 30.0
# A loop that has reached the database is ready for so long, unless it reaches it again.
READY_FOR = 15.0
# A process that has not said anything yet may be importing the app, or waiting for its first connection.
BEGINS_WITHIN = 120.0

STATES = (
    "starting", "standing by", "leading", "working", "waiting for the database", "waiting for running jobs", "stopping",
)  # fmt: skip
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What a pulse said at one moment."""

    # Seconds by which the next turn is overdue; 0 while it is not.
    overdue: float
    ready: bool
    state: str

    @property
    def alive(self) -> bool:
        """True while the loop turns."""
        return self.overdue == 0.0


class Pulse:
    """Written by one loop, read by anybody: three numbers, each written as a whole."""

    def __init__(self, words: memoryview | None = None) -> None:
        self._words = memoryview(bytearray(8 * PULSE_WORDS)).cast("q") if words is None else words

    @classmethod
    def of(cls, marks: Marks | None) -> Pulse:
        """The pulse that the supervisor of this process can read, or one for this process alone."""
        return cls() if marks is None else cls(marks.pulse)

    def turn(self, seconds: float = 0.0) -> None:
        """The loop turns, and will do so again within these seconds, if all goes well."""
        self._words[0] = int((time.monotonic() + seconds + LIMIT) * _NANO)

    def reach(self) -> None:
        """The database has answered, and its schema fits."""
        self._words[1] = int((time.monotonic() + READY_FOR) * _NANO)

    def say(self, state: str) -> None:
        """What the process is doing, one of STATES."""
        self._words[2] = STATES.index(state)

    def read(self, began: float) -> Reading:
        """What it says now of a process that began at the monotonic time `began`."""
        return read(self._words, began)


def read(words: memoryview, began: float) -> Reading:
    """What a pulse says now of a process that began at the monotonic time `began`."""
    now = time.monotonic()
    due = words[0] / _NANO if words[0] else began + BEGINS_WITHIN
    state = words[2]
    return Reading(
        max(0.0, now - due), words[1] / _NANO > now, STATES[state] if 0 <= state < len(STATES) else STATES[0]
    )
