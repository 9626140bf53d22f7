"""The connections of an app: a small pool for threads, and one for each event loop; opened at the first use."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors
from psycopg.rows import TupleRow, tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from pqclock.errors import ArgumentError, Refused
from pqclock.store.database import clean_url, connect, connection_parameters, query, unreachable

if TYPE_CHECKING:
    from pqclock.address import Address

Params = dict[str, Any]

_SIZE = 8
_TIMEOUT = 10.0


class Connections:
    """Runs the statements of an app, on its own connections or on one of the caller's."""

    def __init__(self, address: Address, schema: str) -> None:
        self.address = address  # keeps the share of an embedded server, if it is one
        self._schema = schema
        self._lock = threading.Lock()
        self._pool: ConnectionPool[psycopg.Connection[TupleRow]] | None = None
        self._async_pools: WeakKeyDictionary[
            asyncio.AbstractEventLoop, AsyncConnectionPool[psycopg.AsyncConnection[TupleRow]]
        ] = WeakKeyDictionary()

    def run(self, statement: str, params: Params, conn: Any = None) -> Sequence[tuple[Any, ...]]:
        """Execute a named statement and give its rows; in the transaction of `conn` if that is given."""
        if conn is not None:
            return self._run_on(_sync(conn), statement, params)
        with self._own() as own:
            return self._run_on(own, statement, params)

    async def run_async(self, statement: str, params: Params, conn: Any = None) -> Sequence[tuple[Any, ...]]:
        """The same, on an event loop."""
        if conn is not None:
            return await self._run_on_async(_async(conn), statement, params)
        async with self._own_async() as own:
            return await self._run_on_async(own, statement, params)

    def close(self) -> None:
        """Close the pool of threads; pools of event loops close with their loops."""
        with self._lock:
            if self._pool is not None:
                self._pool.close()
                self._pool = None

    async def close_async(self) -> None:
        """Close the pool of this event loop as well."""
        pool = self._async_pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.close()
        self.close()

    def _run_on(self, conn: psycopg.Connection[Any], statement: str, params: Params) -> Sequence[tuple[Any, ...]]:
        with _migrated(), conn.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(query(statement, self._schema), params)
            return cursor.fetchall() if cursor.description else ()

    async def _run_on_async(
        self, conn: psycopg.AsyncConnection[Any], statement: str, params: Params
    ) -> Sequence[tuple[Any, ...]]:
        with _migrated():
            async with conn.cursor(row_factory=tuple_row) as cursor:
                await cursor.execute(query(statement, self._schema), params)
                return await cursor.fetchall() if cursor.description else ()

    @contextmanager
    def _own(self) -> Iterator[psycopg.Connection[TupleRow]]:
        pool = self._opened_pool()
        try:
            with pool.connection() as conn:
                yield conn
        except PoolTimeout as error:
            raise unreachable(self.address.url, error) from error

    def _opened_pool(self) -> ConnectionPool[psycopg.Connection[TupleRow]]:
        with self._lock:
            if self._pool is None:
                self._try_address()
                self._pool = ConnectionPool(**self._pool_arguments(), open=True)
            return self._pool

    @asynccontextmanager
    async def _own_async(self) -> AsyncIterator[psycopg.AsyncConnection[TupleRow]]:
        pool = await self._opened_async_pool()
        try:
            async with pool.connection() as conn:
                yield conn
        except PoolTimeout as error:
            raise unreachable(self.address.url, error) from error

    async def _opened_async_pool(self) -> AsyncConnectionPool[psycopg.AsyncConnection[TupleRow]]:
        loop = asyncio.get_running_loop()
        if loop not in self._async_pools:
            await asyncio.to_thread(self._try_address)
        # No await between the look and the entry: of several callers one makes the pool.
        if loop not in self._async_pools:
            self._async_pools[loop] = AsyncConnectionPool(**self._pool_arguments(), open=False)
        pool = self._async_pools[loop]
        if pool.closed:
            await pool.open()
        return pool

    def _try_address(self) -> None:
        """A first connection by hand: a wrong address fails at once and in the server's own words."""
        connect(self.address.url, self._schema, "app").close()

    def _pool_arguments(self) -> dict[str, Any]:
        return {
            "conninfo": clean_url(self.address.url),
            "kwargs": {"autocommit": True, **connection_parameters("app")},
            "min_size": 0,
            "max_size": _SIZE,
            "timeout": _TIMEOUT,
            "name": "pqclock",
        }


@contextmanager
def _migrated() -> Iterator[None]:
    """Tell what is to be done about a database that lacks our tables or functions."""
    try:
        yield
    except (errors.UndefinedTable, errors.UndefinedFunction, errors.InvalidSchemaName) as error:
        raise Refused("the database has no tables of pqclock, or old ones: run `pqclock migrate`") from error


def _sync(conn: Any) -> psycopg.Connection[Any]:
    if not isinstance(conn, psycopg.Connection):
        raise ArgumentError(
            f"conn is of type {type(conn).__name__}: pass a psycopg.Connection, or an AsyncConnection to enqueue_async"
        )
    return conn


def _async(conn: Any) -> psycopg.AsyncConnection[Any]:
    if not isinstance(conn, psycopg.AsyncConnection):
        raise ArgumentError(f"conn is of type {type(conn).__name__}: pass a psycopg.AsyncConnection to enqueue_async")
    return conn
