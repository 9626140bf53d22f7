"""Check-ins: a service elsewhere hears when the run of a schedule's tick begins and how it ends, and misses it when it does not.

They are sent by a thread of their own, off the path of the job, and a service that is away fails no job.
"""

from __future__ import annotations

import atexit
import json
import logging
import queue
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

from pqclock.rules.monitors import Monitored, monitored
from pqclock.rules.schedule import Schedule
from pqclock.tasks.app import App
from pqclock.tasks.context import CurrentJob
from pqclock.tasks.hooks import Failure
from pqclock.tasks.signals import Cancel

log = logging.getLogger("pqclock.integrations.checkins")

MOST_WAITING = 1_000
# So many seconds at the end of the process, for what was not sent yet.
FLUSH_WITHIN = 3.0
# What is known of a schedule, until it is looked at again.
KNOWN_FOR = 300.0
MOST_KNOWN = 1_000

BEGUN, SUCCEEDED, FAILED = "begun", "succeeded", "failed"


@dataclass(frozen=True, slots=True)
class CheckIn:
    """What became of the run of a tick: begun, succeeded or failed; `seconds` is how long it took, at its end.

    `id` is the same for all check-ins of a job; `schedule` is None where others cannot read its times.
    """

    key: str
    id: uuid.UUID
    status: str
    seconds: float | None
    message: str
    schedule: Monitored | None


class Service(Protocol):
    """Where check-ins go."""

    def send(self, checked: CheckIn) -> None:
        """Send one; whatever it raises is logged."""


class CheckIns:
    """The hooks of an app: `around` for around_job, `report` for on_error."""

    def __init__(self, app: App, service: Service, schedules: Iterable[str] = ("*",)) -> None:
        self._app = app
        self._service = service
        self._patterns = (schedules,) if isinstance(schedules, str) else tuple(schedules)
        self._waiting: queue.Queue[tuple[str, int, str, float | None, str] | None] = queue.Queue(MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._known: dict[str, tuple[float, Monitored | None]] = {}

    @contextmanager
    def around(self, job: CurrentJob) -> Iterator[None]:
        """Check in when the run of a tick begins, and when it has succeeded or ended as it wished."""
        if job.schedule_key is None or job.tick is None or not self._wants(job.schedule_key):
            yield
            return
        began = time.monotonic()
        self._put(job.schedule_key, job.id, BEGUN)
        try:
            yield
        except Cancel:
            self._put(job.schedule_key, job.id, SUCCEEDED, time.monotonic() - began)
            raise
        self._put(job.schedule_key, job.id, SUCCEEDED, time.monotonic() - began)

    def report(self, failure: Failure) -> None:
        """Check in when a run has failed for good."""
        job = failure.job
        if job is None or failure.retry_in is not None or job.schedule_key is None or job.tick is None:
            return
        if self._wants(job.schedule_key):
            self._put(job.schedule_key, job.id, FAILED, message=failure.message)

    def _wants(self, key: str) -> bool:
        return any(fnmatchcase(key, pattern) for pattern in self._patterns)

    def _put(self, key: str, job_id: int, status: str, seconds: float | None = None, message: str = "") -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pqclock-checkins", daemon=True)
                self._thread.start()
                atexit.register(self._flush)
        try:
            self._waiting.put_nowait((key, job_id, status, seconds, message))
        except queue.Full:
            log.warning("a check-in of schedule %s is left out: %s others wait to be sent", key, MOST_WAITING)

    def _run(self) -> None:
        while (one := self._waiting.get()) is not None:
            key, job_id, status, seconds, message = one
            try:
                found = uuid.uuid5(uuid.NAMESPACE_OID, f"pqclock job {job_id}")
                self._service.send(CheckIn(key, found, status, seconds, message, self._schedule(key)))
            except Exception as error:
                log.warning("a check-in of schedule %s was not sent: %s", key, " ".join(str(error).split()))

    def _schedule(self, key: str) -> Monitored | None:
        """What the database says of the schedule, asked now and then."""
        at, found = self._known.get(key, (0.0, None))
        if at and time.monotonic() < at + KNOWN_FOR:
            return found
        rows = self._app.connections.run("runtime.find", {"key": key})
        definition: Any = rows[0][1] if rows else None
        if isinstance(definition, str):
            definition = json.loads(definition)
        found = monitored(Schedule.from_definition(key, definition)) if definition else None
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[key] = (time.monotonic(), found)
        return found

    def _flush(self) -> None:
        thread = self._thread
        if thread is not None and thread.is_alive():
            try:
                self._waiting.put(None, timeout=FLUSH_WITHIN)
            except queue.Full:
                return
            thread.join(FLUSH_WITHIN)


def checked_in(app: App, service: Service, schedules: Iterable[str]) -> CheckIns:
    """Have the runs of these schedules' ticks checked in; patterns such as `billing-*`."""
    made = CheckIns(app, service, schedules)
    app.around_job(made.around)
    app.on_error(made.report)
    return made
