"""`app.jobs`: jobs as the database has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pqclock.rules.explaining import Explanation
from pqclock.store import explaining, listings
from pqclock.store.listing_rows import JobRow, Page

if TYPE_CHECKING:
    from pqclock.tasks.connections import Connections


class Jobs:
    """The verbs of jobs. They block: on an event loop, call them through `asyncio.to_thread`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def list(
        self,
        *,
        state: str | None = None,
        queue: str | None = None,
        task: str | None = None,
        schedule: str | None = None,
        label: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Page[JobRow]:
        """The newest jobs first, live and finished; `next` of the page is the `before` of the page behind it."""
        filters = {"state": state, "queue": queue, "task": task, "schedule": schedule, "label": label}
        with self._connections.session() as session, listings.reading(session):
            return listings.jobs(session, **filters, before=before, limit=limit)

    def explain(self, job_id: int) -> Explanation:
        """Why a job is not running, and until when; for one that has ended, how. Raises UnknownJob."""
        with self._connections.session() as session, listings.reading(session):
            return explaining.explain(session, job_id)
