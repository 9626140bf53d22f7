"""Jobs while they run: what is noted of them, and the failures that no worker saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pqclock.store.database import Session


def note_starts(session: Session, starts: Sequence[tuple[int, int, datetime]]) -> None:
    """Write when the handlers of jobs that are still running began: (id, lease, started_at) each."""
    ids, leases, started = (list(column) for column in zip(*starts, strict=True))
    session.run("jobs.start", ids=ids, leases=leases, started=started)


def save(session: Session, reached: Sequence[tuple[int, int, str]]) -> None:
    """Write how far jobs have come that go on running: (id, lease, checkpoint as JSON) each."""
    ids, leases, checkpoints = (list(column) for column in zip(*reached, strict=True))
    session.run("jobs.checkpoint", ids=ids, leases=leases, checkpoints=checkpoints)


def crashes(session: Session, running: Sequence[tuple[int, int]]) -> dict[int, int]:
    """How often the processes of these jobs, (id, lease) each, have died since they last came further."""
    ids, leases = (list(column) for column in zip(*running, strict=True))
    return dict(session.run("jobs.crashes", ids=ids, leases=leases).fetchall())


def paused_among(session: Session, ids: Sequence[int]) -> list[int]:
    """Those of these jobs whose queue, task or label is paused now."""
    return [job_id for (job_id,) in session.run("jobs.paused_among", ids=list(ids))]


@dataclass(frozen=True, slots=True)
class Unreported:
    """A failure that no worker saw: `reason` is crashed or expired; `retried` says whether the job runs again."""

    job_id: int
    task: str
    attempt: int
    reason: str
    message: str
    retried: bool


def hear_failures(session: Session, tasks: Sequence[str], limit: int) -> list[Unreported]:
    """Take failures of these tasks that nobody was told of."""
    return session.fetch(Unreported, "jobs.hear_failures", tasks=list(tasks), limit=limit)


def drop_unreported(session: Session, limit: int, now: datetime | None = None) -> int:
    """Forget failures of which nobody wanted to hear for a day; gives their number."""
    return session.run("jobs.drop_unreported", limit=limit, now=now).rowcount
