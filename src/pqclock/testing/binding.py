"""An app on another database, for as long as a test lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pqclock.tasks.app import App
from pqclock.tasks.connections import Connections


@contextmanager
def bound(app: App, url: str, schema: str = "pqclock") -> Iterator[App]:
    """Have the app use this database, on connections of its own that are closed at the end.

    An event loop that enqueued closes its own before, by `await app.close_async()`, or by its end.
    """
    kept = app._database_url, app.schema, app._connections, app._published, app._unsettled
    app._database_url, app.schema, app._published, app._unsettled = url, schema, 0, set()
    app._connections = Connections(app.place)
    try:
        yield app
    finally:
        app.close()
        app._database_url, app.schema, app._connections, app._published, app._unsettled = kept
