"""Who is alive: register, beat, leave, and declare dead."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pqclock.store.database import Session

# The variable in which a supervisor gives its child a token: how `bury` will know the child's rows.
TOKEN_VARIABLE = "PQCLOCK_CHILD_TOKEN"  # noqa: S105


def register(
    session: Session,
    kind: str,
    *,
    pid: int,
    host: str,
    code_version: str,
    doing: str = "",
    token: str | None = None,
    hears: bool = False,
    isolates: bool = False,
    now: datetime | None = None,
) -> int:
    """Enter a process (`clock` or `worker`), with the token that its supervisor gave it; gives its id.

    One that `hears` wants to know of failures that nobody saw; one that `isolates` runs suspects in child processes.
    """
    row = session.run(
        "processes.register",
        kind=kind, pid=pid, host=host, code_version=code_version, doing=doing, token=token, hears=hears,
        isolates=isolates, now=now,
    ).fetchone()  # fmt: skip
    assert row is not None
    return int(row[0])


def beat(
    session: Session, process_id: int, now: datetime | None = None, *, skew: float | None = None
) -> datetime | None:
    """Show that the process lives; gives the database's time, or None when it was declared dead meanwhile.

    `skew` is by how many seconds its machine's clock is ahead, where it was measured.
    """
    row = session.run("processes.beat", id=process_id, skew=skew, now=now).fetchone()
    return row[0] if row else None


def leave(session: Session, process_id: int) -> None:
    """Take the process off the list: it ended in order."""
    session.run("processes.leave", id=process_id)


def bury(session: Session, token: str, *, begun: Sequence[int] | None = None) -> list[int]:
    """Declare a process dead that its parent saw die, and have its jobs rescued at once; gives the ids.

    `begun` are the jobs that ran then, where that is known: all others that it had claimed go back at no cost.

    Host and process id would not do: two containers may have the same ones.
    """
    known = None if begun is None else list(begun)
    return [process_id for _, process_id in session.run("processes.bury", token=token, begun=known)]


def sweep(session: Session, silence: timedelta, now: datetime | None = None) -> int:
    """Forget the processes that have been silent for so long; gives their number."""
    return session.run("processes.sweep", silence=silence, now=now).rowcount
