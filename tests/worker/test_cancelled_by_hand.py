"""`app.jobs.cancel` and a handler that runs: it is told, and what it comes to is not tried again."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

from pqclock import App, current_job
from pqclock.rules.pools import parse_pools
from pqclock.worker.worker import Worker

if TYPE_CHECKING:
    from conftest import Database


def test_a_running_handler_is_told_by_the_application(database: Database) -> None:
    began, ended = threading.Event(), threading.Event()
    with closing(App(database.url)) as app:

        @app.task("long", max_attempts=5)
        def long() -> None:
            began.set()
            while not current_job().cancelled:
                ended.wait(0.01)

        handle = long.enqueue()
        worker = Worker(app, database.url, "pqclock", parse_pools("*:1"), timedelta(seconds=5))
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            assert began.wait(10)
            found = app.jobs.cancel(handle, reason="wrong month")
            assert [(job.outcome, job.state) for job in found.jobs] == [("asked", "running")]
            handle.wait(timeout=timedelta(seconds=10))
        finally:
            ended.set()
            worker.stop()
            thread.join(10)
        row = app.jobs.list().rows[0]
        assert (row.state, row.error) == ("cancelled", "cancelled by the application: wrong month")
        began.clear()
        assert app.jobs.retry(handle).done == 1
        assert app.jobs.list().rows[0].state == "ready"
