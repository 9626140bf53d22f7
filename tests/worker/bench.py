"""A worker in a thread of the test, on a real database; conditions are waited for, never slept for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import psycopg

from conftest import Database
from pqclock import App
from pqclock.rules.pools import parse_pools
from pqclock.store import jobs
from pqclock.store.jobs import NewJob
from pqclock.worker.worker import Worker
from processes.fleet import eventually

ROLE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"


class Bench:
    """An app whose jobs one worker runs, as long as the test lasts."""

    def __init__(self, database: Database, app: App | None = None, place: str | None = None) -> None:
        self.database = database
        self.app = app or App(database.url)
        self._place = place
        self.raised: BaseException | None = None
        self._threads: list[tuple[Worker, threading.Thread]] = []

    def start(self, pools: str = "*:2", stop_timeout: float = 1.0, *, wait: bool = True, **options: Any) -> Worker:
        """Start a worker, and wait until it is there."""
        worker = Worker(
            self.app, self.database.url, "pqclock", parse_pools(pools), timedelta(seconds=stop_timeout), self._place,
            **options,
        )  # fmt: skip
        thread = threading.Thread(target=self._run, args=[worker])
        self._threads.append((worker, thread))
        thread.start()
        count = len(self._threads)
        if wait:
            eventually(
                lambda: self.database.value("SELECT count(*) FROM pqclock.process WHERE kind = 'worker'") == count
            )
        return worker

    def _run(self, worker: Worker) -> None:
        try:
            worker.run()
        except BaseException as error:
            self.raised = error

    def ended(self) -> bool:
        """True when every worker's `run()` has ended."""
        return not any(thread.is_alive() for _, thread in self._threads)

    def put(self, task: str, args: str = "{}", **options: Any) -> int:
        """Enqueue a job; gives its id."""
        return jobs.insert(self.database.session, [NewJob(task, args, **options)])[0][0]

    def state(self, job_id: int) -> object:
        """Where a job stands."""
        return self.database.value("SELECT state FROM pqclock.jobs WHERE id = %s", job_id)

    def error(self, job_id: int) -> str:
        """What is noted about how it went."""
        return str(self.database.value("SELECT error FROM pqclock.jobs WHERE id = %s", job_id))

    def comes_to(self, job_id: int, *states: str, within: float = 5.0) -> object:
        """Wait until the job is in one of the states; gives the state."""
        eventually(lambda: self.state(job_id) in states, within)
        return self.state(job_id)

    def attempts(self, job_id: int) -> list[object]:
        """The outcomes of its attempts, in order."""
        rows = "SELECT outcome FROM pqclock.attempt WHERE job_id = %s ORDER BY finished_at"
        return [outcome for (outcome,) in self.database.rows(rows, job_id)]

    def cut(self, role: str) -> int:
        """End the connections of a role (`worker` or `finisher`), as a server's restart does; gives their number."""
        return len(self.database.rows(ROLE, f"pqclock {role}"))

    def end(self) -> None:
        """Stop the workers."""
        for worker, _ in self._threads:
            worker.stop()
        for _, thread in self._threads:
            thread.join(15)
        self.app.close()
        assert self.ended()


def reply_lost(verb: Callable[..., Any], times: int = 1) -> Callable[..., Any]:
    """A verb of the store that is done, but whose reply does not arrive; the first `times` that it gives something."""
    left = [None] * times

    def lossy(*args: Any, **options: Any) -> Any:
        reply = verb(*args, **options)
        if reply and left:
            left.pop()
            raise psycopg.OperationalError("the reply is lost")
        return reply

    return lossy


def messages(records: Sequence[Any], level: int) -> list[str]:
    """The log's messages from this level on."""
    return [record.getMessage() for record in records if record.levelno >= level]
