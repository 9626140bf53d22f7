"""The jobs that this worker holds: claimed, and perhaps begun; and those whose outcomes are not written yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from pqclock.rules.job import Outcome
from pqclock.store.jobs import ClaimedJob


@dataclass(slots=True)
class Holding:
    """A claimed job, with the monotonic time at which its handler began, if it has."""

    job: ClaimedJob
    began: float | None = None
    noted: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)


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
            if self._closed or holding is None or holding.job.lease != job.lease or holding.cancelled.is_set():
                return None
            holding.began = time.monotonic()
            return holding

    def cancel(self, job_id: int) -> bool:
        """Tell the handler of a job that what it comes to counts no more; one that has not begun never will.

        False when the job is not held.
        """
        with self._lock:
            holding = self._holdings.get(job_id)
            if holding is None:
                return False
            holding.cancelled.set()
            if holding.began is None:
                del self._holdings[job_id]
                self._known.discard((job_id, holding.job.lease))
            return True

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
