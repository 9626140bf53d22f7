"""What the store reads of a job, of its gates and of pauses, to say why the job is not running."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class LiveJob:
    """A job that has not ended; `ahead` are the jobs before it in its lane, or in its queue where no gate is in the way.

    `awaits` is for how many others it waits, and the first of them as (id, state); `tasks` are those that workers have
    published, where its own is none of them.
    """

    id: int
    state: str
    queue: str
    task: str
    labels: list[str]
    run_at: datetime
    held: bool
    review: bool
    held_by: int | None
    schedule_key: str | None
    expires_at: datetime | None
    gates: list[str] | None
    units: int | None
    worker_id: int | None
    running_since: datetime | None
    published: bool
    queue_paused_until: datetime | None
    queue_note: str | None
    ahead: int
    error: str | None
    lane: str | None = None
    cancel_requested_at: datetime | None = None
    cancel_reason: str | None = None
    awaits: tuple[int, tuple[tuple[int, str], ...]] | None = None
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GateFacts:
    """How one of its gates stands.

    `places` is how many may run, None where nobody counts; `due_at` when its rate allows the job, None when that is so
    now, and `tat` when its next start would be due if starts came evenly; `others` are the jobs of other lanes that wait
    for it, up to 10,001.
    """

    gate: str
    kind: str
    rule: str
    key: str
    declared: str | None
    closed_until: datetime | None
    blown_until: datetime | None
    running: int
    places: int | None
    running_jobs: list[int]
    rate: int | None
    per: timedelta | None
    burst: int | None
    interval: timedelta | None
    due_at: datetime | None
    tat: datetime | None
    others: int
    failed_at: datetime | None
    failure: str | None
    note: str | None


@dataclass(frozen=True, slots=True)
class PauseFacts:
    """A pause of its task or of one of its labels."""

    kind: str
    name: str
    paused_at: datetime
    paused_until: datetime
    note: str | None
