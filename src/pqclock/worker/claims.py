"""What the worker claims: whether asking is worth it, for which pool, and when it will be."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence

from pqclock.loop import DatabaseClock
from pqclock.store import jobs
from pqclock.store.claiming import claim_gated
from pqclock.store.database import Session
from pqclock.store.jobs import ClaimedJob
from pqclock.worker.pool import WorkingPool

CLAIM_LIMIT = 200
# A claim of gated jobs costs about the same for one as for ten.
GATHER = 0.003


class Claims:
    """Claims for pools: free jobs and jobs behind gates each when there is hope for them, never more than is free."""

    def __init__(self, pools: Sequence[WorkingPool], tasks: Sequence[str], clock: DatabaseClock) -> None:
        self._pools = pools
        self._tasks = list(tasks)
        self._clock = clock

    def look_everywhere(self) -> None:
        """It is time to look, whatever was heard."""
        for pool in self._pools:
            pool.hungry = pool.at_gates = True

    def hear(self, kind: str, queue: str) -> None:
        """A notification: jobs of a queue became `ready`, or may get through their gates (`gated`)."""
        for pool in self._pools:
            if pool.works(queue):
                pool.hungry = pool.hungry or kind == "ready"
                pool.at_gates = pool.at_gates or kind == "gated"

    def hopeful(self) -> bool:
        """True when a claim now may find something."""
        now = time.monotonic()
        return any((pool.hungry and pool.free > 0) or pool.look_at_gates(now) for pool in self._pools)

    def looks_again(self) -> list[float]:
        """When there will be hope, as far as it is known, by the monotonic clock."""
        now = time.monotonic()
        return [instant for pool in self._pools if (instant := pool.look_again(now)) is not None]

    def claim(self, session: Session, worker_id: int, pool: WorkingPool) -> list[ClaimedJob]:
        """The jobs that this pool has room for. What passes gates goes before, and leaves half of the room where both wait."""
        limit = min(pool.free, CLAIM_LIMIT)
        gated = []
        if pool.look_at_gates(time.monotonic()):
            gated = self._gated(session, worker_id, pool, self._tasks, limit)
        room = limit - len(gated)
        if not pool.hungry or room <= 0:
            return gated
        free = self._free(session, worker_id, pool, self._tasks, room)
        pool.hungry = len(free) == room
        return gated + free

    def claim_many(
        self, session: Session, worker_id: int, pool: WorkingPool, task: str, limit: int
    ) -> list[ClaimedJob]:
        """Up to `limit` jobs of one task for one call, however many executors are free."""
        free = self._free(session, worker_id, pool, [task], limit)
        if len(free) == limit:
            return free
        at_gates = pool.at_gates
        gated = self._gated(session, worker_id, pool, [task], limit - len(free))
        pool.at_gates = pool.at_gates or at_gates
        return free + gated

    def _gated(
        self, session: Session, worker_id: int, pool: WorkingPool, tasks: Sequence[str], room: int
    ) -> list[ClaimedJob]:
        pool.odd = not pool.odd
        found = claim_gated(
            session, pool.spec, tasks, room, worker_id=worker_id, lease=secrets.randbits(62), odd=pool.odd
        )
        pool.gathers_until = time.monotonic() + GATHER if len(found.jobs) == room else 0.0
        pool.at_gates = found.again
        pool.expect(time.monotonic(), found.wakes_in)
        return found.jobs

    def _free(
        self, session: Session, worker_id: int, pool: WorkingPool, tasks: Sequence[str], room: int
    ) -> list[ClaimedJob]:
        sent = time.monotonic()
        claimed = jobs.claim(
            session, pool.spec, tasks, room, worker_id=worker_id, lease=secrets.randbits(62)
        )  # fmt: skip
        if claimed:
            # The statement reads the time at its begin, and a claim may take long.
            self._clock.read(claimed[0].claimed_at, sent, sent)
        return claimed
