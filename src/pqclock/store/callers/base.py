"""What a connection of a caller must be able to do, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import Any, Protocol

from pqclock.errors import ArgumentError, Refused

Params = Mapping[str, Any]
Rows = Sequence[Sequence[Any]]

_NOT_MIGRATED = ("42P01", "42883", "3F000")
_MARK = re.compile(r"%\((\w+)\)s")


class Caller(Protocol):
    """A connection of a caller, in whatever transaction it is."""

    def run(self, text: bytes, params: Params) -> Rows:
        """Execute a statement with marks like %(name)s, and give its rows."""

    def block(self) -> AbstractContextManager[Any]:
        """What is run inside is undone by an error, and the transaction around it goes on."""


class AsyncCaller(Protocol):
    """The same on an event loop."""

    async def run(self, text: bytes, params: Params) -> Rows:
        """Execute a statement with marks like %(name)s, and give its rows."""

    def block(self) -> AbstractAsyncContextManager[Any]:
        """What is run inside is undone by an error, and the transaction around it goes on."""


def with_marks(text: bytes, mark: Callable[[str], str]) -> str:
    """The statement with the marks of another driver."""
    return _MARK.sub(lambda found: mark(found[1]), text.decode())


@contextmanager
def told() -> Iterator[None]:
    """Tell what is to be done about a database that lacks our tables or functions."""
    try:
        yield
    except Exception as error:
        if sqlstate(error) in _NOT_MIGRATED:
            raise Refused("the database has no tables of pqclock, or old ones: run `pqclock migrate`") from error
        raise


@contextmanager
def on_callers(conn: object) -> Iterator[None]:
    """Tell what is wrong with a transaction of a caller that cannot take a job."""
    kind = type(conn).__name__
    problems = {
        "25P02": "is in a transaction that has failed: roll it back first",
        "25006": "is in a transaction that is read-only: pass a connection that may write",
        "25P01": "is in no transaction, which that many jobs need: begin one",
    }
    try:
        with told():
            yield
    except Exception as error:
        problem = problems.get(sqlstate(error) or "")
        if problem is None:
            raise
        raise ArgumentError(f"conn, of type {kind}, {problem}") from error


def sqlstate(error: BaseException | None) -> str | None:
    """The code of the server's error behind an exception, under whatever it was wrapped in."""
    while error is not None:
        # The drivers have one name for it, or the other.
        code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if isinstance(code, str):
            return code
        error = error.__cause__
    return None


def refused(conn: object, problem: str) -> ArgumentError:
    """The error for a connection that is of no use."""
    return ArgumentError(f"conn, of type {type(conn).__name__}, {problem}")
