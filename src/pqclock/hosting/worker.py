"""A worker on threads of this process."""

from __future__ import annotations

import logging
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from pqclock.address import Address
from pqclock.alarm_hooks import hooks_of
from pqclock.hosting.hosted import Hosted
from pqclock.hosting.options import settings_of
from pqclock.rules.pools import parse_pools
from pqclock.settings import Settings
from pqclock.store import migrate
from pqclock.store.database import connect
from pqclock.store.waiting import within
from pqclock.worker.worker import Worker

if TYPE_CHECKING:
    from pqclock.tasks.app import App

log = logging.getLogger("pqclock.hosting")


class HostedWorker(Hosted):
    """The worker that `app.worker(...)` gives: it runs jobs of the tasks that are registered when it starts."""

    name = "worker"

    def __init__(
        self,
        app: App,
        queues: str | None = None,
        stop_timeout: str | timedelta | None = None,
        wait: str | timedelta | None = None,
    ) -> None:
        super().__init__()
        self._app = app
        self._given = {"queues": queues, "stop_timeout": stop_timeout, "wait": wait}
        settings_of("app.worker()", self._given)

    def _prepare(self) -> _WorkerService:
        settings = settings_of("app.worker()", self._given)
        if not self._app.tasks:
            log.warning(
                "the app has no tasks, so this worker will never claim a job: import their modules before start()"
            )
        place = self._app.place()
        try:
            session = within(settings.wait, lambda: connect(place.address.url, place.schema, "worker"))
            assert session is not None, "nobody could ask for a stop"
            try:
                if place.address.server is not None:
                    migrate.migrate(session)
                migrate.check_schema(session)
            finally:
                session.close()
            return _WorkerService(self._app, place.address, place.schema, settings)
        except BaseException:
            place.address.close()
            raise


class _WorkerService:
    def __init__(self, app: App, address: Address, schema: str, settings: Settings) -> None:
        self.ends_within = settings.stop_timeout.total_seconds()
        self._address = address
        self._worker = Worker(
            app,
            address.url,
            schema,
            parse_pools(settings.queues),
            settings.stop_timeout,
            _place(app, settings.app),
            hooks=hooks_of(settings),
        )

    def run(self) -> bool:
        return self._worker.run()

    def stop(self, timeout: timedelta | None) -> None:
        self._worker.stop(timeout)

    def close(self) -> None:
        self._address.close()


def _place(app: App, named: str | None) -> str | None:
    """Where child processes find the app, if the settings name just this one; else its jobs run on threads alone."""
    module, _, attributes = (named or "").partition(":")
    found: object = sys.modules.get(module)
    for name in attributes.split("."):
        found = getattr(found, name, None)
    return named if found is app else None
