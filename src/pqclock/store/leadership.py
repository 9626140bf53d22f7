"""The leader's lock and term.

The session advisory lock decides who may try; the epoch of the leader row decides whose writes count. Both are only
ever used on one direct connection, which is never pooled: to give up the lock is to close the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pqclock.store import poolers
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


# How our clocks name their sessions in pg_stat_activity.
CLOCK_SESSION = "pqclock clock"


@dataclass(frozen=True, slots=True)
class Holder:
    """The database session that holds the lock; None is what this role may not see."""

    pid: int
    usename: str | None
    application_name: str | None
    client_addr: str | None
    backend_start: datetime | None
    state: str | None
    state_change: datetime | None
    same_role: bool | None

    @property
    def is_clock(self) -> bool:
        """Whether it calls itself a clock of pqclock."""
        return (self.application_name or "").startswith(CLOCK_SESSION)


@dataclass(frozen=True, slots=True)
class Pulse:
    """The database's time, the leader row, its process, and the late schedule that has waited longest for planning."""

    now: datetime
    epoch: int
    beat_at: datetime | None
    backend_pid: int | None
    host: str | None
    pid: int | None
    schedules: bool
    waiting_key: str | None
    waits_since: datetime | None

    @property
    def clock_expected(self) -> bool:
        """Whether somebody should lead: one has, or there is something to tick."""
        return self.epoch > 0 or self.schedules


def connect_direct(url: str, schema: str, role: str, *, allow_session_pooler: bool = False) -> Session:
    """Open the clock's own connection, and make sure that the session is its own.

    Raises Refused behind a pooler, where a session lock may mean nothing; with `allow_session_pooler` only behind one
    that is seen to share its sessions.
    """
    session = connect(url, schema, role, target_session_attrs="read-write", prepare_threshold=None)
    try:
        if not poolers.is_direct(session):
            poolers.refuse_unless_stable(session, url, allow=allow_session_pooler)
        for name, value in _SESSION_SETTINGS.items():
            session.conn.execute("SELECT set_config(%s, %s, false)", [name, value])
    except BaseException:
        session.close()
        raise
    session.conn.prepare_threshold = 5
    return session


def try_lock(session: Session) -> bool:
    """Take the leader's lock if it is free; never waits. To be called once a session: the lock counts its takers."""
    row = session.run("leadership.try_lock", classid=LOCK_CLASS).fetchone()
    return bool(row and row[0])


def holder(session: Session) -> Holder | None:
    """Who holds the leader's lock now."""
    rows = session.fetch(Holder, "leadership.holder", classid=LOCK_CLASS)
    return rows[0] if rows else None


def pulse(session: Session, late: timedelta) -> Pulse:
    """Whether somebody leads, and whether a tick waits longer than `late` to be planned."""
    return session.fetch(Pulse, "leadership.pulse", late=late)[0]


def terminate(session: Session, holder: Holder, seen: Pulse) -> bool:
    """End the session of a leader that does not beat, unless it, or another, has beaten since `seen`.

    Only one of our own role that is a clock's. Raises DatabaseError where the role may not.
    """
    row = session.run(
        "leadership.terminate",
        classid=LOCK_CLASS, pid=holder.pid, clock=CLOCK_SESSION, epoch=seen.epoch, beat_at=seen.beat_at,
    ).fetchone()  # fmt: skip
    return bool(row and row[0])


def elect(session: Session, process_id: int, now: datetime | None = None) -> int:
    """Begin a term with the lock in hand; gives its epoch."""
    row = session.run("leadership.elect", process_id=process_id, now=now).fetchone()
    assert row is not None
    return int(row[0])


def wait_briefly(session: Session) -> None:
    """Have the leader's statements give up after 50 ms where somebody holds what they need."""
    session.run("leadership.wait_briefly")


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
