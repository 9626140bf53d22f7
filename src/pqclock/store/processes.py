"""Who is alive: register, beat, leave, and declare dead."""

from __future__ import annotations

from datetime import datetime, timedelta

from pqclock.store.database import Session


def register(
    session: Session, kind: str, *, pid: int, host: str, code_version: str, doing: str = "", now: datetime | None = None
) -> int:
    """Enter a process (`clock` or `worker`); gives its id."""
    row = session.run(
        "processes.register", kind=kind, pid=pid, host=host, code_version=code_version, doing=doing, now=now
    ).fetchone()
    assert row is not None
    return int(row[0])


def beat(session: Session, process_id: int, now: datetime | None = None) -> datetime | None:
    """Show that the process lives; gives the database's time, or None when it was declared dead meanwhile."""
    row = session.run("processes.beat", id=process_id, now=now).fetchone()
    return row[0] if row else None


def leave(session: Session, process_id: int) -> None:
    """Take the process off the list: it ended in order."""
    session.run("processes.leave", id=process_id)


def bury(session: Session, host: str, pid: int) -> list[int]:
    """Declare a process dead that its parent saw die, and have its jobs rescued at once; gives the ids."""
    return [process_id for _, process_id in session.run("processes.bury", host=host, pid=pid)]


def sweep(session: Session, silence: timedelta, now: datetime | None = None) -> int:
    """Forget the processes that have been silent for so long; gives their number."""
    return session.run("processes.sweep", silence=silence, now=now).rowcount
