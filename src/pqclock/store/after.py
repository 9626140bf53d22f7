"""Jobs that wait until others have succeeded, and the progress of what was split into jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from pqclock.store.database import Session

# Progress is told for as long as the history of its parts is kept for the most part.
KEEP_FAN_OUTS = timedelta(days=90)
_LAST_ID = 2**63 - 1
# Of the jobs that one waits for, so many are named.
_NAMED = 5


class Resolved(NamedTuple):
    """How many jobs wait for no other any more, how many were cancelled, and whether there is more to look at."""

    released: int
    cancelled: int
    more: bool


@dataclass(frozen=True, slots=True)
class Awaited:
    """For what a job waits: `many` others, of which the first are named as (id, state)."""

    many: int
    first: tuple[tuple[int, str], ...]


class Progress(NamedTuple):
    """Of the jobs of a fan-out, or of a parent: `done` have succeeded, `failed` have ended otherwise, out of `total`."""

    done: int
    failed: int
    total: int

    @property
    def left(self) -> int:
        """How many have not ended."""
        return self.total - self.done - self.failed


@dataclass(frozen=True, slots=True)
class FanOutRow:
    """A collection that was split into `total` jobs of a task."""

    id: int
    task: str
    total: int
    created_at: datetime


def resolve(session: Session, limit: int, now: datetime | None = None) -> Resolved:
    """Do what follows from the end of jobs that others wait for, for about `limit` of those at most."""
    row = session.run("after.resolve", limit=limit, now=now).fetchone()
    assert row is not None
    return Resolved(*row)


def walk(session: Session, beyond: int, limit: int) -> int | None:
    """Note a slice of awaited jobs that are gone and that nobody has noted; gives where to go on, None at the end."""
    row = session.run("after.walk", beyond=beyond, limit=limit).fetchone()
    assert row is not None
    found: int | None = row[0]
    return found


def forget(session: Session, limit: int, now: datetime | None = None) -> int:
    """Forget fan-outs of long ago; gives their number."""
    return session.run("after.forget", limit=limit, keep=KEEP_FAN_OUTS, now=now).rowcount


def waiting(session: Session, ids: Sequence[int], most: int = _NAMED) -> dict[int, Awaited]:
    """For what these jobs wait, by id; without those that wait for no others."""
    found: dict[int, Awaited] = {}
    for job_id, many, after_id, state in session.run("after.waiting", ids=list(ids), most=most):
        before = found[job_id].first if job_id in found else ()
        found[job_id] = Awaited(many, (*before, (after_id, state)))
    return found


def parents(session: Session, ids: Sequence[int]) -> dict[int, int]:
    """Whose parts these jobs are, by id; without those that are parts of nothing."""
    return dict(session.run("after.parents", ids=list(ids)).fetchall())


def progress(session: Session, parent_id: int) -> Progress | None:
    """How far the jobs of a fan-out or a parent have come; None for an id that is neither."""
    row = session.run("after.progress", id=parent_id).fetchone() if 0 <= parent_id <= _LAST_ID else None
    return None if row is None else Progress(*row)


def fan_out(session: Session, fan_out_id: int) -> FanOutRow | None:
    """A fan-out; None for an id that is none."""
    rows = session.fetch(FanOutRow, "after.fan_out", id=fan_out_id) if 0 <= fan_out_id <= _LAST_ID else []
    return rows[0] if rows else None
