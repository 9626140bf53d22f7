"""Django's database connections between two jobs, as between two requests.

    app.around_job(connections_handed_back)

Django closes what is too old or broken at the begin and end of a request. A job is no request, so without this the
connection of a worker's thread stays as the last job has left it, for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pqclock.integrations.needing import needing
from pqclock.tasks.context import CurrentJob

with needing("django", "django"):
    import django.db
    from asgiref.sync import sync_to_async

log = logging.getLogger("pqclock.integrations.django")


class connections_handed_back:  # noqa: N801 (a context manager, which reads as a function does)
    """For `app.around_job`: before and after each run connections are closed that are broken or older than CONN_MAX_AGE.

    It looks at the connections of the thread in which the handler's queries run: for an async handler that is the one of
    `sync_to_async`. Before a run a connection that was kept is tried, if CONN_HEALTH_CHECKS does not do so already. An
    atomic block that a run has left open is rolled back after it; one that surrounds the run is left alone, and in tests
    (`drain()`, inline mode) so is everything.
    """

    def __init__(self, job: CurrentJob) -> None:
        self._job = job
        self._surrounding: set[str] = set()

    def __enter__(self) -> None:
        if self._concerned():
            self._surrounding = {conn.alias for conn in _opened() if conn.in_atomic_block}
            _begin()

    def __exit__(self, *_: object) -> None:
        if self._concerned():
            _roll_back_left_open(self._surrounding, self._job)
            _end()

    async def __aenter__(self) -> None:
        if not self._job.in_test:
            await sync_to_async(_begin, thread_sensitive=True)()

    async def __aexit__(self, *_: object) -> None:
        # Coroutines share that thread, but no atomic block of theirs can be open while another one's turn is.
        if not self._job.in_test:
            await sync_to_async(_end, thread_sensitive=True)()

    def _concerned(self) -> bool:
        return not self._job.in_test and not _on_event_loop()


def _begin() -> None:
    for conn in _idle():
        with _on_its_own(conn):
            conn.queries_log.clear()
            conn.close_if_unusable_or_obsolete()
            # No error has told yet of a connection that the server has dropped while nobody used it.
            if conn.connection is not None and not conn.health_check_enabled and not conn.is_usable():
                conn.close()


def _end() -> None:
    for conn in _idle():
        with _on_its_own(conn):
            conn.queries_log.clear()
            conn.close_if_unusable_or_obsolete()


def _roll_back_left_open(surrounding: set[str], job: CurrentJob) -> None:
    for conn in _opened():
        if conn.in_atomic_block and conn.alias not in surrounding:
            log.warning(
                "job %s (%s) left an atomic block open on the database %r: it is rolled back",
                job.id, job.task, conn.alias, extra={"job_id": job.id, "task": job.task},
            )  # fmt: skip
            _forget(conn)


def _opened() -> list[Any]:
    """This thread's connections, as far as there are any."""
    return list(django.db.connections.all(initialized_only=True))


def _idle() -> list[Any]:
    return [conn for conn in _opened() if not conn.in_atomic_block]


@contextmanager
def _on_its_own(conn: Any) -> Iterator[None]:
    """A connection that cannot be handed back is given up: the work of the job is done, and does not fail by it."""
    try:
        yield
    except Exception:
        log.exception("the connection to the database %r could not be handed back, and is given up", conn.alias)
        _forget(conn)


def _forget(conn: Any) -> None:
    """The next use opens another one."""
    try:
        conn.close()
    except Exception as error:
        log.warning("the connection to the database %r could not be closed: %s", conn.alias, error)
    finally:
        del django.db.connections[conn.alias]


def _on_event_loop() -> bool:
    """True where Django allows no query, so that no connection can be in use."""
    running: Callable[[], object] = asyncio.get_running_loop
    try:
        running()
    except RuntimeError:
        return False
    return True
