"""The connections of an app, opened at the first use: a small pool for threads, and one for each event loop."""

from __future__ import annotations

import asyncio
import atexit
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakSet

from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout

from pqclock.address import Address
from pqclock.store.callers import Params, Rows, async_caller, caller, on_callers, told
from pqclock.store.callers.on_psycopg import OnAsyncConnection, OnConnection
from pqclock.store.database import Session, connect, query, unreachable
from pqclock.tasks import sending
from pqclock.tasks.pools import AsyncConn, Conn, LoopPool, ThreadPool
from pqclock.tasks.sending import Parts
from pqclock.tasks.waking import Waking

Step = tuple[str, Params]
Result = TypeVar("Result")

# Somebody else was in the way, and nothing was written: a statement of ours is run again after a pause, so many times.
_AGAIN = (errors.DeadlockDetected, errors.SerializationFailure)
_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the tables are; the address keeps the share of an embedded server, if it is one."""

    address: Address
    schema: str


class Connections:
    """Runs the statements of an app, on its own connections or on one of the caller's.

    `find` says where the database is; it is asked at the first use, and at the first one after `close()`.
    """

    def __init__(self, find: Callable[[], Place]) -> None:
        self._find = find
        self._lock = threading.RLock()
        self._place: Place | None = None
        self._pool: ThreadPool | None = None
        self._loop_pools: dict[asyncio.AbstractEventLoop, LoopPool] = {}
        self.waking = Waking(self._connect)
        _living.add(self)

    def perform(self, steps: Generator[Step, Rows, Result]) -> Result:
        """Run the steps that a generator asks for, each with the rows of the one before; gives what it returns."""
        try:
            step = next(steps)
            while True:
                step = steps.send(self.run(*step))
        except StopIteration as end:
            result: Result = end.value
            return result

    async def perform_async(self, steps: Generator[Step, Rows, Result]) -> Result:
        """The same, on an event loop."""
        try:
            step = next(steps)
            while True:
                step = steps.send(await self.run_async(*step))
        except StopIteration as end:
            result: Result = end.value
            return result

    def run(self, statement: str, params: Params, conn: Any = None) -> Rows:
        """Execute a named statement and give its rows; in the transaction of `conn` if that is given, as `send` does."""
        text = query(statement, self._found().schema)
        if conn is not None:
            with on_callers(conn):
                return caller(conn).run(text, params)
        return self._on_own(lambda own: OnConnection(own).run(text, params))

    def send(self, statement: str, parts: Parts, conn: Any = None) -> None:
        """Execute a named statement for each of `parts`, all or none; in the transaction of `conn` if that is given.

        It may be a connection of any library that `store.callers` knows. Raises ArgumentError for what is none.
        """
        text = query(statement, self._found().schema)
        if conn is None:
            self._on_own(lambda own: sending.on_own(own, text, parts), parts.repeatable)
        else:
            with on_callers(conn):
                sending.on_callers(caller(conn), text, parts)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session on one of the app's connections, for verbs that take several statements."""
        while True:
            place, pool = self._opened()
            try:
                with pool.connection() as own, told():
                    yield Session(own, place.schema)
                    return
            except PoolClosed:
                continue
            except PoolTimeout as error:
                raise unreachable(place.address.url, pool.reason(error)) from error

    async def run_async(self, statement: str, params: Params, conn: Any = None) -> Rows:
        """The same as `run`, on an event loop."""
        text = await self._query_async(statement)
        if conn is not None:
            with on_callers(conn):
                return await async_caller(conn).run(text, params)
        return await self._on_own_async(lambda own: OnAsyncConnection(own).run(text, params))

    async def send_async(self, statement: str, parts: Parts, conn: Any = None) -> None:
        """The same as `send`, on an event loop and with an async connection."""
        text = await self._query_async(statement)
        if conn is None:
            await self._on_own_async(lambda own: sending.on_own_async(own, text, parts), parts.repeatable)
        else:
            with on_callers(conn):
                await sending.on_callers_async(async_caller(conn), text, parts)

    def close(self) -> None:
        """Close the pool of threads, and those of event loops that are closed; the others close with their loops.

        With the last pool goes the share in an embedded server.
        """
        self.waking.flush()
        with self._lock:
            self._drop_pools_of_closed_loops()
            if self._pool is not None:
                self._pool.close()
                self._pool = None
            if self._place is not None and not self._loop_pools:
                self._place.address.close()
                self._place = None

    async def close_async(self) -> None:
        """Close the pool of this event loop as well."""
        with self._lock:
            pool = self._loop_pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.close()
        self.close()

    def begin_anew_after_fork(self) -> None:
        """Forget, in a forked child, what is the parent's; the next use opens it again."""
        self._lock, self.waking = threading.RLock(), Waking(self._connect)
        place, self._place = self._place, None
        pool, self._pool = self._pool, None
        loop_pools, self._loop_pools = self._loop_pools, {}
        for inherited in loop_pools.values():
            inherited.abandon()
        if pool is not None:
            pool.abandon()
        if place is not None:
            place.address.close()

    def _connect(self) -> Session:
        place = self._found()
        return connect(place.address.url, place.schema, "app")

    def _found(self) -> Place:
        with self._lock:
            if self._place is None:
                self._place = self._find()
            return self._place

    async def _query_async(self, statement: str) -> bytes:
        # Looking for it may take a while, having found it does not.
        found = self._found() if self._place is not None else await asyncio.to_thread(self._found)
        return query(statement, found.schema)

    def _on_own(self, work: Callable[[Conn], Result], repeatable: bool = True) -> Result:
        """Do something on a connection of the app; again when others were in the way, if it is `repeatable`."""
        pauses = iter(_PAUSES if repeatable else ())
        while True:
            place, pool = self._opened()
            try:
                with pool.connection() as own, told():
                    return work(own)
            except PoolClosed:
                # Another thread closed the app just now, and nothing was run: that was no reason to fail.
                continue
            except _AGAIN:
                time.sleep(_next(pauses))
            except PoolTimeout as error:
                raise unreachable(place.address.url, pool.reason(error)) from error

    async def _on_own_async(self, work: Callable[[AsyncConn], Awaitable[Result]], repeatable: bool = True) -> Result:
        pauses = iter(_PAUSES if repeatable else ())
        while True:
            place, pool = await self._opened_on_loop()
            try:
                async with pool.connection() as own:
                    with told():
                        return await work(own)
            except PoolClosed:
                continue
            except _AGAIN:
                await asyncio.sleep(_next(pauses))
            except PoolTimeout as error:
                raise unreachable(place.address.url, pool.reason(error)) from error

    def _opened(self) -> tuple[Place, ThreadPool]:
        with self._lock:
            place = self._found()
            if self._pool is None:
                _try(place)
                self._pool = ThreadPool(place.address.url)
            return place, self._pool

    async def _opened_on_loop(self) -> tuple[Place, LoopPool]:
        loop = asyncio.get_running_loop()
        with self._lock:
            self._drop_pools_of_closed_loops()
            place, pool = self._place, self._loop_pools.get(loop)
        if place is None or pool is None:
            await asyncio.to_thread(lambda: _try(self._found()))
            with self._lock:
                place = self._found()
                pool = self._loop_pools.setdefault(loop, LoopPool(place.address.url))
        await pool.open()
        return place, pool

    def _drop_pools_of_closed_loops(self) -> None:
        for loop in [loop for loop in self._loop_pools if loop.is_closed()]:
            self._loop_pools.pop(loop).finish()


_living: WeakSet[Connections] = WeakSet()


@atexit.register
def _tell_the_last() -> None:
    for connections in list(_living):
        connections.waking.flush()


def _begin_anew_after_fork() -> None:
    for connections in list(_living):
        connections.begin_anew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_after_fork)


def _try(place: Place) -> None:
    """A first connection by hand: a wrong address fails at once and in the server's own words."""
    connect(place.address.url, place.schema, "app").close()


def _next(pauses: Iterator[float]) -> float:
    """How long to wait before it is tried again; raises what was caught when that was often enough."""
    for pause in pauses:
        return pause * random.uniform(0.5, 1.5)  # noqa: S311
    raise  # noqa: PLE0704
