"""Jobs, workers and listeners for the tests of the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pqclock.rules.job import Outcome
from pqclock.rules.pools import parse_pools
from pqclock.store import finishing, jobs, processes
from pqclock.store.database import Session
from pqclock.store.jobs import ClaimedJob, NewJob

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def new(task: str = "mail", args: str = "{}", **options: Any) -> NewJob:
    return NewJob(task, args, **options)


def enqueue(session: Session, *new_jobs: NewJob, now: datetime = NOW) -> list[int]:
    """Insert jobs; gives their ids."""
    return [job_id for job_id, _ in jobs.insert(session, new_jobs, now=now)]


def a_worker(session: Session, now: datetime = NOW, token: str | None = None) -> int:
    return processes.register(session, "worker", pid=1, host="box", code_version="1", token=token, now=now)


def claim(
    session: Session,
    worker_id: int = 1,
    *,
    pool: str = "*",
    tasks: Sequence[str] = ("mail",),
    limit: int = 100,
    lease: int = 1,
    now: datetime = NOW,
) -> list[ClaimedJob]:
    (one,) = parse_pools(pool)
    return jobs.claim(session, one, tasks, limit, worker_id=worker_id, lease=lease, now=now)


def finish(session: Session, job: ClaimedJob, state: str, outcome: str | None = None, **more: Any) -> bool:
    """Write what the run of a job came to; tells whether that was accepted."""
    end = Outcome(job.id, job.lease, state, outcome)._replace(**more)
    return finishing.finish(session, [end], worker_id=1, now=NOW + MINUTE) == {job.id}
