"""Connections of the libraries that callers use, each with the verbs that a test needs of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

import asyncpg
import django
import psycopg
import sqlalchemy
from django.conf import settings
from django.db import connection, connections, transaction
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker


class Way(NamedTuple):
    """`conn` is what goes into `conn=`, in a transaction; the others belong to it."""

    conn: Any
    execute: Callable[[str], Any]
    commit: Callable[[], Any]
    rollback: Callable[[], Any]
    close: Callable[[], Any]


class AsyncWay(NamedTuple):
    """The same, to be awaited."""

    conn: Any
    execute: Callable[[str], Awaitable[Any]]
    commit: Callable[[], Awaitable[Any]]
    rollback: Callable[[], Awaitable[Any]]
    close: Callable[[], Awaitable[Any]]


@contextmanager
def on_psycopg(url: str) -> Iterator[Way]:
    with psycopg.connect(url) as conn:
        yield Way(conn, lambda text: conn.execute(text.encode()), conn.commit, conn.rollback, conn.close)


@contextmanager
def engine(url: str) -> Iterator[sqlalchemy.Engine]:
    made = sqlalchemy.create_engine("postgresql+psycopg://", connect_args=conninfo_to_dict(url))
    try:
        yield made
    finally:
        made.dispose()


@contextmanager
def on_connection(url: str) -> Iterator[Way]:
    with engine(url) as made, made.connect() as conn:
        yield Way(conn, lambda text: conn.execute(sqlalchemy.text(text)), conn.commit, conn.rollback, conn.close)


@contextmanager
def on_session(url: str) -> Iterator[Way]:
    with engine(url) as made, Session(made, close_resets_only=False) as session:
        yield Way(
            session,
            lambda text: session.execute(sqlalchemy.text(text)),
            session.commit,
            session.rollback,
            session.close,
        )


@contextmanager
def on_scoped_session(url: str) -> Iterator[Way]:
    with engine(url) as made:
        session = scoped_session(sessionmaker(made, close_resets_only=False))
        yield Way(
            session,
            lambda text: session.execute(sqlalchemy.text(text)),
            session.commit,
            session.rollback,
            session.close,
        )
        session.remove()


@contextmanager
def django_database(url: str) -> Iterator[None]:
    """Django's `default` is this database, and `lite` one of another kind."""
    if not settings.configured:
        databases = {
            "default": {"ENGINE": "django.db.backends.postgresql"},
            "lite": {"ENGINE": "django.db.backends.sqlite3"},
        }
        settings.configure(DATABASES=databases, USE_TZ=True, LOGGING_CONFIG=None)
        django.setup()
    found = conninfo_to_dict(url)
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    connections.settings["default"].update({key: str(found.get(name, "")) for key, name in names.items()})
    try:
        yield
    finally:
        connections.close_all()
        for alias in ("default", "lite"):
            if hasattr(connections._connections, alias):
                del connections[alias]


@contextmanager
def on_django(url: str, conn: Any = connection) -> Iterator[Way]:
    with django_database(url):
        opened: list[Any] = []

        def begin() -> None:
            opened.append(transaction.atomic())
            opened[-1].__enter__()

        def end(undo: bool) -> None:
            transaction.set_rollback(undo or transaction.get_rollback())
            opened.pop().__exit__(None, None, None)
            begin()

        begin()
        yield Way(conn, execute_on_django, lambda: end(False), lambda: end(True), connection.close)
        with contextlib.suppress(Exception):
            opened.pop().__exit__(None, None, None)


def execute_on_django(text: str) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(text)
    except Exception:
        transaction.set_rollback(True)
        raise


@contextmanager
def on_django_alias(url: str) -> Iterator[Way]:
    with on_django(url, "default") as way:
        yield way


WAYS = {
    "psycopg": on_psycopg,
    "sqlalchemy-connection": on_connection,
    "sqlalchemy-session": on_session,
    "sqlalchemy-scoped-session": on_scoped_session,
    "django": on_django,
    "django-alias": on_django_alias,
}


@asynccontextmanager
async def on_async_psycopg(url: str) -> AsyncIterator[AsyncWay]:
    async with await psycopg.AsyncConnection.connect(url) as conn:
        yield AsyncWay(conn, lambda text: conn.execute(text.encode()), conn.commit, conn.rollback, conn.close)


def asyncpg_address(url: str) -> dict[str, Any]:
    found = conninfo_to_dict(url)
    return {"database" if key == "dbname" else key: value for key, value in found.items()}


@asynccontextmanager
async def on_asyncpg(url: str) -> AsyncIterator[AsyncWay]:
    conn = await asyncpg.connect(**asyncpg_address(url))
    open_now = [conn.transaction()]
    await open_now[0].start()

    async def end(verb: str) -> None:
        await getattr(open_now.pop(), verb)()
        open_now.append(conn.transaction())
        await open_now[0].start()

    yield AsyncWay(conn, conn.execute, lambda: end("commit"), lambda: end("rollback"), conn.close)
    await conn.close()


def _on_sqlalchemy(driver: str, kind: str) -> Any:
    @asynccontextmanager
    async def way(url: str) -> AsyncIterator[AsyncWay]:
        address = asyncpg_address(url) if driver == "asyncpg" else conninfo_to_dict(url)
        made = create_async_engine(f"postgresql+{driver}://", connect_args=address)
        maker = async_sessionmaker(made, close_resets_only=False)
        conn: Any
        if kind == "connection":
            conn = await made.connect()
        elif kind == "session":
            conn = AsyncSession(made, close_resets_only=False)
        else:
            conn = async_scoped_session(maker, scopefunc=lambda: 1)
        yield AsyncWay(conn, lambda text: conn.execute(sqlalchemy.text(text)), conn.commit, conn.rollback, conn.close)
        await conn.close()
        await made.dispose()

    return way


ASYNC_WAYS: dict[str, Any] = {
    "psycopg": on_async_psycopg,
    "asyncpg": on_asyncpg,
    **{
        f"sqlalchemy-{kind}-{driver}": _on_sqlalchemy(driver, kind)
        for driver in ("psycopg", "asyncpg")
        for kind in ("connection", "session")
    },
    "sqlalchemy-scoped-session-asyncpg": _on_sqlalchemy("asyncpg", "scoped_session"),
}
