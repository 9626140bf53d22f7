"""The queues at a glance, for whoever looks all the time: counted up to a bound, however much waits.

The view `queues` counts every live job, and is for those who want to know exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pqclock.store.database import Session
from pqclock.store.listing_rows import Page

MOST = 10_000
MOST_NAMES = 2_000


@dataclass(frozen=True, slots=True)
class BacklogRow:
    """A queue; with `at_least` there may be more ready or scheduled jobs than were counted."""

    queue: str
    paused_until: datetime | None
    note: str | None
    scheduled: int
    ready: int
    running: int
    oldest_ready_at: datetime | None
    at_least: bool


def queues(session: Session, *, after: str = "", limit: int = 50, most: int = MOST) -> Page[BacklogRow]:
    """Queues by name, with live jobs or a pause."""
    rows = session.fetch(BacklogRow, "backlog.queues", after=after, limit=limit + 1, most=most, names=MOST_NAMES)
    return Page(rows[:limit], rows[limit - 1].queue if len(rows) > limit else None)
