"""The looks and deeds of a dashboard: a small pool of its own, so that many who look on take nothing from the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from pqclock.store import listings
from pqclock.store.database import SESSION_DEFAULTS, Session, clean_url, connection_parameters, unreachable
from pqclock.store.pool_log import pool_name, reason

SIZE = 4
# Whoever looks on waits no longer than this for a connection, and no longer than LOOK for an answer.
WITHIN = 5.0
LOOK = "3s"

Result = TypeVar("Result")
_Conn = psycopg.Connection[TupleRow]


class Views:
    """Looks, which can write nothing, and deeds; callable from any thread."""

    def __init__(self, url: str, schema: str) -> None:
        self._url = url
        self._schema = schema
        self._pool: ConnectionPool[_Conn] = ConnectionPool(
            clean_url(url),
            kwargs={"autocommit": True, **connection_parameters("web")},
            min_size=0,
            max_size=SIZE,
            timeout=WITHIN,
            max_idle=60.0,
            reconnect_timeout=5.0,
            name=pool_name(),
            configure=_configure,
            check=ConnectionPool.check_connection,
            open=True,
        )

    def look(self, view: Callable[[Session], Result]) -> Result:
        """What `view` reads, all of it at one instant. Raises DatabaseUnreachable, and PqclockError after three seconds."""
        return self._with(lambda session: _looked(session, view))

    def preview(self, view: Callable[[Session], Result]) -> Result:
        """What a deed would do; it may lock what it looks at, and is over after three seconds."""
        return self._with(lambda session: _previewed(session, view))

    def act(self, deed: Callable[[Session], Result]) -> Result:
        """What comes of a deed; it has its own transactions. Raises DatabaseUnreachable, and what the deed raises."""
        return self._with(deed)

    def _with(self, use: Callable[[Session], Result]) -> Result:
        try:
            with self._pool.connection() as conn:
                return use(Session(conn, self._schema))
        except (PoolTimeout, PoolClosed, psycopg.OperationalError) as error:
            if isinstance(error, psycopg.OperationalError) and error.sqlstate is not None:
                raise
            raise unreachable(self._url, reason(self._pool.name, error)) from error

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


def _looked(session: Session, view: Callable[[Session], Result]) -> Result:
    with listings.reading(session, LOOK):
        return view(session)


def _previewed(session: Session, view: Callable[[Session], Result]) -> Result:
    with session.transaction():
        session.run("listings.limit_time", timeout=LOOK)
        return view(session)


def _configure(conn: _Conn) -> None:
    conn.execute(SESSION_DEFAULTS)
    # Filters that are not there must not be planned for: without its state, a search goes through a whole history.
    conn.execute("SELECT set_config('plan_cache_mode', 'force_custom_plan', false)")
    # What somebody else holds is not waited for, and no deed goes on for ever: each has one of a few connections.
    conn.execute("SELECT set_config('lock_timeout', '2s', false), set_config('statement_timeout', '60s', false)")
