"""The worker's loop: beat, claim for what is free, sleep until something happens."""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pqclock import __version__
from pqclock.loop import DatabaseClock, Wakeup, backoff
from pqclock.rules.job import Outcome
from pqclock.rules.pools import Pool
from pqclock.store import jobs, processes, tasks
from pqclock.store.database import CONNECTION_LOST, DatabaseError, Session, connect
from pqclock.store.jobs import ClaimedJob
from pqclock.store.listening import hear, listen
from pqclock.tasks.app import App
from pqclock.tasks.task import Task
from pqclock.worker import execution
from pqclock.worker.executors import EventLoop
from pqclock.worker.finisher import Finisher
from pqclock.worker.held import Held, Holding
from pqclock.worker.pool import WorkingPool

log = logging.getLogger("pqclock.worker")

BEAT_EVERY = 5.0
POLL_EVERY = 2.0
RETRY_LIMIT = 5.0
FLUSH_WITHIN = 5.0
CLAIM_LIMIT = 200


class Worker:
    """One worker: `run()` until `stop()`."""

    def __init__(
        self, app: App, url: str, schema: str, pools: Sequence[Pool], stop_timeout: timedelta = timedelta(seconds=25)
    ) -> None:
        self._app = app
        self._url = url
        self._schema = schema
        self._stop_timeout = stop_timeout.total_seconds()
        self._pools = [WorkingPool(pool) for pool in pools]
        self._task_names = sorted(app.tasks)
        self._clock = DatabaseClock()
        self._held = Held()
        self._finisher = Finisher(url, schema, self._held, self._clock)
        self._event_loop = EventLoop()
        self._wakeup = Wakeup()
        self._stopping = threading.Event()
        self._process_id: int | None = None
        self._next_beat = 0.0
        self._next_poll = 0.0

    def stop(self) -> None:
        """Have `run()` finish what runs and return; callable from any thread and from signal handlers."""
        self._stopping.set()
        self._wakeup.wake()

    def run(self) -> bool:
        """Work until stopped; a lost database is retried for ever.

        False when handlers were still running at the end of the time that a stop gives them: their jobs went back,
        but their threads go on until the process ends.
        """
        self._finisher.start()
        failures = 0
        while not self._stopping.is_set():
            failures = self._live_and_report(failures)
            if not self._stopping.is_set():
                self._wakeup.wait(backoff(failures, RETRY_LIMIT))
        in_time = self._shut_down()
        self._wakeup.close()
        return in_time

    def _live_and_report(self, failures: int) -> int:
        try:
            session = connect(self._url, self._schema, "worker")
            try:
                self._live(session)
            finally:
                session.close()
        except CONNECTION_LOST as error:
            return self._report_loss(error, failures)
        except DatabaseError:
            log.exception("the worker met an error of the database and begins again")
            return failures + 1
        return 0

    def _report_loss(self, error: Exception, failures: int) -> int:
        if failures == 0:
            log.warning("the worker lost the database and tries again: %s", " ".join(str(error).split()))
        return failures + 1

    def _live(self, session: Session) -> None:
        """One life on one connection: claim until stopped."""
        listen(session)
        tasks.publish(session, self._app.publication())
        self._next_beat = self._next_poll = 0.0
        while not self._stopping.is_set():
            self._beat_if_due(session)
            self._poll_if_due()
            self._listen(session)
            if not self._claim(session):
                self._sleep(session)

    def _beat_if_due(self, session: Session) -> None:
        if time.monotonic() < self._next_beat:
            return
        sent = time.monotonic()
        now = None if self._process_id is None else processes.beat(session, self._process_id)
        if now is None:
            self._register(session)
        else:
            self._clock.read(now, sent, time.monotonic())
        self._next_beat = time.monotonic() + BEAT_EVERY

    def _register(self, session: Session) -> None:
        if self._process_id is not None:
            log.warning("this worker was declared dead: jobs that it still runs were given to others")
        doing = ";".join(str(pool.spec) for pool in self._pools)
        self._process_id = processes.register(
            session, "worker", pid=os.getpid(), host=socket.gethostname(), code_version=__version__, doing=doing
        )
        self._finisher.worker_id = self._process_id
        log.info("worker %s works %s", self._process_id, doing, extra={"worker_id": self._process_id})

    def _poll_if_due(self) -> None:
        if time.monotonic() >= self._next_poll:
            self._next_poll = time.monotonic() + POLL_EVERY * random.uniform(0.8, 1.0)  # noqa: S311
            for pool in self._pools:
                pool.hungry = True

    def _listen(self, session: Session) -> None:
        for payload in hear(session):
            kind, _, queue = payload.partition(" ")
            if kind == "ready":
                for pool in self._pools:
                    pool.hungry = pool.hungry or pool.works(queue)

    def _claim(self, session: Session) -> bool:
        """Claim for every pool that has room and hope; True when some pool has both still."""
        for pool in self._pools:
            room = min(pool.free, CLAIM_LIMIT)
            if pool.hungry and room > 0:
                claimed = self._claim_for(session, pool, room)
                pool.hungry = len(claimed) == room
                for job in claimed:
                    self._dispatch(job, pool)
                if claimed:
                    self._finisher.look()
        return any(pool.hungry and pool.free > 0 for pool in self._pools)

    def _claim_for(self, session: Session, pool: WorkingPool, room: int) -> list[ClaimedJob]:
        assert self._process_id is not None
        sent = time.monotonic()
        claimed = jobs.claim(
            session, pool.spec, self._task_names, room, worker_id=self._process_id, lease=secrets.randbits(62)
        )
        if claimed:
            self._clock.read(claimed[0].claimed_at, sent, time.monotonic())
        return claimed

    def _dispatch(self, job: ClaimedJob, pool: WorkingPool) -> None:
        self._held.add(job)
        pool.occupy()
        task = self._app.tasks[job.task]
        if task.is_async:
            self._event_loop.submit(self._run_async(task, job, pool))
        else:
            pool.threads.submit(self._run, task, job, pool)

    def _run(self, task: Task[..., Any], job: ClaimedJob, pool: WorkingPool) -> None:
        began = self._held.begin(job)
        if began is not None:
            self._end(execution.run(task, job, self._clock.at(began), self._clock.now), job)
        self._release(pool)

    async def _run_async(self, task: Task[..., Any], job: ClaimedJob, pool: WorkingPool) -> None:
        began = self._held.begin(job)
        if began is not None:
            self._end(await execution.run_async(task, job, self._clock.at(began), self._clock.now), job)
        self._release(pool)

    def _end(self, outcome: Outcome, job: ClaimedJob) -> None:
        if self._held.end(job):
            self._finisher.put(outcome)

    def _release(self, pool: WorkingPool) -> None:
        pool.release()
        if pool.hungry or self._stopping.is_set():
            self._wakeup.wake()

    def _sleep(self, session: Session) -> None:
        until = min(self._next_beat, self._next_poll)
        self._wakeup.wait(until - time.monotonic(), session.conn.fileno())

    def _shut_down(self) -> bool:
        for holding in self._held.close():
            self._give_back(holding)
        for pool in self._pools:
            pool.threads.stop()
        in_time = self._wait_for_handlers()
        for holding in self._held.abandon():
            log.warning("job %s still runs at the end of the stop: it goes back", holding.job.id)
            self._give_back(holding)
        self._event_loop.cancel_all()
        if not self._finisher.stop(FLUSH_WITHIN):
            log.warning("outcomes could not be written in time: the jobs will be found when their leases end")
        self._event_loop.stop()
        self._leave()
        return in_time

    def _give_back(self, holding: Holding) -> None:
        """Make the job ready again, at no cost; an attempt that began leaves a row."""
        job, began = holding.job, holding.began
        if began is None:
            outcome = Outcome(job.id, job.lease, "ready", None, charged=False)
        else:
            started_at = self._clock.at(began)
            outcome = Outcome(job.id, job.lease, "ready", "interrupted", charged=False, started_at=started_at)
        self._finisher.put(outcome)

    def _wait_for_handlers(self) -> bool:
        """Wait for what runs as long as a stop allows, with a heart that goes on beating."""
        deadline = time.monotonic() + self._stop_timeout
        while len(self._held) and time.monotonic() < deadline:
            if time.monotonic() >= self._next_beat:
                self._beat_apart()
            self._wakeup.wait(min(deadline, self._next_beat) - time.monotonic())
        return not len(self._held)

    def _beat_apart(self) -> None:
        self._next_beat = time.monotonic() + BEAT_EVERY
        self._briefly(processes.beat)

    def _leave(self) -> None:
        self._briefly(processes.leave)

    def _briefly(self, verb: Any) -> None:
        """Do something with this worker's process row on a connection of its own; it does not matter if that fails."""
        if self._process_id is None:
            return
        try:
            session = connect(self._url, self._schema, "worker")
            try:
                verb(session, self._process_id)
            finally:
                session.close()
        except (*CONNECTION_LOST, DatabaseError) as error:
            log.debug("the worker's process row could not be written: %s", error)
