"""What the worker claims: whether asking is worth it, for which pool, and when it will be."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence

from pqclock.loop import DatabaseClock
from pqclock.store import jobs
from pqclock.store.claiming import claim_gated
from pqclock.store.database import CONNECTION_LOST, DatabaseError, Session
from pqclock.store.jobs import ClaimedJob
from pqclock.worker.pool import WorkingPool
from pqclock.worker.recycling import Limits

log = logging.getLogger("pqclock.worker")

CLAIM_LIMIT = 1_000
# Their gates are locked for as long as a claim takes.
GATED_LIMIT = 250
# A claim costs about the same for one as for ten.
GATHER = 0.003


class Claims:
    """Claims for pools: free jobs and jobs behind gates each when there is hope for them, never more than is free.

    Nor more in all than `limits` let this process run: it is `spent` then.
    """

    def __init__(
        self, pools: Sequence[WorkingPool], tasks: Sequence[str], clock: DatabaseClock, limits: Limits
    ) -> None:
        self._pools = pools
        self._limits = limits
        self.taken = 0
        self._tasks = list(tasks)
        self._clock = clock

    @property
    def spent(self) -> bool:
        """True when this process is to run no more than what it has."""
        return self._limits.jobs is not None and self.taken >= self._limits.jobs

    def _left(self, limit: int) -> int:
        return limit if self._limits.jobs is None else min(limit, self._limits.jobs - self.taken)

    def look_everywhere(self) -> None:
        """It is time to look, whatever was heard."""
        for pool in self._pools:
            pool.hungry = pool.at_gates = pool.beneath = True

    def hear(self, kind: str, queue: str) -> None:
        """A notification: jobs of a queue became `ready`, `again` at their old places, or may get through gates (`gated`)."""
        for pool in self._pools:
            if pool.works(queue):
                pool.hungry = pool.hungry or kind in ("ready", "again")
                pool.beneath = pool.beneath or kind == "again"
                pool.at_gates = pool.at_gates or kind == "gated"

    def hopeful(self) -> bool:
        """True when a claim now may find something."""
        now = time.monotonic()
        return not self.spent and any(pool.look_for_free(now) or pool.look_at_gates(now) for pool in self._pools)

    def looks_again(self) -> list[float]:
        """When there will be hope, as far as it is known, by the monotonic clock."""
        now = time.monotonic()
        return [instant for pool in self._pools if (instant := pool.look_again(now)) is not None]

    def claim(self, session: Session, worker_id: int, pool: WorkingPool) -> list[ClaimedJob]:
        """The jobs that this pool has room for. What passes gates goes before, and leaves half of the room where both wait."""
        gated: list[ClaimedJob] = []
        free: list[ClaimedJob] = []
        cut = False
        full: bool | None = None
        now = time.monotonic()
        hungry = pool.look_for_free(now)
        room = self._left(min(pool.room, CLAIM_LIMIT))
        if pool.look_at_gates(now) and room > 0:
            limit = min(room, GATED_LIMIT)
            gated, cut = self._gated(session, worker_id, pool, self._tasks, limit)
            full = len(gated) == limit
        # What was cut was cut for the sake of free jobs.
        room -= len(gated)
        if (hungry or cut) and room > 0:
            free = self._free(session, worker_id, pool, self._tasks, room)
            pool.hungry = len(free) == room
            full = full or pool.hungry
            if pool.hungry:
                pool.gathers_until = time.monotonic() + GATHER
            room -= len(free)
        if full is not None:
            pool.measure(time.monotonic(), full=full)
        room = min(room, pool.free - len(gated) - len(free))
        if cut and room > 0:
            # They could not be taken, or not so many: others have them.
            more, _ = self._gated(session, worker_id, pool, self._tasks, room, alone=True)
            gated += more
        self.taken += len(gated) + len(free)
        return gated + free

    def claim_many(
        self, session: Session, worker_id: int, pool: WorkingPool, task: str, limit: int
    ) -> list[ClaimedJob]:
        """Up to `limit` jobs of one task for one call, however many executors are free."""
        limit = self._left(limit)
        free = self._free(session, worker_id, pool, [task], limit) if limit > 0 else []
        self.taken += len(free)
        if len(free) >= limit:
            return free
        at_gates = pool.at_gates
        gated, _ = self._gated(session, worker_id, pool, [task], limit - len(free), alone=True)
        pool.at_gates = pool.at_gates or at_gates
        self.taken += len(gated)
        return free + gated

    def _gated(
        self,
        session: Session,
        worker_id: int,
        pool: WorkingPool,
        tasks: Sequence[str],
        room: int,
        *,
        alone: bool = False,
    ) -> tuple[list[ClaimedJob], bool]:
        """Jobs behind gates, and whether more were cut for the sake of free ones; `alone` they leave no room to these."""
        odd = None if alone else pool.odd
        try:
            found = claim_gated(
                session, pool.spec, tasks, room, worker_id=worker_id, lease=secrets.randbits(62), odd=odd,
                fused_room=pool.fused_room,
            )  # fmt: skip
        except CONNECTION_LOST:
            raise
        except DatabaseError as error:
            # Free jobs have nothing to do with it. The next poll tries again.
            log.warning("jobs behind gates cannot be claimed now: %s", " ".join(str(error).split()))
            pool.at_gates = False
            return [], False
        pool.odd = pool.odd != found.turned
        if len(found.jobs) == room:
            pool.gathers_until = time.monotonic() + GATHER
        pool.at_gates = found.again or found.cut
        pool.expect(time.monotonic(), found.wakes_in)
        return found.jobs, found.cut

    def _free(
        self, session: Session, worker_id: int, pool: WorkingPool, tasks: Sequence[str], room: int
    ) -> list[ClaimedJob]:
        sent = time.monotonic()
        low = 0 if pool.beneath else pool.low_water
        claimed = jobs.claim(
            session, pool.spec, tasks, room, worker_id=worker_id, lease=secrets.randbits(62), low=low
        )  # fmt: skip
        # What is beneath may be more than was asked for.
        pool.beneath = pool.beneath and len(claimed) == room and any(j.ready_seq <= pool.low_water for j in claimed)
        if claimed:
            # The statement reads the time at its begin, and a claim may take long.
            self._clock.read(claimed[0].claimed_at, sent, sent)
        return claimed
