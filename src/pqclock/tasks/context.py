"""Which job runs here: `current_job()` inside a handler, sync or async."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class CurrentJob:
    """The job whose handler calls; `tick` (UTC) and `schedule_key` are None for a job that no schedule made.

    `granted_at` is when its start was granted, by the database's clock: limits on starts hold for that instant.
    """

    id: int
    task: str
    queue: str
    attempt: int
    max_attempts: int
    run_at: datetime
    granted_at: datetime
    tick: datetime | None
    schedule_key: str | None
    labels: tuple[str, ...]
    _cancelled: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    @property
    def cancelled(self) -> bool:
        """True once what this run comes to counts no more, as when a later tick replaced it: a handler may end early."""
        return self._cancelled.is_set()


running: ContextVar[CurrentJob] = ContextVar("pqclock_current_job")


def current_job() -> CurrentJob:
    """The job that runs here. Raises LookupError outside of a handler."""
    try:
        return running.get()
    except LookupError:
        raise LookupError("current_job() was called outside of a running job: call it in a task's handler") from None
