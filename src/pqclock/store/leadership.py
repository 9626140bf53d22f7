"""The leader's lock and term.

The session advisory lock decides who may try; the epoch of the leader row decides whose writes count. Both are only
ever used on one direct connection, which is never pooled: to give up the lock is to close the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pqclock.errors import Refused
from pqclock.store.database import Session, connect

# The first half of the two-part key of the advisory lock; the second is a hash of the schema's name.
LOCK_CLASS = 0x70716331

# A leader that stops beating loses its session, and with it lock and right to write, after 6 s: the server sees to it.
_SESSION_SETTINGS = {
    "idle_session_timeout": "6s",
    "idle_in_transaction_session_timeout": "6s",
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
}


@dataclass(frozen=True, slots=True)
class Holder:
    """The database session that holds the lock."""

    pid: int
    usename: str | None
    application_name: str | None


def connect_direct(url: str, schema: str, role: str) -> Session:
    """Open the clock's own connection, and make sure that it is direct.

    Raises Refused behind a transaction pooler, where a session lock means nothing.
    """
    session = connect(url, schema, role, target_session_attrs="read-write", prepare_threshold=None)
    try:
        _refuse_pooler(session)
        for name, value in _SESSION_SETTINGS.items():
            session.conn.execute("SELECT set_config(%s, %s, false)", [name, value])
    except BaseException:
        session.close()
        raise
    session.conn.prepare_threshold = 5
    return session


def _refuse_pooler(session: Session) -> None:
    row = session.conn.execute("SELECT pg_backend_pid()").fetchone()
    if row is None or row[0] != session.conn.info.backend_pid:
        raise Refused(
            "the clock reaches PostgreSQL through a pooler, where the leader's lock would be shared or lost: "
            "set PQCLOCK_CLOCK_DATABASE_URL to the server's direct address"
        )


def try_lock(session: Session) -> bool:
    """Take the leader's lock if it is free; never waits. To be called once a session: the lock counts its takers."""
    row = session.run("leadership.try_lock", classid=LOCK_CLASS).fetchone()
    return bool(row and row[0])


def holder(session: Session) -> Holder | None:
    """Who holds the leader's lock now."""
    rows = session.fetch(Holder, "leadership.holder", classid=LOCK_CLASS)
    return rows[0] if rows else None


def elect(session: Session, process_id: int, now: datetime | None = None) -> int:
    """Begin a term with the lock in hand; gives its epoch."""
    row = session.run("leadership.elect", process_id=process_id, now=now).fetchone()
    assert row is not None
    return int(row[0])


def beat(session: Session, epoch: int, now: datetime | None = None) -> datetime | None:
    """Show that the leader lives; gives the database's time, or None when the term is over."""
    row = session.run("leadership.beat", epoch=epoch, now=now).fetchone()
    return row[0] if row else None


def resign(session: Session, epoch: int) -> None:
    """Wake the standbys and end the session, which frees the lock."""
    try:
        session.run("leadership.resign", epoch=epoch)
    finally:
        session.close()
