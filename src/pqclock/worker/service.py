"""The worker as a service: the app, the first connection, the end."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pqclock.address import Address
from pqclock.alarm_hooks import hooks_of
from pqclock.rules.pools import parse_pools
from pqclock.settings import Settings
from pqclock.store import migrate
from pqclock.store.database import connect
from pqclock.store.waiting import within
from pqclock.worker.loading import load_app
from pqclock.worker.recycling import Limits
from pqclock.worker.worker import Worker

log = logging.getLogger("pqclock.worker")


def worker_service(
    settings: Settings, address: Address, stopped: Callable[[float], bool] | None = None
) -> Worker | None:
    """A worker ready to run: its app is loaded, the database reached and its schema fit.

    None when `stopped`, which sleeps so many seconds, says that a stop was asked for before.
    """
    app = load_app(settings.app)
    if not app.tasks:
        log.warning("app %s has no tasks: this worker will never claim a job", settings.app)
    session = within(settings.wait, lambda: connect(address.url, settings.schema, "worker"), stopped)
    if session is None:
        return None
    try:
        if address.server is not None:
            migrate.migrate(session)
        migrate.check_schema(session)
    finally:
        session.close()
    return Worker(
        app, address.url, settings.schema, parse_pools(settings.queues), settings.stop_timeout, settings.app,
        limits=Limits(settings.max_jobs, settings.max_memory), poll_only=settings.poll_only,
        hooks=hooks_of(settings),
    )  # fmt: skip
