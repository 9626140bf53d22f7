"""A pool at work: how many of its executors are free, what waits for them, and whether it is worth asking for jobs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush

from pqclock.rules.pools import Pool
from pqclock.store.jobs import ClaimedJob
from pqclock.worker.executors import Threads
from pqclock.worker.pace import PATIENCE, Pace

OPENINGS_LIMIT = 1_000


class WorkingPool:
    """One pool's executors. `hungry` means that a claim may find something: the last one found all it asked for, a
    notification named one of the queues, or it is time to look. `at_gates` says the same of jobs behind gates, and
    `openings` is a heap of when closed ones open that were met, by the monotonic clock.

    With `ahead` jobs are claimed before executors are free for them, as many as these will begin in a moment."""

    def __init__(self, spec: Pool, *, ahead: bool = False) -> None:
        self.spec = spec
        self.threads = Threads(spec.size, str(spec))
        self.hungry = True
        self.at_gates = True
        self.openings: list[float] = []
        self.odd = False
        # No ready job can have its place there or below; `beneath` has the next claim look there all the same.
        self.low_water = 0
        self.beneath = False
        # A claim that found all it asked for will be followed by others: until then it is worth it when half is free.
        self.gathers_until = 0.0
        self.pace = Pace() if ahead else None
        self._lock = threading.Lock()
        self._free = spec.size
        self._waiting: deque[ClaimedJob] = deque()
        # With so few jobs left to wait, it is time to claim more.
        self._low = -1

    @property
    def free(self) -> int:
        """How many executors have nothing to do."""
        return self._free

    @property
    def idle(self) -> bool:
        """True when all executors have nothing to do."""
        return self._free == self.spec.size

    @property
    def waiting(self) -> int:
        """How many jobs wait here for an executor."""
        return len(self._waiting)

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
        """True when there is enough room for a claim: for one, or half of all while more is expected to be soon."""
        ahead, room = self.ahead, self.room
        return room > 0 and (2 * room >= self.spec.size + ahead or now >= self.gathers_until)

    @property
    def ahead(self) -> int:
        """How many jobs may wait here."""
        return 0 if self.pace is None else self.pace.ahead

    @property
    def room(self) -> int:
        """How many jobs may be claimed."""
        return self._free + self.ahead - len(self._waiting)

    @property
    def fused_room(self) -> int:
        """How many of them may be such that pass fuses: what was claimed before one blows, runs."""
        return max(0, self.spec.size - sum(job.fused for job in list(self._waiting)))

    def measure(self, now: float, *, full: bool) -> None:
        """A claim was made; `full` when it found all that it had asked for, and there may be more."""
        if self.pace is not None:
            self.pace.mark(now, full=full)

    def is_stuck(self, now: float) -> bool:
        """True when jobs have waited for too long for an executor: nothing is claimed ahead then, until jobs end again."""
        if self.pace is None or not self.pace.stuck(now, len(self._waiting)):
            return False
        self.pace.stumble()
        return True

    def look_again(self, now: float) -> float | None:
        """When a claim may be worth it, if not now."""
        if now < self.gathers_until and (self.at_gates or self.hungry) and self.room > 0:
            return self.gathers_until
        if self._waiting:
            return now + PATIENCE
        return self.openings[0] if self.openings and self.room > 0 else None

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

    def seat(self, jobs: Sequence[ClaimedJob]) -> Sequence[ClaimedJob]:
        """Take claimed jobs in: gives those for which executors are free, and which have these; the others wait."""
        with self._lock:
            count = min(max(0, self._free), len(jobs))
            self._free -= count
            self._waiting.extend(jobs[count:])
            self._low = max(0, len(self._waiting) // 2 - self.spec.size)
        return jobs[:count]

    def next(self) -> ClaimedJob | None:
        """A job has ended: gives the next one, which has its executor now; None when the executor is free."""
        with self._lock:
            if self.pace is not None:
                self.pace.ended += 1
            if self._waiting:
                return self._waiting.popleft()
            self._free += 1
            return None

    @property
    def low(self) -> bool:
        """True at the moment when half of the jobs have found an executor that had to wait: more may be claimed."""
        return len(self._waiting) == self._low

    def empty(self) -> list[ClaimedJob]:
        """Let nothing wait any more; gives what did."""
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
        return waiting


class Seat:
    """The place of one job at one of the pool's executors: left once, however often it is tried."""

    def __init__(self, pool: WorkingPool) -> None:
        self.pool = pool
        self._lock = threading.Lock()
        self._taken = True

    def leave(self) -> bool:
        """True for the first who leaves it."""
        with self._lock:
            taken, self._taken = self._taken, False
        return taken
