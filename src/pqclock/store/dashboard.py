"""What only a dashboard asks for: bounded looks at how much there is, how fast it goes, and what keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pqclock.store.database import Session

# No state is counted any further, and no more of what ended is looked at.
MOST = 10_000
NEWEST = 5_000
WITHIN = timedelta(hours=1)
_SHOWN = 500


@dataclass(frozen=True, slots=True)
class Pace:
    """How the newest jobs of a queue did: `seconds` since the first of them ended; p50, p95 and p99 in seconds."""

    queue: str
    ended: int
    failed: int
    seconds: float
    waited: Sequence[float | None]
    ran: Sequence[float | None]

    @property
    def per_second(self) -> float:
        """How many end in a second."""
        return self.ended / max(self.seconds, 1.0)


@dataclass(frozen=True, slots=True)
class Member:
    """A clock or worker; `skew` is by how many seconds its machine's clock is ahead of the database's."""

    id: int
    kind: str
    host: str
    pid: int
    code_version: str
    doing: str
    skew: float | None
    started_at: datetime
    beat_at: datetime
    leader: bool
    epoch: int | None
    elected_at: datetime | None
    running: int


@dataclass(frozen=True, slots=True)
class Size:
    """A table with its indexes and partitions, in bytes; rows are the server's estimate."""

    name: str
    bytes: int
    rows: int
    parts: int


@dataclass(frozen=True, slots=True)
class AppliedSet:
    """A set of schedule files, as it was last applied."""

    set_name: str
    content_hash: str
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class Declared:
    """What a schedule is made of, and where that was declared."""

    definition: dict[str, Any]
    source: str
    set_name: str | None
    version: int


def counts(session: Session) -> dict[str, int]:
    """Live jobs by state, and finished ones; no further than MOST and one more."""
    found: dict[str, int] = dict(session.run("dashboard.counts", most=MOST + 1).fetchall())
    for state in ("succeeded", "failed", "cancelled", "discarded"):
        row = session.run("dashboard.ended_of", state=state, most=MOST + 1).fetchone()
        found[state] = row[0] if row else 0
    return found


def pace(session: Session) -> dict[str, Pace]:
    """How the jobs did that ended last, within an hour, by queue."""
    rows = session.fetch(Pace, "dashboard.pace", within=WITHIN, most=NEWEST)
    return {row.queue: row for row in rows}


def newest(session: Session) -> int:
    """The id of the job that came last."""
    row = session.run("dashboard.newest").fetchone()
    return int(row[0]) if row else 0


def fleet(session: Session) -> list[Member]:
    """All clocks and workers that are known."""
    return session.fetch(Member, "dashboard.fleet", limit=_SHOWN)


def sizes(session: Session) -> list[Size]:
    """What takes the most room."""
    return session.fetch(Size, "dashboard.sizes", limit=12)


def vacuumed(session: Session) -> datetime | None:
    """When the table of live jobs was last vacuumed."""
    row = session.run("dashboard.vacuumed").fetchone()
    return row[0] if row else None


def sets(session: Session) -> list[AppliedSet]:
    """The sets of schedule files that were applied."""
    return session.fetch(AppliedSet, "dashboard.sets")


def declared(session: Session, key: str) -> Declared | None:
    """What a schedule is made of; None when there is none of that key."""
    found = session.fetch(Declared, "dashboard.definition", key=key)
    return found[0] if found else None
