"""The runs of batch tasks: one call for many jobs, each of which has an end of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pqclock.store.jobs import ClaimedJob
from pqclock.tasks.task import Task
from pqclock.worker import execution, outcomes
from pqclock.worker.children import is_suspect
from pqclock.worker.deadlines import Deadline
from pqclock.worker.held import Holding
from pqclock.worker.pool import Seat
from pqclock.worker.run import Run
from pqclock.worker.runs import Runs


class BatchRuns(Runs):
    """Runs of jobs one by one, and of many at once."""

    def begin_batch(self, task: Task[..., Any], batch: Sequence[ClaimedJob], seat: Seat) -> None:
        """Give jobs of a batch task, which are held already, to one executor, whose seat is taken already."""
        try:
            if task.is_async and not self._suspects(batch):
                self._event_loop.submit(self._run_batch_async(task, batch, seat))
            elif task.is_async:
                seat.pool.threads.submit(self._run_batch_apart, task, batch, seat)
            else:
                seat.pool.threads.submit(self._run_batch, task, batch, seat)
        except Exception:
            for job in batch:
                if self._held.end(job):
                    self.give_back(Holding(job))
            if seat.leave():
                self._pass_on(seat.pool)
            raise

    @contextmanager
    def _seated(self, seat: Seat, *jobs: ClaimedJob) -> Iterator[None]:
        """Jobs are with an executor. Handlers' errors do not come here: whatever does costs no job."""
        try:
            yield
        except BaseException as error:
            for job in jobs:
                self._put_off(job, error)
        finally:
            if seat.leave():
                self._pass_on(seat.pool)

    def _suspects(self, batch: Sequence[ClaimedJob]) -> list[ClaimedJob]:
        """Jobs that nobody else is to share a process with."""
        return [job for job in batch if self._children.possible and is_suspect(job)]

    def _unsuspected(self, batch: Sequence[ClaimedJob]) -> list[ClaimedJob]:
        return [job for job in batch if not (self._children.possible and is_suspect(job))]

    def _run_batch(self, task: Task[..., Any], batch: Sequence[ClaimedJob], seat: Seat) -> None:
        with self._seated(seat, *batch):
            for suspect in self._suspects(batch):
                self._run_alone(task, suspect)
            runs = self._begun_batch(task, self._unsuspected(batch))
            if runs:
                deadline = self._watch(runs[0], runs)
                self._end_batch(runs, execution.run_batch_here(runs, self._app.hooks.around), deadline)

    def _run_batch_apart(self, task: Task[..., Any], batch: Sequence[ClaimedJob], seat: Seat) -> None:
        """An asynchronous batch with jobs under suspicion: these go first, each in a child, then the others together."""
        try:
            for suspect in self._suspects(batch):
                self._run_alone(task, suspect)
            self._event_loop.submit(self._run_batch_async(task, self._unsuspected(batch), seat))
        except BaseException as error:
            with self._seated(seat, *batch):
                raise error

    async def _run_batch_async(self, task: Task[..., Any], batch: Sequence[ClaimedJob], seat: Seat) -> None:
        with self._seated(seat, *batch):
            runs = self._begun_batch(task, batch)
            if runs:
                deadline = self._watch(runs[0], runs)
                self._end_batch(runs, await execution.run_batch_async(runs, self._app.hooks.around), deadline)

    def _begun_batch(self, task: Task[..., Any], batch: Sequence[ClaimedJob]) -> list[Run]:
        """Those that are this worker's still; what cannot be read fails by itself, and spoils no other."""
        readable: list[Run] = []
        for run in filter(None, [self._begun(task, job) for job in batch]):
            error = execution.unreadable(run)
            if error is None:
                readable.append(run)
            else:
                self._end(run, outcomes.failed(run, error), error, None)
        return readable

    def _end_batch(self, runs: Sequence[Run], ends: execution.Ends, deadline: Deadline | None) -> None:
        for run, (outcome, error) in zip(runs, ends, strict=True):
            self._end(run, outcome, error, deadline)
