"""What became of ticks lately, and how late they were: for the demo's view and summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pqclock.store.database import Session


@dataclass(frozen=True, slots=True)
class Lateness:
    """Ticks due since an instant, how many of them have begun, and how late (due -> handler begins, milliseconds)."""

    ticks_inserted: int
    ticks_skipped: int
    ticks_begun: int
    lateness_p50_ms: float | None
    lateness_p99_ms: float | None
    lateness_max_ms: float | None


@dataclass(frozen=True, slots=True)
class RecentTick:
    """A tick that is due, and where its job stands."""

    key: str
    tick: datetime
    state: str
    queue: str
    attempt: int
    max_attempts: int
    started_at: datetime | None
    finished_at: datetime | None
    run_at: datetime
    error: str | None
    result: Any


@dataclass(frozen=True, slots=True)
class Ahead:
    """A schedule's next tick, and how many are inserted ahead."""

    key: str
    next_tick: datetime | None
    inserted_ahead: int
    description: str | None
    timing: str


def summary(session: Session, set_name: str, since: datetime, now: datetime | None = None) -> Lateness:
    """Count the ticks of a set that were due since an instant, and measure their lateness."""
    return session.fetch(Lateness, "lateness.summary", set_name=set_name, since=since, now=now)[0]


def outcomes(session: Session, set_name: str, since: datetime) -> dict[str, int]:
    """How many attempts ended in which way since an instant."""
    return dict(session.run("lateness.outcomes", set_name=set_name, since=since).fetchall())


def recent(
    session: Session, set_name: str, since: datetime, limit: int, now: datetime | None = None
) -> list[RecentTick]:
    """The latest ticks that are due, newest first."""
    return session.fetch(RecentTick, "lateness.recent", set_name=set_name, since=since, limit=limit, now=now)


def ahead(session: Session, set_name: str) -> list[Ahead]:
    """The schedules of a set with what is inserted ahead."""
    return session.fetch(Ahead, "lateness.ahead", set_name=set_name)


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The value below which this share of ordered values lies, between two of them as percentile_cont has it."""
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
