"""The runs of a worker: a claimed job is given to an executor, watched while it runs, and its outcome handed over."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from pqclock.loop import DatabaseClock
from pqclock.metrics import job_metrics
from pqclock.rules.job import Outcome
from pqclock.store.jobs import ClaimedJob
from pqclock.tasks.app import App
from pqclock.tasks.signals import Cancelled, Interruption, Timeout
from pqclock.tasks.task import Task
from pqclock.worker import execution, outcomes
from pqclock.worker.children import Children, Crashed, is_suspect
from pqclock.worker.deadlines import Deadline, Deadlines
from pqclock.worker.executors import EventLoop
from pqclock.worker.finisher import Finisher
from pqclock.worker.held import Held, Holding
from pqclock.worker.pool import WorkingPool
from pqclock.worker.recycling import Limits
from pqclock.worker.reporting import Reporting
from pqclock.worker.run import Run

log = logging.getLogger("pqclock.worker")

# A handler that was told that it is cancelled, and goes on, is interrupted after so long.
INTERRUPT_CANCELLED_AFTER = 10.0
# A job that could not be begun, for want of a process or of memory, is tried again after so long.
AGAIN_AFTER = 5.0


class Runs:
    """Begins and ends runs; `released` is called when an executor is free again. At `place` child processes find the app."""

    def __init__(
        self,
        app: App,
        place: str | None,
        held: Held,
        finisher: Finisher,
        clock: DatabaseClock,
        released: Callable[[WorkingPool], None],
        limits: Limits,
    ) -> None:
        self._app = app
        self._tasks = dict(app.tasks)
        self._held = held
        self._finisher = finisher
        self._clock = clock
        self._released = released
        self._event_loop = EventLoop()
        self._children = Children(place, clock, limits)
        self._deadlines = Deadlines()
        self.reporting = Reporting(app.hooks)
        self._metrics = job_metrics()
        self.ended = 0

    def begin(self, jobs: Sequence[ClaimedJob], pool: WorkingPool) -> None:
        """Give claimed jobs to executors of their pool; what finds none waits for the next one that is free."""
        self._held.add(jobs)
        if self._metrics is not None:
            for queue, number in Counter(job.queue for job in jobs).items():
                self._metrics.claimed(queue, number)
        for job in pool.seat(jobs):
            self._dispatch(job, pool)

    def take_back(self, pool: WorkingPool) -> None:
        """Give back what waits for an executor, since none becomes free."""
        for holding in self._held.withdraw(pool.empty()):
            self.give_back(holding)

    def _dispatch(self, job: ClaimedJob, pool: WorkingPool) -> None:
        """Give a job to the executor that is its own already."""
        task = self._tasks[job.task]
        try:
            if task.is_async and not self._runs_apart(task, job):
                self._event_loop.submit(self._run_async(task, job, pool))
            else:
                pool.threads.submit(self._work, job, pool)
        except Exception:
            # No thread could be started. It may begin later all the same, and finds that it lost its job then.
            for holding in self._held.withdraw([job, *pool.empty()]):
                self.give_back(holding)
            pool.next()
            raise

    def _runs_apart(self, task: Task[..., Any], job: ClaimedJob) -> bool:
        return self._children.possible and (task.options.executor == "process" or is_suspect(job))

    def cancel(self, job_id: int) -> None:
        """Somebody cancelled a job that is held here: its handler is told, and interrupted if it goes on."""
        holding = self._held.cancel(job_id)
        if holding is None:
            return
        log.info("job %s was cancelled while it ran", job_id, extra={"job_id": job_id})
        if holding.began is None:
            job = holding.job
            self._finisher.put(Outcome(job.id, job.lease, "cancelled", None, charged=False, gated=job.gated))
        elif holding.run is not None and holding.run.task.options.batch is None:
            self._interrupt_at(time.monotonic() + INTERRUPT_CANCELLED_AFTER, holding.run, Cancelled)

    def give_back(self, holding: Holding) -> None:
        """Make the job ready again, at no cost; an attempt that began leaves a row."""
        job, began = holding.job, holding.began
        outcome = Outcome(
            job.id, job.lease, "ready", None if began is None else "interrupted", charged=False,
            started_at=None if began is None else self._clock.at(began), gated=job.gated,
            checkpoint=holding.run.checkpoint() if holding.run else None, keeps_place=True,
        )  # fmt: skip
        self._finisher.put(outcome)

    def cancel_all(self) -> None:
        """Cancel every coroutine that runs, and end every child process."""
        self._event_loop.cancel_all()
        self._children.close()

    def stop(self) -> None:
        """End the threads of this."""
        self._deadlines.stop()
        self._event_loop.stop()
        self.reporting.stop()

    def _put_off(self, job: ClaimedJob, error: BaseException) -> None:
        if self._held.end(job):
            log.error(
                "job %s (%s) could not be begun, and is tried again in %.0f s: %s",
                job.id, job.task, AGAIN_AFTER, outcomes.one_line(error),
                exc_info=None if isinstance(error, Crashed) else error, extra={"job_id": job.id},
            )  # fmt: skip
            self._finisher.put(outcomes.put_off(job, error, AGAIN_AFTER))

    def _work(self, job: ClaimedJob | None, pool: WorkingPool) -> None:
        """A thread runs a job, and then those that wait for an executor, one after the other."""
        while job is not None:
            task = self._tasks[job.task]
            apart = self._children.possible and (job.crashes > 0 or task.options.executor == "process")
            if task.is_async and not apart:
                self._hand_on(job, pool)
                return
            try:
                if apart:
                    # The thread waits for a child process, in which the handler runs.
                    self._run_alone(task, job)
                else:
                    self._run(task, job)
            except BaseException as error:
                self._put_off(job, error)
            job = self._next(pool)

    def _run(self, task: Task[..., Any], job: ClaimedJob) -> None:
        run = self._begun(task, job)
        if run is not None:
            deadline = self._watch(run)
            outcome, error = execution.run_here(run, self._app.hooks.around)
            self._end(run, outcome, error, deadline)

    def _next(self, pool: WorkingPool) -> ClaimedJob | None:
        """A job has ended: the next one for its executor, if there is one."""
        job = pool.next()
        if job is None or pool.low:
            self._released(pool)
        return job

    def _pass_on(self, pool: WorkingPool) -> None:
        job = self._next(pool)
        if job is not None:
            self._hand_on(job, pool)

    def _hand_on(self, job: ClaimedJob, pool: WorkingPool) -> None:
        try:
            self._dispatch(job, pool)
        except Exception:
            log.exception("jobs could not be begun, and go back")

    def _run_alone(self, task: Task[..., Any], job: ClaimedJob) -> None:
        try:
            child = self._children.take()
        except (Crashed, OSError) as error:
            # It is the machine that is short of something, or the app that cannot be loaded now.
            self._put_off(job, error)
            return
        run = self._begun(task, job)
        if run is None:
            self._children.put_back(child)
            return
        deadline = self._watch(run)
        outcome = self._children.run(run, child)
        if outcome.crashed:
            self._crash(run, outcome, deadline)
        else:
            self._end(run, outcome, None, deadline)
            self._children.end(child)

    def _crash(self, run: Run, outcome: Outcome, deadline: Deadline | None) -> None:
        if not self._end(run, outcome, None, deadline):
            return
        level = logging.ERROR if outcome.state == "failed" else logging.WARNING
        log.log(level, "job %s (%s) %s", run.job.id, run.job.task, outcome.error, extra={"job_id": run.job.id})
        self.reporting.tell(outcomes.crash(run, outcome), apart=False)

    async def _run_async(self, task: Task[..., Any], job: ClaimedJob, pool: WorkingPool) -> None:
        try:
            run = self._begun(task, job)
            if run is not None:
                deadline = self._watch(run)
                outcome, error = await execution.run_async(run, self._app.hooks.around)
                self._end(run, outcome, error, deadline)
        except BaseException as error:
            self._put_off(job, error)
        finally:
            self._pass_on(pool)

    def _begun(self, task: Task[..., Any], job: ClaimedJob) -> Run | None:
        """None when the job is not this worker's any more."""
        holding = self._held.begin(job)
        if holding is None or holding.began is None:
            return None
        holding.run = Run(task, job, holding, holding.began, self._clock, self._finisher.save)
        return holding.run

    def _watch(self, run: Run, batch: Sequence[Run] = ()) -> Deadline | None:
        timeout = run.timeout
        return None if timeout is None else self._interrupt_at(run.began + timeout, run, Timeout, batch)

    def _interrupt_at(self, instant: float, run: Run, kind: type[Interruption], batch: Sequence[Run] = ()) -> Deadline:
        def interrupt() -> None:
            run.interrupt(kind)
            patience = outcomes.WRITE_OFF_AFTER if run.kill is None else outcomes.KILL_AFTER
            self._deadlines.at(instant + patience, write_off)

        def write_off() -> None:
            for one in batch or (run,):
                self._write_off(one)

        return self._deadlines.at(instant, interrupt)

    def _write_off(self, run: Run) -> None:
        """Its job ends, or is tried again, while the handler goes on: what it comes to is refused."""
        error = outcomes.interrupted(run)
        outcome = outcomes.failed(run, error)
        # Before its process is killed: whoever sees that end would take it for a crash.
        waited_for = self._held.end(run.job)
        kill = run.kill
        if kill is not None:
            kill()
        if waited_for:
            outcomes.tell_of_written_off(run, killed=kill is not None)
            self._hand_over(run, outcome, error, apart=True)

    def _end(self, run: Run, outcome: Outcome, error: BaseException | None, deadline: Deadline | None) -> bool:
        """Hand the outcome over and tell of it, unless the job was taken back before: False then."""
        if deadline is not None:
            deadline.call_off()
        if not self._held.end(run.job):
            return False
        self._hand_over(run, outcome, error, apart=run.task.is_async)
        return True

    def _hand_over(self, run: Run, outcome: Outcome, error: BaseException | None, *, apart: bool) -> None:
        self.ended += 1
        self._finisher.put(outcome)
        if self._metrics is not None:
            job, began = run.job, run.started_at
            late = (began - job.run_at).total_seconds() if job.attempt == 1 else None
            took = time.monotonic() - run.began
            self._metrics.ended(job.queue, job.task, outcome.outcome or outcome.state, late, took)
        if error is None and outcome.error is None:
            return
        outcomes.report(run, outcome)
        failure = None if error is None else outcomes.failure(run, outcome, error)
        if failure is not None:
            self.reporting.tell(failure, apart=apart)
