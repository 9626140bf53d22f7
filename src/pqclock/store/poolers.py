"""Poolers between a clock and its server: found, and where one is allowed, proved to keep the session apart."""

from __future__ import annotations

import logging
import secrets
import select
import time

import psycopg
from psycopg.pq import ExecStatus
from psycopg.rows import TupleRow

from pqclock.errors import Refused
from pqclock.store.database import Session, clean_url, connection_parameters

log = logging.getLogger("pqclock.clock")

ROUNDS = 2
# A pooler in session mode whose pool is full lets the second connection wait; one in transaction mode answers at once.
ANSWER_WITHIN = 1.0

_WAY_OUT = "set PQCLOCK_CLOCK_DATABASE_URL to the server's direct address"


def is_direct(session: Session) -> bool:
    """Whether the backend that answers is the one that was connected to; behind a pooler it is another."""
    return backend_pid(session) == session.conn.info.backend_pid


def backend_pid(session: Session) -> int | None:
    """The server process that answers now."""
    row = session.conn.execute("SELECT pg_backend_pid()").fetchone()
    return int(row[0]) if row else None


def refuse_unless_stable(session: Session, url: str, *, allow: bool) -> None:
    """Raise Refused for a session behind a pooler; with `allow` only if the pooler is seen to share sessions."""
    if not allow:
        raise Refused(
            "the clock reaches PostgreSQL through a pooler, where the leader's lock would be shared or lost: "
            f"{_WAY_OUT} (or, if the pooler is in session mode, give --allow-session-pooler)"
        )
    for _ in range(ROUNDS):
        fault = _fault(session, url)
        if fault is not None:
            raise Refused(
                f"--allow-session-pooler is given, but the pooler is not in session mode ({fault}), so the leader's lock "
                f"would be shared or lost: {_WAY_OUT}, or set the pooler to session mode"
            )


def _fault(session: Session, url: str) -> str | None:
    """What shows that this session's server process is shared with others; None when nothing does."""
    before, token = backend_pid(session), secrets.token_hex(8)
    session.conn.execute("SELECT set_config('pqclock.probe', %s, false)", [token])
    other = _backend_of_another(url)
    if other is not None and other == before:
        return f"server process {before} serves another connection at the same time"
    row = session.conn.execute("SELECT pg_backend_pid(), current_setting('pqclock.probe', true)").fetchone()
    assert row is not None
    if row[0] != before:
        return f"the server process changed from {before} to {row[0]} between two statements"
    if row[1] != token:
        return "a value that was set for the session was lost"
    return None


def _backend_of_another(url: str) -> int | None:
    """The server process of a second connection while the first one idles; None when it gets none soon."""
    try:
        conn = psycopg.connect(
            clean_url(url), autocommit=True, prepare_threshold=None, **connection_parameters("clock probe")
        )
    except psycopg.OperationalError as error:
        log.debug("no second connection for the probe of the pooler: %s", error)
        return None
    try:
        return _ask(conn)
    finally:
        conn.close()


def _ask(conn: psycopg.Connection[TupleRow]) -> int | None:
    pgconn, deadline = conn.pgconn, time.monotonic() + ANSWER_WITHIN
    pgconn.send_query(b"SELECT pg_backend_pid()")
    pgconn.flush()
    while pgconn.is_busy():
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pgconn.socket], [], [], left)[0]:
            return None
        pgconn.consume_input()
    result = pgconn.get_result()
    value = result.get_value(0, 0) if result is not None and result.status == ExecStatus.TUPLES_OK else None
    return int(value) if value else None
