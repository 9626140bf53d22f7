"""The claim of jobs behind gates: decided and written by one call on the server, under the locks of the gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pqclock.rules.pools import Pool
from pqclock.store.database import Session
from pqclock.store.jobs import ClaimedJob


@dataclass(frozen=True, slots=True)
class GatedClaim:
    """The jobs, whether another look at once may find more, and when the gates open that were met closed.

    `cut` says that more could run, and was left to wait for the sake of free jobs; `turned` that `odd` has decided
    something. `wakes` are instants, `wakes_in` the same in seconds from now.
    """

    jobs: list[ClaimedJob]
    again: bool
    cut: bool
    turned: bool
    wakes: list[datetime]
    wakes_in: list[float]


def claim_gated(
    session: Session,
    pool: Pool,
    tasks: Sequence[str],
    room: int,
    *,
    worker_id: int,
    lease: int,
    fused_room: int | None = None,
    odd: bool | None = True,
    now: datetime | None = None,
) -> GatedClaim:
    """Take up to `room` ready jobs whose gates let them through, of the pool's queues and these tasks.

    Where free jobs of the same priority wait too, half of the room is left to them; `odd` says who gets the odd place,
    and None that free jobs are of no account. Of jobs that pass fuses no more than `fused_room` are taken.
    """
    rows = session.run(
        "gating.claim",
        queues=None if pool.queues is None else list(pool.queues),
        excluded=list(pool.excluded),
        tasks=list(tasks),
        room=room,
        fused_room=room if fused_room is None else fused_room,
        worker_id=worker_id,
        lease=lease,
        odd=None if odd is None else int(odd),
        now=now,
    ).fetchall()
    *claimed, (*_, again, cut, turned, wakes, wakes_in) = rows
    width = len(ClaimedJob._fields)
    jobs = sorted((ClaimedJob._make(row[:width]) for row in claimed), key=lambda job: (job.priority, job.ready_seq))
    return GatedClaim(jobs, again, cut, turned, wakes or [], wakes_in or [])
