"""Batch tasks: jobs of one task are gathered for one call, as many as it takes or as come in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pqclock.store.jobs import ClaimedJob
from pqclock.tasks.task import Task
from pqclock.worker.pool import Seat, WorkingPool

# Claims and holds jobs of one task for a pool: (pool, task, how many).
Claim = Callable[[WorkingPool, str, int], list[ClaimedJob]]
Begin = Callable[[Task[..., Any], list[ClaimedJob], Seat], None]


@dataclass(slots=True)
class _Filling:
    """A call that still waits for jobs; its executor is taken already. `until` is by the monotonic clock."""

    task: Task[..., Any]
    seat: Seat
    until: float
    jobs: list[ClaimedJob] = field(default_factory=list)


class Batches:
    """The batch tasks of a worker, and the calls that are being filled, one for each pool and task."""

    def __init__(self, tasks: Mapping[str, Task[..., Any]]) -> None:
        self._tasks = [task for task in tasks.values() if task.options.batch is not None]
        self._filling: dict[tuple[int, str], _Filling] = {}

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def fill(self, pool: WorkingPool, claim: Claim, begin: Begin) -> None:
        """Claim for the calls of this pool, and begin those that are full, or have waited long enough."""
        for task in self._tasks:
            while self._fill_one(pool, task, claim, begin):
                pass
        if pool.free <= 0:
            # There may be more for the next executor that is free.
            pool.hungry = pool.at_gates = True

    def due(self) -> bool:
        """True when a call has waited long enough."""
        now = time.monotonic()
        return any(filling.until <= now for filling in self._filling.values())

    def _fill_one(self, pool: WorkingPool, task: Task[..., Any], claim: Claim, begin: Begin) -> bool:
        """True when a full call has begun: there may be more."""
        place, size = (id(pool), task.name), task.options.batch or 1
        filling = self._filling.get(place)
        if filling is None and pool.free <= 0:
            return False
        jobs = claim(pool, task.name, size - len(filling.jobs) if filling else size)
        if filling is None:
            if not jobs:
                return False
            filling = self._filling[place] = _Filling(task, pool.occupy(), time.monotonic() + task.options.batch_wait)
        filling.jobs += jobs
        full = len(filling.jobs) >= size
        if full or time.monotonic() >= filling.until:
            del self._filling[place]
            begin(task, filling.jobs, filling.seat)
        return full

    def looks_again(self) -> list[float]:
        """When calls that are being filled begin at the latest."""
        return [filling.until for filling in self._filling.values()]

    def close(self) -> None:
        """Begin nothing any more: whoever holds the jobs gives them back."""
        waiting = list(self._filling.values())
        self._filling.clear()
        for filling in waiting:
            if filling.seat.leave():
                filling.seat.pool.next()
