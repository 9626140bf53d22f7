"""What may run the jobs of an app in the database's place: for tests, see `pqclock.testing.inlining`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pqclock.store.jobs import JobResult, NewJob
    from pqclock.tasks.handle import JobHandle


class Instead(Protocol):
    """Takes the jobs of an enqueue, and knows what they came to."""

    def run(self, jobs: Sequence[NewJob]) -> list[JobHandle]:
        """Take jobs; handles come in input order."""

    async def run_async(self, jobs: Sequence[NewJob]) -> list[JobHandle]:
        """The same, on an event loop."""

    def result(self, job_id: int) -> JobResult | None:
        """Where a job stands; None for one that was not taken here."""
