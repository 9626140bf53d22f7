"""One statement for the parts of something large, all or none; while the server works, the next part is made."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain, islice
from typing import Protocol

from pqclock.store.callers import AsyncCaller, Caller, Params, Rows, on_psycopg
from pqclock.tasks.pools import AsyncConn, Conn

# Parts that the server has, and has not answered yet: one to work on, and one that waits for that.
_AHEAD = 2


class Parts(Protocol):
    """What is sent part by part; the one who sends it says what came back, in the same order."""

    @property
    def repeatable(self) -> bool:
        """Whether it can begin anew."""

    def begin(self) -> Iterator[Params | None]:
        """The parameters of each part, from the first one on; there is at least one.

        None where those before it must have been answered before the next one can be made.
        """

    def take(self, rows: Rows) -> None:
        """Note the rows of the next part; an exception undoes all of them."""


def on_own(conn: Conn, text: bytes, parts: Parts) -> None:
    """On an autocommit connection of ours: several parts make a transaction."""
    params, more = _first_two(parts)
    if not more:
        parts.take(on_psycopg.OnConnection(conn).run(text, _only(params)))
        return
    with conn.transaction(), conn.pipeline():
        sent = deque[on_psycopg.Sent]()
        for part in params:
            if part is not None:
                sent.append(on_psycopg.Sent(conn, text, part))
            while len(sent) > (_AHEAD if part is not None else 0):
                parts.take(sent.popleft().rows())
        for answer in sent:
            parts.take(answer.rows())


async def on_own_async(conn: AsyncConn, text: bytes, parts: Parts) -> None:
    """The same on an event loop."""
    params, more = _first_two(parts)
    if not more:
        parts.take(await on_psycopg.OnAsyncConnection(conn).run(text, _only(params)))
        return
    async with conn.transaction(), conn.pipeline():
        sent = deque[on_psycopg.AsyncSent]()
        for part in params:
            if part is not None:
                sent.append(await on_psycopg.AsyncSent.of(conn, text, part))
            while len(sent) > (_AHEAD if part is not None else 0):
                parts.take(await sent.popleft().rows())
        for answer in sent:
            parts.take(await answer.rows())


def on_callers(caller: Caller, text: bytes, parts: Parts) -> None:
    """On a connection of the caller's: what is undone leaves the rest of its transaction alone."""
    params, more = _first_two(parts)
    if not more:
        parts.take(caller.run(text, _only(params)))
        return
    with caller.block():
        for part in params:
            if part is not None:
                parts.take(caller.run(text, part))


async def on_callers_async(caller: AsyncCaller, text: bytes, parts: Parts) -> None:
    """The same on an event loop."""
    params, more = _first_two(parts)
    if not more:
        parts.take(await caller.run(text, _only(params)))
        return
    async with caller.block():
        for part in params:
            if part is not None:
                parts.take(await caller.run(text, part))


def _only(params: Iterator[Params | None]) -> Params:
    part = next(params)
    assert part is not None
    return part


def _first_two(parts: Parts) -> tuple[Iterator[Params | None], bool]:
    """The parameters of all parts, and whether there are two or more."""
    params = parts.begin()
    first = list(islice(params, 2))
    return chain(first, params), len(first) > 1
