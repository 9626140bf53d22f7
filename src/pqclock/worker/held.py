"""The jobs that this worker holds: claimed, and perhaps begun; and those whose outcomes are not written yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable

from pqclock.marks import Marks
from pqclock.rules.job import Outcome
from pqclock.store.jobs import ClaimedJob
from pqclock.tasks.context import Dialogue
from pqclock.worker.run import Run


class Holding(Dialogue):
    """A claimed job, with the monotonic time at which its handler began, if it has; and what is said to that."""

    began: float | None = None
    noted = False
    run: Run | None = None
    # The place of its mark, while its handler runs.
    mark: int | None = None

    def __init__(self, job: ClaimedJob) -> None:
        self.job = job


class Held:
    """Which claimed jobs have begun: a job is begun or given back, never both.

    A job is held until its handler has ended, and known until its outcome is written as well.
    """

    def __init__(self, marks: Marks | None = None) -> None:
        self._marks = marks
        self._lock = threading.Lock()
        self._holdings: dict[int, Holding] = {}
        self._known: set[tuple[int, int]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._holdings)

    @property
    def waiting(self) -> bool:
        """True while claimed jobs have not begun."""
        with self._lock:
            return any(holding.began is None for holding in self._holdings.values())

    def add(self, jobs: Iterable[ClaimedJob]) -> None:
        """Take jobs in that were just claimed."""
        with self._lock:
            for job in jobs:
                before = self._holdings.get(job.id)
                if before is not None:
                    self._known.discard((before.job.id, before.job.lease))
                    self._unmark(before)
                self._holdings[job.id] = Holding(job)
                self._known.add((job.id, job.lease))

    def _unmark(self, holding: Holding) -> None:
        if holding.mark is not None and self._marks is not None:
            self._marks.end(holding.mark)
            holding.mark = None

    def withdraw(self, jobs: Iterable[ClaimedJob]) -> list[Holding]:
        """Let go of those of these jobs that have not begun, and never will; gives them."""
        with self._lock:
            found = [self._holdings.get(job.id) for job in jobs]
            waiting = [holding for holding in found if holding is not None and holding.began is None]
            for holding in waiting:
                del self._holdings[holding.job.id]
            return waiting

    def begin(self, job: ClaimedJob) -> Holding | None:
        """Mark the handler as begun; None when the job was given back or cancelled instead."""
        with self._lock:
            holding = self._holdings.get(job.id)
            if self._closed or holding is None or holding.job.lease != job.lease or holding.cancelled:
                return None
            holding.began = time.monotonic()
            if self._marks is not None:
                holding.mark = self._marks.begin(job.id)
            return holding

    def cancel(self, job_id: int) -> Holding | None:
        """Tell the handler of a job that it is to end; one that has not begun never will.

        None when the job is not held, or was told already.
        """
        with self._lock:
            holding = self._holdings.get(job_id)
            if holding is None or holding.cancelled:
                return None
            holding.cancel()
            if holding.began is None:
                del self._holdings[job_id]
            return holding

    def want_back(self, job_ids: Collection[int] | None = None) -> None:
        """Have these jobs, or all that run, go back at their next checkpoint; those that have none go on."""
        with self._lock:
            for job_id, holding in self._holdings.items():
                if job_ids is None or job_id in job_ids:
                    holding.want_back()

    def interruptible(self) -> list[int]:
        """The jobs that have begun and pass checkpoints."""
        with self._lock:
            return [i for i, h in self._holdings.items() if h.run is not None and h.run.task.is_iteration]

    def end(self, job: ClaimedJob) -> bool:
        """Let go of a job whose handler has ended; False when it was taken back before."""
        with self._lock:
            holding = self._holdings.get(job.id)
            if holding is None or holding.job.lease != job.lease:
                return False
            del self._holdings[job.id]
            self._unmark(holding)
            # They know each other: what nobody else knows is to be gone at once, and not when somebody looks for it.
            holding.run = holding.teller = None
            return True

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """Forget jobs: what they came to is written."""
        with self._lock:
            for outcome in outcomes:
                self._known.discard((outcome.job_id, outcome.lease))

    def known(self) -> list[tuple[int, int]]:
        """(id, lease) of every job that is held, or whose outcome is still to be written."""
        with self._lock:
            return list(self._known)

    def close(self) -> list[Holding]:
        """Let nothing begin any more; gives what has not begun, and lets go of it."""
        with self._lock:
            self._closed = True
            waiting = [holding for holding in self._holdings.values() if holding.began is None]
            for holding in waiting:
                del self._holdings[holding.job.id]
            return waiting

    def abandon(self) -> list[Holding]:
        """Let go of everything; what still runs will find that it has lost its job."""
        with self._lock:
            running = list(self._holdings.values())
            self._holdings.clear()
            return running

    def unnoted(self, older_than: float) -> list[Holding]:
        """The jobs that have run for so many seconds and whose start is not written yet."""
        limit = time.monotonic() - older_than
        with self._lock:
            return [h for h in self._holdings.values() if not h.noted and h.began is not None and h.began < limit]
