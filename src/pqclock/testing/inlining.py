"""Inline mode: a job is run by its enqueue, without a database; its arguments are checked and pass through JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pqclock import loop
from pqclock.errors import UnknownTask
from pqclock.rules.job import Outcome
from pqclock.store.jobs import ClaimedJob, JobResult, NewJob
from pqclock.tasks.app import App
from pqclock.tasks.handle import JobHandle
from pqclock.testing.running import Runner, clock_at

_QUEUE = "default"

End = tuple[Outcome, BaseException | None]


class Inline:
    """Runs jobs at once, in order; a job that a handler enqueues runs before the handler goes on."""

    def __init__(self, app: App, raise_errors: bool) -> None:
        self._app = app
        self._raise_errors = raise_errors
        self._results: dict[int, JobResult] = {}

    def run(self, jobs: Sequence[NewJob]) -> list[JobHandle]:
        """Run each; what a handler raises is raised, unless it is a signal."""
        return [self._ended(job, self._end(self._prepared(job))) for job in jobs]

    async def run_async(self, jobs: Sequence[NewJob]) -> list[JobHandle]:
        """The same, on this event loop."""
        return [self._ended(job, await self._end_async(self._prepared(job))) for job in jobs]

    def result(self, job_id: int) -> JobResult | None:
        """What a job came to."""
        return self._results.get(job_id)

    def _end(self, job: ClaimedJob) -> End:
        """The end of a job; one that gives its place back at a checkpoint goes on at once."""
        (end,) = self._runner(job).run()
        while end[0].state == "ready":
            (end,) = self._runner(_further(job, end[0])).run()
        return end

    async def _end_async(self, job: ClaimedJob) -> End:
        (end,) = await self._runner(job).run_async()
        while end[0].state == "ready":
            (end,) = await self._runner(_further(job, end[0])).run_async()
        return end

    def _runner(self, job: ClaimedJob) -> Runner:
        return Runner(self._app, [job], clock_at(loop.now()), lambda _job, _checkpoint: None)

    def _prepared(self, job: NewJob) -> ClaimedJob:
        task = self._app.tasks.get(job.task)
        if task is None:
            raise UnknownTask(f"task {job.task!r} is not registered, so it cannot be run inline")
        now, number = loop.now(), -1 - len(self._results)
        # Below zero: no job of a database has such an id.
        self._results[number] = JobResult(number, "running", None, None)
        run_at = job.run_at or (now + job.delay if job.delay else now)
        return ClaimedJob(
            id=number, task=task.name, args=job.args, queue=job.queue or task.queue or _QUEUE,
            priority=job.priority or task.priority or 0, labels=list(task.labels or ()), attempt=1,
            max_attempts=job.max_attempts or (task.retry.most if task.retry else 1), crashes=0, lease=0,
            run_at=run_at, schedule_id=None, tick=None, claimed_at=now, ready_seq=0, run_options=None, checkpoint=None,
            schedule_key=None,
        )  # fmt: skip

    def _ended(self, job: NewJob, end: End) -> JobHandle:
        outcome, error = end
        ended = outcome.outcome in ("succeeded", "cancelled")
        state = str(outcome.outcome) if ended or outcome.outcome == "snoozed" else "failed"
        result = None if outcome.result is None else json.loads(outcome.result)
        number = outcome.job_id
        self._results[number] = JobResult(number, "scheduled" if state == "snoozed" else state, result, outcome.error)
        if state == "failed" and self._raise_errors:
            if error is not None:
                raise error
            raise RuntimeError(f"job of task {job.task!r}: {outcome.error}")
        return JobHandle(number, True, self._results[number].state, self._app)


def _further(job: ClaimedJob, outcome: Outcome) -> ClaimedJob:
    return job._replace(checkpoint=json.loads(outcome.checkpoint)) if outcome.checkpoint else job


@contextmanager
def inline(app: App, *, raise_errors: bool = True) -> Iterator[App]:
    """Have the app run jobs at their enqueue, in this process, without a database, at once whatever their `run_at`.

    Handles know the result. There are no retries, no unique keys and no gates. With `raise_errors` what a handler
    raises comes out of the enqueue; else the handle's state is `failed`. A job that raises Snooze is left `scheduled`.
    """
    before = app.inline
    app.inline = Inline(app, raise_errors)
    try:
        yield app
    finally:
        app.inline = before
