"""The worker as a service: the app, the first connection, the end."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from importlib import import_module

from pqclock.address import Address
from pqclock.errors import SettingsError
from pqclock.rules.pools import parse_pools
from pqclock.settings import Settings
from pqclock.store import migrate
from pqclock.store.database import connect
from pqclock.store.waiting import within
from pqclock.tasks.app import App
from pqclock.worker.recycling import Limits
from pqclock.worker.worker import Worker

log = logging.getLogger("pqclock.worker")


def refuse_no_app(place: str | None) -> str:
    """The place of the app; raises SettingsError where nobody named one."""
    if place is None:
        raise SettingsError(
            [
                "no app is named, so there are no tasks to run: "
                "give --app package.module:app, PQCLOCK_APP or `app` in the file"
            ]
        )
    return place


def load_app(place: str | None) -> App:
    """The App at `package.module:name`, looked up with the current folder first. Raises SettingsError."""
    place = refuse_no_app(place)
    module_name, _, attribute = place.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: object = import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise SettingsError(
            [f"app {place!r} cannot be loaded ({reason}): check the name, and run from its folder"]
        ) from error
    if not isinstance(found, App):
        raise SettingsError([f"app {place!r} is a {type(found).__name__}: name a pqclock.App"])
    return found


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
    )  # fmt: skip
