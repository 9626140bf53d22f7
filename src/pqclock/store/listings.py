"""Listings for people and tools: jobs, schedules, queues, tasks, processes, and the status of it all.

Rows have the fields of the public views. Pages go on after the last key seen, never by an offset, and nothing counts a
big table. Every look is one read-only transaction that the server ends when it takes too long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import psycopg

from pqclock.errors import PqclockError
from pqclock.store import backlog
from pqclock.store.alarms import open_alarms
from pqclock.store.database import Session, unreachable
from pqclock.store.gates import holding
from pqclock.store.listing_rows import (
    AttemptRow,
    ComingTick,
    Failure,
    JobRow,
    LabelRow,
    LeaderRow,
    Page,
    PauseRow,
    ProcessRow,
    QueueRow,
    ScheduleRow,
    SetAside,
    Status,
    TaskRow,
    TickRow,
)

READ_TIMEOUT = "10s"
MAX_LIMIT = 1000
MOST_DEFINITIONS = 10_000
# By tasks and labels, so many of the newest live jobs are counted.
MOST_COUNTED = 100_000
_ATTEMPTS_SHOWN = 1000
_LAST_ID = 2**63 - 1

Row = TypeVar("Row")


@contextmanager
def reading(session: Session, timeout: str = READ_TIMEOUT) -> Iterator[None]:
    """One consistent look that cannot write and that ends in time.

    Raises DatabaseUnreachable when the connection is lost, PqclockError when a statement takes too long.
    """
    where = session.conn.info.dsn
    try:
        with session.transaction():
            session.run("listings.begin")
            session.run("listings.limit_time", timeout=timeout)
            yield
    except psycopg.errors.QueryCanceled as error:
        raise PqclockError(
            f"the listing took longer than {timeout} and was given up: narrow it with filters or a smaller limit"
        ) from error
    except psycopg.OperationalError as error:
        raise unreachable(where, error) from error


def now(session: Session) -> datetime:
    """The database's time."""
    row = session.run("listings.now").fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment


def jobs(
    session: Session,
    *,
    state: str | None = None,
    queue: str | None = None,
    task: str | None = None,
    schedule: str | None = None,
    label: str | None = None,
    parent: int | None = None,
    before: int | None = None,
    above: int = -1,
    limit: int = 50,
) -> Page[JobRow]:
    """The newest jobs first, live and finished; `before` is the id to go on below, `parent` that of a job or fan-out.

    Looked at are ids greater than `above`, so that a search for what is rare comes to an end.
    """
    filters = {
        "state": state, "queue": queue, "task": task, "schedule": schedule, "label": label,
        "parent": None if parent is None else max(-1, min(parent, _LAST_ID)),
    }  # fmt: skip
    bound = _LAST_ID if before is None else min(before, _LAST_ID)
    ids = [
        job_id for (job_id,) in session.run("listings.job_ids", before=bound, above=above, limit=limit + 1, **filters)
    ]
    rows = session.fetch(JobRow, "listings.jobs", ids=ids[:limit])
    return Page(rows, str(ids[limit - 1]) if len(ids) > limit else None)


def progress(session: Session, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """How far these jobs have come, by id: done, total, and the seconds spent; without those that have told nothing."""
    return dict(session.run("listings.progress", ids=list(ids)).fetchall())


def trace_id(session: Session, job_id: int) -> str | None:
    """The W3C trace id of the enqueue of a job; None when it was not traced."""
    rows = session.run("listings.trace", id=job_id).fetchall() if 0 <= job_id <= _LAST_ID else []
    carried = rows[0][0] if rows else None
    parent = carried.get("traceparent") if isinstance(carried, dict) else None
    return str(parent).split("-")[1] if parent and str(parent).count("-") == 3 else None


def job(session: Session, job_id: int) -> tuple[JobRow, list[AttemptRow]] | None:
    """A job and its runs; None when the database does not have it, or not any more."""
    rows = session.fetch(JobRow, "listings.jobs", ids=[job_id]) if 0 <= job_id <= _LAST_ID else []
    if not rows:
        return None
    return rows[0], session.fetch(AttemptRow, "listings.attempts", job_id=job_id, limit=_ATTEMPTS_SHOWN)


def schedules(
    session: Session, *, state: str | None = None, task: str | None = None, after: str = "", limit: int = 50
) -> Page[ScheduleRow]:
    """Schedules by key, without those that were removed unless that state is asked for."""
    rows = session.fetch(ScheduleRow, "listings.schedules", state=state, task=task, after=after, limit=limit + 1)
    return _page(rows, limit, lambda row: row.key)


def schedule(session: Session, key: str, ticks: int) -> tuple[ScheduleRow, list[TickRow]] | None:
    """A schedule and the newest rows of its ledger; None when there is no such key."""
    rows = session.fetch(ScheduleRow, "listings.schedule", key=key)
    if not rows:
        return None
    return rows[0], session.fetch(TickRow, "listings.ticks", key=key, limit=ticks)


def schedule_keys(session: Session, limit: int = 500) -> list[str]:
    """Some keys, to suggest the one that was meant."""
    return [key for (key,) in session.run("listings.schedule_keys", limit=limit)]


def definitions(
    session: Session, keys: Sequence[str] | None, limit: int = MOST_DEFINITIONS
) -> list[tuple[str, dict[str, Any]]]:
    """(key, definition) of the active schedules with these keys; or of those that tick first, without paused ones."""
    return session.run("listings.definitions", keys=None if keys is None else list(keys), limit=limit).fetchall()


def queues(session: Session, *, after: str = "", limit: int = 50, only: str | None = None) -> Page[QueueRow]:
    """Queues by name: what waits and runs in them."""
    return _page(
        session.fetch(QueueRow, "listings.queues", after=after, limit=limit + 1, only=only),
        limit,
        lambda row: row.queue,
    )


def tasks(
    session: Session, *, after: str = "", limit: int = 50, only: str | None = None, counted: int = MOST_COUNTED
) -> Page[TaskRow]:
    """Tasks by name that are published or paused, with their live jobs: counted among the newest 100,000 of all."""
    rows = session.fetch(TaskRow, "listings.tasks", after=after, limit=limit + 1, only=only, most=counted)
    return _page(rows, limit, lambda row: row.task)


def labels(
    session: Session, *, after: str = "", limit: int = 50, only: str | None = None, counted: int = MOST_COUNTED
) -> Page[LabelRow]:
    """Labels by name that are paused or that live jobs have: those among the newest 100,000."""
    rows = session.fetch(LabelRow, "listings.labels", after=after, limit=limit + 1, only=only, most=counted)
    return _page(rows, limit, lambda row: row.label)


def processes(session: Session, *, after: int = 0, limit: int = 50) -> Page[ProcessRow]:
    """Clocks and workers that are alive, or were a short time ago."""
    rows = session.fetch(ProcessRow, "listings.processes", after=after, limit=limit + 1)
    return _page(rows, limit, lambda row: str(row.id))


def status(session: Session, some: int = 5) -> Status:
    """Leader, alarms, processes, queues, gates that hold something back, the next ticks and the last failures."""
    return Status(
        now=now(session),
        leader=leader(session),
        processes=processes(session, limit=MAX_LIMIT).rows,
        queues=backlog.queues(session, limit=MAX_LIMIT).rows,
        coming=session.fetch(ComingTick, "listings.coming", limit=some),
        failures=session.fetch(Failure, "listings.failures", limit=some),
        pauses=session.fetch(PauseRow, "listings.pauses", limit=MAX_LIMIT),
        set_aside=set_aside(session),
        alarms=open_alarms(session),
        gates=holding(session, 2 * some),
    )


def leader(session: Session) -> LeaderRow:
    """The present term, or the last one."""
    return session.fetch(LeaderRow, "listings.leader")[0]


def set_aside(session: Session) -> list[SetAside]:
    """The schedules that the clock has set aside, each with its fault."""
    return session.fetch(SetAside, "listings.set_aside", limit=MAX_LIMIT)


def _page(rows: list[Row], limit: int, cursor: Callable[[Row], str]) -> Page[Row]:
    shown = rows[:limit]
    return Page(shown, cursor(shown[-1]) if len(rows) > limit else None)
