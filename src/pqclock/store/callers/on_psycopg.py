"""psycopg: our own driver."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from pqclock.store.callers.base import Params, Rows, refused

_CLOSED = "is closed: pass an open one"


class OnConnection:
    """A psycopg.Connection, with whatever row factory."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        if conn.closed:
            raise refused(conn, _CLOSED)
        self._conn = conn

    def run(self, text: bytes, params: Params) -> Rows:
        """Execute a statement and give its rows."""
        with self._conn.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(text, params)
            return cursor.fetchall() if _has_rows(cursor) else ()

    def block(self) -> AbstractContextManager[Any]:
        """A savepoint, or a transaction if there is none."""
        return self._conn.transaction()


class OnAsyncConnection:
    """A psycopg.AsyncConnection, with whatever row factory."""

    def __init__(self, conn: psycopg.AsyncConnection[Any]) -> None:
        if conn.closed:
            raise refused(conn, _CLOSED)
        self._conn = conn

    async def run(self, text: bytes, params: Params) -> Rows:
        """Execute a statement and give its rows."""
        async with self._conn.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(text, params)
            return await cursor.fetchall() if _has_rows(cursor) else ()

    def block(self) -> AbstractAsyncContextManager[Any]:
        """A savepoint, or a transaction if there is none."""
        return self._conn.transaction()


class Sent:
    """A statement that was sent in a pipeline; its rows are waited for when they are asked for."""

    def __init__(self, conn: psycopg.Connection[Any], text: bytes, params: Params) -> None:
        self._cursor = conn.cursor(row_factory=tuple_row)
        self._cursor.execute(text, params)

    def rows(self) -> Rows:
        """The rows of it, when it has been run."""
        with self._cursor as cursor:
            return cursor.fetchall()


class AsyncSent:
    """The same on an event loop."""

    def __init__(self, cursor: psycopg.AsyncCursor[tuple[Any, ...]]) -> None:
        self._cursor = cursor

    @classmethod
    async def of(cls, conn: psycopg.AsyncConnection[Any], text: bytes, params: Params) -> AsyncSent:
        """Send it."""
        return cls(await conn.cursor(row_factory=tuple_row).execute(text, params))

    async def rows(self) -> Rows:
        """The rows of it, when it has been run."""
        async with self._cursor as cursor:
            return await cursor.fetchall()


def _has_rows(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> bool:
    # `description` would make an object of each column.
    return cursor.pgresult is not None and cursor.pgresult.nfields > 0
