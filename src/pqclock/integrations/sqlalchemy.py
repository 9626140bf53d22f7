"""SQLAlchemy's sessions of a scope, removed after each run.

    app.around_job(sessions_handed_back(Session))

A session that a handler has left open would keep its transaction, its connection and its objects for the next job of the
thread. Engines need nothing: child processes of a worker are no forks, and make their own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pqclock.errors import ArgumentError
from pqclock.integrations.needing import needing
from pqclock.tasks.context import CurrentJob

with needing("sqlalchemy", "sqlalchemy"):
    from sqlalchemy.ext.asyncio import async_scoped_session
    from sqlalchemy.orm import scoped_session
    from sqlalchemy.util import ThreadLocalRegistry

log = logging.getLogger("pqclock.integrations.sqlalchemy")

Registry = scoped_session[Any] | async_scoped_session[Any]


def sessions_handed_back(*registries: Registry) -> Callable[[CurrentJob], SessionsHandedBack]:
    """For `app.around_job`, before whatever else uses sessions: each is removed before and after every run.

    What a run has not committed is rolled back. A `scoped_session` is that of the handler's thread, or of its own
    `scopefunc`; async handlers share a thread, so that theirs are an `async_scoped_session`, or a `scoped_session` with a
    scopefunc. In tests (`drain()`, inline mode) a session that was there before is the test's, and left alone.
    Raises ArgumentError for what is neither.
    """
    if not registries:
        raise ArgumentError("sessions_handed_back() was given nothing: pass a scoped_session or async_scoped_session")
    for registry in registries:
        if not isinstance(registry, scoped_session | async_scoped_session):
            raise ArgumentError(
                f"sessions_handed_back({registry!r:.60}) must be given a scoped_session or an async_scoped_session, "
                f"not a {type(registry).__name__}: a session that is not of a scope is closed by its own `with`"
            )
    return lambda job: SessionsHandedBack(job, registries)


class SessionsHandedBack:
    """One run; a context manager for `with` and for `async with`."""

    def __init__(self, job: CurrentJob, registries: tuple[Registry, ...]) -> None:
        self._job = job
        self._registries = registries
        self._ours: list[Registry] = []

    def __enter__(self) -> None:
        for registry in self._registries:
            if isinstance(registry, scoped_session) and self._is_ours(registry):
                self._ours.append(registry)
                _remove(registry)

    def __exit__(self, *_: object) -> None:
        for registry in self._ours:
            if isinstance(registry, scoped_session):
                _remove(registry)

    async def __aenter__(self) -> None:
        for registry in self._registries:
            # What is the thread's belongs to all coroutines, and to none of them.
            if not isinstance(registry.registry, ThreadLocalRegistry) and self._is_ours(registry):
                self._ours.append(registry)
                await _remove_async(registry)

    async def __aexit__(self, *_: object) -> None:
        for registry in self._ours:
            await _remove_async(registry)

    def _is_ours(self, registry: Registry) -> bool:
        return not (self._job.in_test and registry.registry.has())


def _remove(registry: scoped_session[Any]) -> None:
    """The work of the job is done, or has failed already: it does not fail by this."""
    try:
        registry.remove()
    except Exception:
        log.exception("a session could not be closed, and is given up")
        registry.registry.clear()


async def _remove_async(registry: Registry) -> None:
    if isinstance(registry, scoped_session):
        _remove(registry)
        return
    if not registry.registry.has():
        return
    session = registry()
    # Found here: the scope may be that of this very coroutine.
    registry.registry.clear()
    try:
        # The connection goes back although the run is being cancelled.
        await asyncio.shield(session.close())
    except Exception:
        log.exception("a session could not be closed, and is given up")
