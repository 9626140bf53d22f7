"""The connections of callers: our statements run in their transactions, whatever library has opened them.

    psycopg      Connection, AsyncConnection
    SQLAlchemy   Connection, Session, scoped_session; AsyncConnection, AsyncSession, async_scoped_session
    Django       django.db.connection, connections["alias"], or the alias itself as a text
    asyncpg      Connection, or one of its pool

A statement that is to run there takes texts alone, which every driver sends alike. An object is known by the types of
its library, and nothing is imported that the caller has not imported.
"""

from __future__ import annotations

from pqclock.store.callers.base import AsyncCaller, Caller, Params, Rows, on_callers, told
from pqclock.store.callers.finding import async_caller, caller

__all__ = ["AsyncCaller", "Caller", "Params", "Rows", "async_caller", "caller", "on_callers", "told"]
