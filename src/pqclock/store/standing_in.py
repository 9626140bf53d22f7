"""What cannot wait while no clock leads, done by workers."""

from __future__ import annotations

from datetime import datetime

from pqclock.store import gating, jobs
from pqclock.store.after import resolve as resolve_after
from pqclock.store.database import Session


def stand_in(session: Session, limit: int, now: datetime | None = None, *, silent_too: bool = False) -> int | None:
    """Promote and rescue in the leader's place, when no leader has beaten for 10 s and nobody else does it now.

    Jobs that waited for others are released as well. Gives the number of jobs made ready, None when there was no need.
    Only ticks need the leader.
    """
    with session.transaction():
        needed = session.run("leadership.try_stand_in", silence=jobs.LEADER_SILENCE, now=now).fetchone()
        if needed is None or not needed[0]:
            return None
        resolve_after(session, limit, now)
        promotion = jobs.promote(session, limit, now)
        rescued = jobs.rescue(session, limit, now, silent_too=silent_too)
    gating.free_void_slots(session)
    return promotion.promoted + len(rescued)
