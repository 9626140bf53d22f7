"""Pools of connections: one for threads, and one for each event loop; they outlive neither their loop nor a fork."""

from __future__ import annotations

import select
import time
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from pqclock.store.database import SESSION_DEFAULTS, clean_url, connection_parameters
from pqclock.store.forking import abandon
from pqclock.store.pool_log import pool_name, reason

SIZE = 8
TIMEOUT = 10.0
# One that was lent this many seconds ago need not be asked whether it is alive, if nothing has come in since.
FRESH = 2.0

Conn = psycopg.Connection[TupleRow]
AsyncConn = psycopg.AsyncConnection[TupleRow]


class Fresh:
    """When connections were lent: a look at each of them that costs no round trip."""

    def __init__(self) -> None:
        self._lent: WeakKeyDictionary[Conn | AsyncConn, float] = WeakKeyDictionary()

    def lend(self, conn: Conn | AsyncConn) -> bool:
        """Whether it was in use just now, and the server has said nothing since: not even that it ends the session."""
        now = time.monotonic()
        before = self._lent.get(conn, float("-inf"))
        self._lent[conn] = now
        return now - before < FRESH and not _has_news(conn)


class ThreadPool:
    """The connections of all threads of a process."""

    def __init__(self, url: str) -> None:
        self._all: WeakSet[Conn] = WeakSet()
        self._fresh = Fresh()
        self._pool: ConnectionPool[Conn] = ConnectionPool(
            **_arguments(url), configure=self._keep, check=self._check, open=True
        )

    def connection(self) -> AbstractContextManager[Conn]:
        """A connection that works, given back at the end; raises PoolTimeout or PoolClosed before it is had."""
        return self._pool.connection()

    def close(self) -> None:
        """Close what is not in use now, and the rest when it comes back."""
        self._pool.close()

    def reason(self, error: Exception) -> BaseException:
        """Why there is no connection to be had."""
        return reason(self._pool.name, error)

    def abandon(self) -> None:
        """Be of no use in a forked child, and do no harm to the parent."""
        # Or its end would wait for locks of threads that the child does not have.
        self._pool._closed = True
        abandon(self._all)

    def _keep(self, conn: Conn) -> None:
        conn.execute(SESSION_DEFAULTS)
        self._all.add(conn)

    def _check(self, conn: Conn) -> None:
        if self._fresh.lend(conn):
            return
        try:
            self._pool.check_connection(conn)
        except psycopg.OperationalError:
            # When one is broken so may be all: trying them one by one takes the pool longer each time.
            self._pool.check()
            raise


class LoopPool:
    """The connections of one event loop."""

    def __init__(self, url: str) -> None:
        self._all: WeakSet[AsyncConn] = WeakSet()
        self._fresh = Fresh()
        self._pool: AsyncConnectionPool[AsyncConn] = AsyncConnectionPool(
            **_arguments(url), configure=self._keep, check=self._check, open=False
        )

    async def open(self) -> None:
        """Make it usable, on its loop; once is enough."""
        if self._pool.closed:
            await self._pool.open()

    def connection(self) -> AbstractAsyncContextManager[AsyncConn]:
        """A connection that works, given back at the end; raises PoolTimeout or PoolClosed before it is had."""
        return self._pool.connection()

    async def close(self) -> None:
        """Close what is not in use now, and the rest when it comes back."""
        await self._pool.close()

    def finish(self) -> None:
        """Close the connections when their loop is closed, and nothing can be awaited there any more."""
        for conn in list(self._all):
            conn.pgconn.finish()

    def reason(self, error: Exception) -> BaseException:
        """Why there is no connection to be had."""
        return reason(self._pool.name, error)

    def abandon(self) -> None:
        """Be of no use in a forked child, and do no harm to the parent."""
        abandon(self._all)

    async def _keep(self, conn: AsyncConn) -> None:
        await conn.execute(SESSION_DEFAULTS)
        self._all.add(conn)

    async def _check(self, conn: AsyncConn) -> None:
        if self._fresh.lend(conn):
            return
        try:
            await self._pool.check_connection(conn)
        except psycopg.OperationalError:
            await self._pool.check()
            raise


def _arguments(url: str) -> dict[str, Any]:
    return {
        "conninfo": clean_url(url),
        "kwargs": {"autocommit": True, **connection_parameters("app")},
        "min_size": 0,
        "max_size": SIZE,
        "timeout": TIMEOUT,
        # Else its pauses grow to minutes in an outage, and last beyond it.
        "reconnect_timeout": TIMEOUT,
        "name": pool_name(),
    }


def _has_news(conn: Conn | AsyncConn) -> bool:
    if conn.closed or not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(conn.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))
