"""What an enqueue gives back: wait for the job, fetch its result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pqclock.errors import JobFailed, JobNotFinished, UnknownJob
from pqclock.rules.durations import parse_duration
from pqclock.rules.job import TERMINAL

if TYPE_CHECKING:
    from pqclock.store.jobs import JobResult
    from pqclock.tasks.app import App


@dataclass(frozen=True, slots=True)
class JobHandle:
    """A job by its id; `inserted` says whether this call inserted it, or it was there with the same unique key.

    `state` is the one that it was in then; `gone` for one that was there, and whose history was dropped.
    """

    id: int
    inserted: bool
    state: str
    app: App = field(repr=False, compare=False)

    def wait(self, timeout: str | timedelta | float | None = None) -> str:
        """Wait until the job has ended; gives its state. Raises JobNotFinished after `timeout` (None: never)."""
        for pause in pauses(timeout):
            found = self._found(self.app.job_result(self.id))
            if found.state in TERMINAL:
                return found.state
            time.sleep(pause)
        raise self._not_finished(timeout)

    async def wait_async(self, timeout: str | timedelta | float | None = None) -> str:
        """The same, on an event loop."""
        for pause in pauses(timeout):
            found = self._found(await self.app.job_result_async(self.id))
            if found.state in TERMINAL:
                return found.state
            await asyncio.sleep(pause)
        raise self._not_finished(timeout)

    def result(self, timeout: str | timedelta | float | None = 0.0) -> Any:
        """What the handler returned, as JSON values; waits up to `timeout` for the end (default: not at all).

        Raises JobFailed when the job ended in another state than `succeeded`, JobNotFinished when it has not ended.
        """
        self.wait(timeout)
        return self._value(self._found(self.app.job_result(self.id)))

    async def result_async(self, timeout: str | timedelta | float | None = 0.0) -> Any:
        """The same, on an event loop."""
        await self.wait_async(timeout)
        return self._value(self._found(await self.app.job_result_async(self.id)))

    def _found(self, found: JobResult | None) -> JobResult:
        if found is None:
            raise UnknownJob(
                f"job {self.id} is not in the database: its transaction was rolled back or not committed yet, "
                f"or its history was dropped"
            )
        return found

    def _value(self, found: JobResult) -> Any:
        if found.state != "succeeded":
            raise JobFailed(
                f"job {self.id} {found.state}: {found.error or 'no reason given'}", found.state, found.error
            )
        return found.result

    def _not_finished(self, timeout: object) -> JobNotFinished:
        return JobNotFinished(
            f"job {self.id} has not ended within {timeout}: wait longer, or see `pqclock jobs show {self.id}`"
        )


def pauses(timeout: str | timedelta | float | None) -> Iterator[float]:
    """Pauses between looks, from 5 ms up to a quarter of a second; ends when the time is over, with one last look."""
    if isinstance(timeout, str | timedelta):
        timeout = parse_duration(timeout).total_seconds()
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = 0.005
    while True:
        left = pause if deadline is None else deadline - time.monotonic()
        yield max(0.0, min(pause, left))
        if left <= 0:
            return
        pause = min(pause * 1.5, 0.25)
