"""Names that one session at a time holds."""

from __future__ import annotations

from pqclock.store.database import Session


def take(session: Session, name: str) -> bool:
    """Hold `name` until the session ends, if nobody else does; never waits."""
    row = session.run("alone.take", name=name).fetchone()
    return bool(row and row[0])
