"""Notifications: they only wake, the tables are the truth.

One channel a schema, named like it. Payloads: `ready QUEUE` (a job became ready there), `clock` (something falls due
sooner than the clock thinks), `rescue` (a process was declared dead), `resigned` (the leader's lock comes free).
"""

from __future__ import annotations

from psycopg import sql

from pqclock.store.database import Session


def listen(session: Session) -> None:
    """Subscribe the session to the schema's channel."""
    session.conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(session.schema)))


def say(session: Session, *payloads: str) -> None:
    """Notify everybody who listens, the session itself too."""
    session.conn.execute(
        "SELECT pg_notify(%s, p.payload) FROM unnest(%s::text[]) AS p (payload)", [session.schema, list(payloads)]
    )


def hear(session: Session) -> list[str]:
    """The payloads that have arrived since the last call; never waits."""
    return [notification.payload for notification in session.conn.notifies(timeout=0)]
