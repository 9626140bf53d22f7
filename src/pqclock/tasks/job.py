"""A job as a batch task gets it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Job:
    """One of the jobs of a call: what it was enqueued with, and the attempt that this is.

    `tick` (UTC) and `schedule_key` are None for a job that no schedule made.
    """

    id: int
    task: str
    args: dict[str, Any]
    queue: str
    attempt: int
    max_attempts: int
    run_at: datetime
    tick: datetime | None
    schedule_key: str | None
    labels: tuple[str, ...]
