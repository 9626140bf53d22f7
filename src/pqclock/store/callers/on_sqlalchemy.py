"""SQLAlchemy: connections and sessions, sync and async, on any of its drivers for PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import cache
from typing import Any

import sqlalchemy
from sqlalchemy.engine import Connection
from sqlalchemy.exc import InvalidRequestError, PendingRollbackError, ResourceClosedError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from pqclock.store.callers.base import Params, Rows, refused, with_marks


class OnConnection:
    """A Connection."""

    def __init__(self, conn: Connection) -> None:
        _check(conn, conn)
        self._conn = conn

    def run(self, text: bytes, params: Params) -> Rows:
        """Execute a statement and give its rows."""
        with _usable(self._conn):
            return self._conn.execute(_clause(text), dict(params)).all()

    def block(self) -> AbstractContextManager[Any]:
        """A savepoint."""
        return self._conn.begin_nested()


class OnSession:
    """A Session, or one of a scope, through the connection that its transaction is on."""

    def __init__(self, session: Session | scoped_session[Any]) -> None:
        self._session = session

    def run(self, text: bytes, params: Params) -> Rows:
        """Execute a statement and give its rows."""
        return self._on().run(text, params)

    @contextmanager
    def block(self) -> Iterator[None]:
        """A savepoint."""
        with self._on().block():
            yield

    def _on(self) -> OnConnection:
        with _usable(self._session):
            conn = self._session.connection()
        _check(conn, self._session)
        return OnConnection(conn)


class OnAsyncConnection:
    """An AsyncConnection."""

    def __init__(self, conn: AsyncConnection) -> None:
        _check(conn, conn)
        self._conn = conn

    async def run(self, text: bytes, params: Params) -> Rows:
        """Execute a statement and give its rows."""
        with _usable(self._conn):
            return (await self._conn.execute(_clause(text), dict(params))).all()

    @asynccontextmanager
    async def block(self) -> AsyncIterator[None]:
        """A savepoint."""
        async with self._conn.begin_nested():
            yield


class OnAsyncSession:
    """An AsyncSession, or one of a scope, through the connection that its transaction is on."""

    def __init__(self, session: AsyncSession | async_scoped_session[Any]) -> None:
        self._session = session

    async def run(self, text: bytes, params: Params) -> Rows:
        """Execute a statement and give its rows."""
        return await (await self._on()).run(text, params)

    @asynccontextmanager
    async def block(self) -> AsyncIterator[None]:
        """A savepoint."""
        async with (await self._on()).block():
            yield

    async def _on(self) -> OnAsyncConnection:
        with _usable(self._session):
            conn = await self._session.connection()
        _check(conn, self._session)
        return OnAsyncConnection(conn)


@cache
def _clause(text: bytes) -> sqlalchemy.TextClause:
    # The parentheses keep the name apart from a cast.
    return sqlalchemy.text(with_marks(text, lambda name: f"(:{name})"))


def _check(conn: Connection | AsyncConnection, given: object) -> None:
    if conn.closed:
        raise refused(given, "is closed: pass an open one")
    if conn.dialect.name != "postgresql":
        raise refused(given, f"leads to {conn.dialect.name}: jobs can only be put into PostgreSQL")


@contextmanager
def _usable(conn: object) -> Iterator[None]:
    try:
        yield
    except PendingRollbackError as error:
        raise refused(conn, "is in a transaction that has failed: roll it back first") from error
    except ResourceClosedError as error:
        raise refused(conn, "is closed: pass an open one") from error
    except InvalidRequestError as error:
        raise refused(conn, f"cannot be used now: {' '.join(str(error).split())}") from error
