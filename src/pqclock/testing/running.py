"""Run claimed jobs in this thread, as a worker does: inside of what surrounds runs, and with reports of failures."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pqclock.loop import DatabaseClock
from pqclock.rules.job import Outcome
from pqclock.store.jobs import ClaimedJob
from pqclock.tasks.app import App
from pqclock.tasks.context import Dialogue
from pqclock.tasks.signals import Timeout
from pqclock.worker import execution, outcomes
from pqclock.worker.deadlines import Deadlines
from pqclock.worker.run import Run

Result = TypeVar("Result")
Save = Callable[[ClaimedJob, str], None]


class Still(DatabaseClock):
    """A clock that stands still."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self._still = at

    def at(self, monotonic: float) -> datetime:  # noqa: ARG002
        """The time at which it stands."""
        return self._still


def clock_at(now: datetime) -> DatabaseClock:
    """A clock that shows `now`, and goes on."""
    clock, read = DatabaseClock(), time.monotonic()
    clock.read(now, read, read)
    return clock


class Runner:
    """Runs jobs of one task: one, or for a batch task those of one call."""

    def __init__(self, app: App, jobs: Sequence[ClaimedJob], clock: DatabaseClock, save: Save) -> None:
        self._app = app
        self._task = app.tasks[jobs[0].task]
        self._runs = [Run(self._task, job, _dialogue(), time.monotonic(), clock, save) for job in jobs]

    def run(self) -> execution.Ends:
        """What each came to, and what was raised. An asynchronous handler gets an event loop of its own."""
        if self._task.is_async:
            return self._told(run_coroutine(self._ends_async()))
        return self._told(self._ends_here())

    async def run_async(self) -> execution.Ends:
        """The same on this event loop; a synchronous handler runs on it as well."""
        if self._task.is_async:
            # As a task of its own: which job runs is then not seen by the code around.
            return self._told(await asyncio.create_task(self._ends_async()))
        return self._told(self._ends_here())

    def _ends_here(self) -> execution.Ends:
        deadlines, around = self._watched(), self._app.hooks.around
        try:
            if self._task.options.batch is not None:
                return execution.run_batch_here(self._runs, around)
            return [execution.run_here(self._runs[0], around)]
        finally:
            deadlines.stop()

    async def _ends_async(self) -> execution.Ends:
        deadlines, around = self._watched(), self._app.hooks.around
        try:
            if self._task.options.batch is not None:
                return await execution.run_batch_async(self._runs, around)
            return [await execution.run_async(self._runs[0], around)]
        finally:
            deadlines.stop()

    def _watched(self) -> Deadlines:
        """Have the handler interrupted when its time is over; one that does not listen cannot be ended here."""
        deadlines, lead = Deadlines(), self._runs[0]
        if lead.timeout is not None:
            deadlines.at(lead.began + lead.timeout, lambda: lead.interrupt(Timeout))
        return deadlines

    def _told(self, ends: execution.Ends) -> execution.Ends:
        """Tell the reports; Ctrl-C, and the words of a test framework, are for the test and not for the job."""
        for run, (outcome, error) in zip(self._runs, ends, strict=True):
            if error is None:
                continue
            if _is_for_the_test(error, outcome):
                raise error
            failure = outcomes.failure(run, outcome, error)
            if failure is not None:
                self._app.hooks.tell(failure)
        return ends


def _dialogue() -> Dialogue:
    dialogue = Dialogue()
    dialogue.in_test = True
    return dialogue


def _is_for_the_test(error: BaseException, outcome: Outcome) -> bool:
    """Signals of ours are no Exception either, but their outcomes are no failures, or timeouts."""
    return not isinstance(error, Exception | Timeout) and outcome.outcome == "failed"


def run_coroutine(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run it to its end, also where an event loop runs already: then on another thread, while that loop waits."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    found: list[Result] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(coroutine)), name="pqclock-testing")
    thread.start()
    thread.join()
    return found[0]
