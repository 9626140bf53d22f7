"""Status addresses of jobs: a random token that nobody can guess, of which only a digest is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pqclock.store.database import Session


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job stands; `runs_for` and `due_in` are seconds by the database's clock, for live jobs."""

    state: str
    attempt: int
    max_attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: Any
    error: str | None
    progress: dict[str, Any] | None
    runs_for: float | None
    due_in: float | None


def digest(token: str) -> str:
    """What is kept of a token, in hex: who reads the table cannot use it. A token is random enough to need no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


def parse_standing(rows: Sequence[Sequence[Any]]) -> Standing | None:
    """The row of `statuses.find`, for sync and async connections alike."""
    return Standing(*rows[0]) if rows else None


def forget(session: Session, limit: int, now: datetime | None = None) -> int:
    """Forget addresses whose time is over, unless their job still lives; gives their number."""
    return session.run("statuses.forget", limit=limit, now=now).rowcount
