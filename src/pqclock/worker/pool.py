"""A pool at work: how many of its executors are free, and whether it is worth asking for jobs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from heapq import heappop, heappush

from pqclock.rules.pools import Pool
from pqclock.worker.executors import Threads

OPENINGS_LIMIT = 1_000


class WorkingPool:
    """One pool's executors. `hungry` means that a claim may find something: the last one found all it asked for, a
    notification named one of the queues, or it is time to look. `at_gates` says the same of jobs behind gates, and
    `openings` is a heap of when closed ones open that were met, by the monotonic clock."""

    def __init__(self, spec: Pool) -> None:
        self.spec = spec
        self.threads = Threads(spec.size, str(spec))
        self.hungry = True
        self.at_gates = True
        self.openings: list[float] = []
        self.odd = False
        # A claim that found all it asked for will be followed by others: until then it is worth it when half is free.
        self.gathers_until = 0.0
        self._lock = threading.Lock()
        self._free = spec.size

    @property
    def free(self) -> int:
        """How many executors have nothing to do."""
        return self._free

    @property
    def idle(self) -> bool:
        """True when all executors have nothing to do."""
        return self._free == self.spec.size

    def works(self, queue: str) -> bool:
        """True when jobs of this queue are for this pool."""
        if self.spec.queues is not None:
            return queue in self.spec.queues
        return queue not in self.spec.excluded

    def look_at_gates(self, now: float) -> bool:
        """True when a claim of gated jobs is worth it, at the monotonic time `now`."""
        while self.openings and self.openings[0] <= now:
            heappop(self.openings)
            self.at_gates = True
        return self.at_gates and self.has_room(now)

    def look_for_free(self, now: float) -> bool:
        """True when a claim of free jobs is worth it."""
        return self.hungry and self.has_room(now)

    def has_room(self, now: float) -> bool:
        """True when enough executors are free for a claim: one, or half of them while more are expected to be soon."""
        free = self.free
        return free > 0 and (2 * free >= self.spec.size or now >= self.gathers_until)

    def look_again(self, now: float) -> float | None:
        """When a claim may be worth it, if not now."""
        if self.free == 0:
            return None
        if (self.at_gates or self.hungry) and now < self.gathers_until:
            return self.gathers_until
        return self.openings[0] if self.openings else None

    def expect(self, now: float, waits: Sequence[float]) -> None:
        """Look at gates again after these seconds; the clock tells of those that are too many to remember."""
        for wait in waits:
            if len(self.openings) < OPENINGS_LIMIT:
                heappush(self.openings, now + wait)

    def occupy(self) -> Seat:
        """An executor takes a job."""
        with self._lock:
            self._free -= 1
        return Seat(self)

    def release(self) -> None:
        """An executor is free again."""
        with self._lock:
            self._free += 1


class Seat:
    """The place of one job at one of the pool's executors: freed once, however often it is tried."""

    def __init__(self, pool: WorkingPool) -> None:
        self.pool = pool
        self._lock = threading.Lock()
        self._taken = True

    def leave(self) -> None:
        """Free the executor."""
        with self._lock:
            taken, self._taken = self._taken, False
        if taken:
            self.pool.release()
