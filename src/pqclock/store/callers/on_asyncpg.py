"""asyncpg: connections of its own, where no SQLAlchemy is above them."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from pqclock.store.callers.base import Params, Rows, refused, with_marks


class OnConnection:
    """A Connection, or one that a pool has lent."""

    def __init__(self, conn: Any) -> None:
        if conn.is_closed():
            raise refused(conn, "is closed: pass an open one")
        self._conn = conn

    async def run(self, text: bytes, params: Params) -> Rows:
        """Execute a statement and give its rows."""
        numbers = {name: number for number, name in enumerate(params, 1)}
        numbered = with_marks(text, lambda name: f"(${numbers[name]})")
        rows = await self._conn.fetch(numbered, *params.values())
        return [tuple(row) for row in rows]

    def block(self) -> AbstractAsyncContextManager[Any]:
        """A savepoint, or a transaction if there is none."""
        block: AbstractAsyncContextManager[Any] = self._conn.transaction()
        return block
