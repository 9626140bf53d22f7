"""The jobs that this worker holds: claimed, and perhaps begun; and those whose outcomes are not written yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from pqclock.rules.job import Outcome
from pqclock.store.jobs import ClaimedJob
from pqclock.tasks.context import Dialogue
from pqclock.worker.run import Run


@dataclass(slots=True)
class Holding:
    """A claimed job, with the monotonic time at which its handler began, if it has."""

    job: ClaimedJob
    began: float | None = None
    noted: bool = False
    dialogue: Dialogue = field(default_factory=Dialogue)
    run: Run | None = None


class Held:
    """Which claimed jobs have begun: a job is begun or given back, never both.

    A job is held until its handler has ended, and known until its outcome is written as well.
    """

    def __init__(self) -> None:
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

    def add(self, job: ClaimedJob) -> None:
        """Take a job in that was just claimed."""
        with self._lock:
            before = self._holdings.get(job.id)
            if before is not None:
                self._known.discard((before.job.id, before.job.lease))
            self._holdings[job.id] = Holding(job)
            self._known.add((job.id, job.lease))

    def begin(self, job: ClaimedJob) -> Holding | None:
        """Mark the handler as begun; None when the job was given back or cancelled instead."""
        with self._lock:
            holding = self._holdings.get(job.id)
            if self._closed or holding is None or holding.job.lease != job.lease or holding.dialogue.cancelled:
                return None
            holding.began = time.monotonic()
            return holding

    def cancel(self, job_id: int) -> Holding | None:
        """Tell the handler of a job that it is to end; one that has not begun never will.

        None when the job is not held, or was told already.
        """
        with self._lock:
            holding = self._holdings.get(job_id)
            if holding is None or holding.dialogue.cancelled:
                return None
            holding.dialogue.cancel()
            if holding.began is None:
                del self._holdings[job_id]
            return holding

    def want_back(self, job_ids: Collection[int] | None = None) -> None:
        """Have these jobs, or all that run, go back at their next checkpoint; those that have none go on."""
        with self._lock:
            for job_id, holding in self._holdings.items():
                if job_ids is None or job_id in job_ids:
                    holding.dialogue.want_back()

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
            return True

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """Forget jobs: what they came to is written."""
        with self._lock:
            self._known.difference_update((outcome.job_id, outcome.lease) for outcome in outcomes)

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
