"""Jobs: insert, promote, claim, finish, rescue, expire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

from pqclock.errors import ArgumentError, UniqueConflict
from pqclock.rules.pools import Pool
from pqclock.store import gating, job_verbs
from pqclock.store.database import Session
from pqclock.store.insertion import insertion

LEASE_LENGTH = timedelta(seconds=15)
LEADER_SILENCE = timedelta(seconds=10)
CRASH_LIMIT = 3
# Of workers while the job ran apart: not its doing, but what takes a whole container down cannot be kept apart.
DEATH_LIMIT = 10
_in_order = attrgetter("priority", "ready_seq")


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to insert; None leaves a field to the task's published default. `args` and `labels` are JSON texts.

    So is `options`: an object of what is said of unique, unique_key, throttle, fuse and units, of the jobs that it waits
    for (`after`) and the one that it is a part of (`parent`), and by a schedule.

    `after` are jobs of the same call that must have succeeded first; those that are there already are named in `options`.
    `run_at` is aware; `delay` counts from the database's time. Without both the job is ready at once.
    """

    task: str
    args: str
    queue: str | None = None
    run_at: datetime | None = None
    delay: timedelta | None = None
    priority: int | None = None
    labels: str | None = None
    max_attempts: int | None = None
    options: str | None = None
    after: tuple[NewJob, ...] = field(default=(), compare=False, repr=False)


class Entered(NamedTuple):
    """A job that came in, or that one with the same unique key has met: `inserted` says which; and where it stands."""

    id: int
    state: str
    inserted: bool


class ClaimedJob(NamedTuple):
    """A job that this worker may run, as long as its lease holds.

    `args` is JSON text: what SQL has put into one job must not keep a claim from reading the others. One that is `gated`
    has passed gates, and one that is `fused` a fuse among them, which wants to hear of its outcome at once.
    """

    id: int
    task: str
    args: str
    queue: str
    priority: int
    labels: list[str]
    attempt: int
    max_attempts: int
    crashes: int
    lease: int
    run_at: datetime
    schedule_id: int | None
    tick: datetime | None
    claimed_at: datetime
    ready_seq: int
    run_options: Mapping[str, Any] | None
    checkpoint: Mapping[str, Any] | None
    schedule_key: str | None
    gated: bool = False
    fused: bool = False


@dataclass(frozen=True, slots=True)
class Promotion:
    """How many jobs became ready at `now` (the database's), and when the next one is due."""

    promoted: int
    next_run_at: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True)
class JobResult:
    """Where a job stands; `result` is what its handler returned."""

    id: int
    state: str
    result: Any
    error: str | None


def entered(rows: Sequence[Sequence[Any]]) -> list[Entered]:
    """The rows of `jobs.insert`, for sync and async connections alike.

    Raises ArgumentError for a template that cannot be filled, and UniqueConflict; nothing was inserted then.
    """
    for job_id, state, _, fault, conflict, *_ in rows[:1]:
        if fault is not None:
            raise ArgumentError(fault)
        if conflict is not None:
            raise UniqueConflict(conflict, job_id, state)
    return [Entered(*row[:3]) for row in rows]


def insert(
    session: Session,
    jobs: Sequence[NewJob],
    code_defaults: Mapping[str, Mapping[str, Any]] | None = None,
    now: datetime | None = None,
) -> list[tuple[int, str]]:
    """Enqueue jobs; gives (id, state) of each, in input order, or of the job that it has met."""
    return [(job.id, job.state) for job in enter(session, jobs, code_defaults, now)]


def enter(
    session: Session,
    jobs: Sequence[NewJob],
    code_defaults: Mapping[str, Mapping[str, Any]] | None = None,
    now: datetime | None = None,
) -> list[Entered]:
    """Enqueue jobs, and tell which of them came in; in input order. Raises as `entered` does."""
    return entered(session.run("jobs.insert", **insertion(jobs, code_defaults or {}, now)).fetchall())


def promote(session: Session, limit: int, now: datetime | None = None, *, release: bool = True) -> Promotion:
    """Make ready what is due, at most `limit`; with `release`, also what was held until the job before it had ended."""
    return session.fetch(Promotion, "jobs.promote", limit=limit, now=now, release=release)[0]


def claim(
    session: Session,
    pool: Pool,
    tasks: Sequence[str],
    limit: int,
    *,
    worker_id: int,
    lease: int,
    low: int = 0,
    now: datetime | None = None,
) -> list[ClaimedJob]:
    """Take up to `limit` ready jobs of the pool's queues and these tasks, in order of priority and readiness.

    None has its place at `low` or below.
    """
    common = {"tasks": list(tasks), "limit": limit, "worker_id": worker_id, "lease": lease, "now": now}
    if pool.queues is None:
        return _claim_any(session, list(pool.excluded), low, common)
    common["low"] = low
    if len(pool.queues) == 1:
        return _claimed(session, "jobs.claim_queue", queue=pool.queues[0], **common)
    return _claimed(session, "jobs.claim_queues", queues=list(pool.queues), **common)


def _claimed(session: Session, statement: str, **params: Any) -> list[ClaimedJob]:
    jobs = [ClaimedJob._make(row) for row in session.read(statement, **params)]
    jobs.sort(key=_in_order)
    return jobs


def _claim_any(session: Session, excluded: list[str], low: int, common: dict[str, Any]) -> list[ClaimedJob]:
    """From all queues but the excluded and the paused ones, which are asked for only when they make a difference."""
    if not excluded:
        jobs = _claimed(session, "jobs.claim_any", low=low, **common)
        if jobs:
            return jobs
    paused = [name for (name,) in session.run("jobs.paused_queues", now=common["now"])]
    if not excluded and not paused:
        return []
    return _claimed(session, "jobs.claim_others", excluded=[*excluded, *paused], **common)


def give_back(session: Session, worker_id: int, known: Sequence[tuple[int, int]]) -> list[int]:
    """Make ready again, at no cost, what this worker has claimed but for the (id, lease) it knows of; gives the ids."""
    with session.transaction():
        strays = session.run("jobs.strays", worker_id=worker_id, **_leased(known)).fetchall()
        if not strays:
            return []
        gating.leave(session, strays)
        again = _made_ready(session, strays, None)
        job_verbs.end_asked(session, again)
    return again


def _made_ready(session: Session, jobs: Sequence[Sequence[Any]], now: datetime | None) -> list[int]:
    return [job_id for (job_id,) in session.run("jobs.give_back", now=now, **_leased(jobs))]


def _leased(jobs: Sequence[Sequence[Any]]) -> dict[str, list[int]]:
    return {"ids": [job[0] for job in jobs], "leases": [job[1] for job in jobs]}


def rescue(
    session: Session, limit: int, now: datetime | None = None, *, silent_too: bool = True
) -> list[tuple[int, str]]:
    """Give back the jobs of workers that are gone: (id, `ready`, `held`, `failed` or `cancelled`) of each.

    Their places at gates are free then. Held are those whose task wants a person to look at what they did.
    Gone are those declared dead, and with `silent_too` those whose last beat is older than a lease.
    """
    with session.transaction():
        orphans = session.run(
            "jobs.orphans", lease_length=LEASE_LENGTH, silent_too=silent_too, limit=limit, now=now
        ).fetchall()
        if not orphans:
            return []
        spared = [orphan[:3] for orphan in orphans if orphan[5]]
        died = [orphan for orphan in orphans if not orphan[5]]
        gating.leave(session, spared, now=now)
        gating.leave(session, [orphan[:3] for orphan in died], gating.End.crashed, now)
        reviews, aparts = ([orphan[place] for orphan in died] for place in (3, 4))
        back = [(job_id, "ready") for job_id in _made_ready(session, spared, now)]
        rescued = session.run(
            "jobs.rescue", reviews=reviews, aparts=aparts, crash_limit=CRASH_LIMIT, death_limit=DEATH_LIMIT, now=now,
            **_leased(died),
        ).fetchall()  # fmt: skip
        ended = job_verbs.end_asked(session, [job_id for job_id, *_ in orphans], now)
        return [(job_id, "cancelled" if job_id in ended else state) for job_id, state in back + rescued]


def expire(session: Session, limit: int, now: datetime | None = None) -> list[int]:
    """Discard the jobs that were not started in time; gives their ids."""
    return [job_id for (job_id,) in session.run("jobs.expire", limit=limit, now=now)]


def parse_result(rows: Sequence[Sequence[Any]]) -> JobResult | None:
    """The row of `jobs.result`, for sync and async connections alike."""
    return JobResult(*rows[0]) if rows else None


def result(session: Session, job_id: int) -> JobResult | None:
    """Where a job stands; None when nobody has heard of it, or its history is gone."""
    return parse_result(session.run("jobs.result", id=job_id).fetchall())


def drop_expired_keys(session: Session, limit: int, now: datetime | None = None) -> int:
    """Forget unique keys whose time is over; gives their number."""
    return session.run("jobs.drop_expired_keys", limit=limit, now=now).rowcount


def cancel_tasks(session: Session, tasks: Sequence[str], reason: str, now: datetime | None = None) -> int:
    """Cancel every waiting job of these tasks; gives their number."""
    return session.run("jobs.cancel_tasks", tasks=list(tasks), reason=reason, now=now).rowcount
