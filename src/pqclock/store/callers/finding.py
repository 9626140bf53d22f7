"""Which library a connection comes from: told by its type, without an import of what is not there."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, NamedTuple

from pqclock.errors import ArgumentError
from pqclock.store.callers.base import AsyncCaller, Caller

_HERE = __package__
_SYNC_VERBS = "enqueue() and enqueue_many()"
_ASYNC_VERBS = "enqueue_async() and enqueue_many_async()"


class Family(NamedTuple):
    """Types of one module, and the class here that runs statements on them."""

    module: str
    types: tuple[str, ...]
    is_async: bool
    ours: str


_FAMILIES = (
    Family("psycopg", ("Connection",), False, "on_psycopg.OnConnection"),
    Family("psycopg", ("AsyncConnection",), True, "on_psycopg.OnAsyncConnection"),
    Family("sqlalchemy.engine", ("Connection",), False, "on_sqlalchemy.OnConnection"),
    Family("sqlalchemy.orm", ("Session", "scoped_session"), False, "on_sqlalchemy.OnSession"),
    Family("sqlalchemy.ext.asyncio", ("AsyncConnection",), True, "on_sqlalchemy.OnAsyncConnection"),
    Family("sqlalchemy.ext.asyncio", ("AsyncSession", "async_scoped_session"), True, "on_sqlalchemy.OnAsyncSession"),
    Family("django.db.backends.base.base", ("BaseDatabaseWrapper",), False, "on_django.OnDatabase"),
    Family("django.utils.connection", ("ConnectionProxy",), False, "on_django.OnDatabase"),
    Family("asyncpg", ("Connection",), True, "on_asyncpg.OnConnection"),
    Family("asyncpg.pool", ("PoolConnectionProxy",), True, "on_asyncpg.OnConnection"),
)
# What is passed by mistake, with what is meant.
_NEARLY = (
    ("psycopg_pool", ("ConnectionPool", "AsyncConnectionPool"), "a connection of the pool"),
    ("sqlalchemy.engine", ("Engine",), "a Connection of the engine, or a Session"),
    ("sqlalchemy.ext.asyncio", ("AsyncEngine",), "an AsyncConnection of the engine, or an AsyncSession"),
    ("sqlalchemy.orm", ("sessionmaker",), "a Session that it has made"),
    ("sqlalchemy.ext.asyncio", ("async_sessionmaker",), "an AsyncSession that it has made"),
    ("asyncpg.pool", ("Pool",), "a connection of the pool"),
)


def caller(conn: Any) -> Caller:
    """Runs statements on a sync connection of the caller; raises ArgumentError for what is none, or is of no use."""
    if isinstance(conn, str):
        return import_module(f"{_HERE}.on_django").OnDatabase.of_alias(conn)  # type: ignore[no-any-return]
    family = _family_of(conn)
    if family.is_async:
        raise ArgumentError(
            f"conn, of type {type(conn).__name__}, is async: await {_ASYNC_VERBS} with it, or pass a sync connection"
        )
    return _ours(family, conn)  # type: ignore[no-any-return]


def async_caller(conn: Any) -> AsyncCaller:
    """The same for an event loop."""
    family = None if isinstance(conn, str) else _family_of(conn)
    if family is None or not family.is_async:
        what = f"{conn!r:.60}, a database of Django," if family is None else f"conn, of type {type(conn).__name__},"
        raise ArgumentError(f"{what} is sync: call {_SYNC_VERBS} with it, or pass an async connection")
    return _ours(family, conn)  # type: ignore[no-any-return]


def _family_of(conn: Any) -> Family:
    for family in _FAMILIES:
        if _is_one(conn, family.module, family.types):
            return family
    for module, types, meant in _NEARLY:
        if _is_one(conn, module, types):
            raise ArgumentError(f"conn is of type {type(conn).__name__}, which has no transaction: pass {meant}")
    raise ArgumentError(
        f"conn is of type {type(conn).__name__}: pass a connection of psycopg or asyncpg, a connection or session of "
        f"SQLAlchemy, or django.db.connection"
    )


def _is_one(conn: Any, module: str, types: tuple[str, ...]) -> bool:
    # Whoever has such an object has imported its library.
    found = sys.modules.get(module)
    return found is not None and isinstance(conn, tuple(getattr(found, name) for name in types if hasattr(found, name)))


def _ours(family: Family, conn: Any) -> Any:
    module, name = family.ours.split(".")
    return getattr(import_module(f"{_HERE}.{module}"), name)(conn)
