"""The worker's loop: beat, claim for what is free, sleep until something happens."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from types import MappingProxyType

from pqclock.alarm_hooks import Hook
from pqclock.alarming import Alarming
from pqclock.loop import DatabaseClock, Wakeup, backoff
from pqclock.marks import Marks
from pqclock.pulse import Pulse
from pqclock.rules.pools import Pool
from pqclock.store import gating, job_verbs, jobs, running, tasks
from pqclock.store.database import CONNECTION_LOST, DatabaseError, Session, connect
from pqclock.store.jobs import ClaimedJob
from pqclock.tasks.app import App
from pqclock.worker.batch_runs import BatchRuns
from pqclock.worker.batches import Batches
from pqclock.worker.claims import Claims
from pqclock.worker.deputy import Deputy
from pqclock.worker.finisher import Finisher
from pqclock.worker.hearing import Ear, cancelled_job
from pqclock.worker.held import Held
from pqclock.worker.low_water import LowWater
from pqclock.worker.pool import WorkingPool
from pqclock.worker.presence import Presence
from pqclock.worker.recycling import Limits

log = logging.getLogger("pqclock.worker")

NO_LIMITS = Limits()
RETRY_LIMIT = 5.0
FLUSH_WITHIN = 5.0
# Handlers have ended, but reports hear of it: they are waited for no longer than this.
TELL_WITHIN = 2.0
# What runs comes to its end before a process is replaced, unless it takes longer.
REPLACE_WITHIN = 3600.0
# Names that are looked up and several hosts that are tried take their time.
CONNECT_MAY_TAKE = 50.0


class Worker:
    """One worker: `run()` until `stop()`. Its child processes find the app at `place` (package.module:name)."""

    def __init__(
        self,
        app: App,
        url: str,
        schema: str,
        pools: Sequence[Pool],
        stop_timeout: timedelta = timedelta(seconds=25),
        place: str | None = None,
        *,
        limits: Limits = NO_LIMITS,
        poll_only: bool = False,
        hooks: Mapping[str, Hook] = MappingProxyType({}),
    ) -> None:
        self._app = app
        self._url = url
        self._schema = schema
        self._stop_timeout = stop_timeout.total_seconds()
        marks = Marks.inherited()
        self._pulse = Pulse.of(marks)
        # Where nobody could tell what had begun, the death of this process would be held against all that it has claimed.
        self._pools = [WorkingPool(pool, ahead=marks is not None) for pool in pools]
        self._clock = DatabaseClock()
        self._batches = Batches(app.tasks)
        single = sorted(name for name, task in app.tasks.items() if task.options.batch is None)
        self._claims = Claims(self._pools, single, self._clock, limits)
        self._held = Held(marks)
        self._finisher = Finisher(url, schema, self._held, self._clock, on_death=self.stop)
        does, hears = ";".join(map(str, pools)), bool(app.hooks.reports)
        self._presence = Presence(url, schema, does, self._clock, hears=hears, isolates=place is not None)
        self._wakeup = Wakeup()
        self._runs = BatchRuns(app, place, self._held, self._finisher, self._clock, self._released, limits)
        # Plain bools: a signal handler sets them, and must not wait for a lock that the interrupted code holds.
        self._stopping = self._asked = False
        self._limits = limits
        self.recycled = False
        self._ear = Ear(poll_only=poll_only)
        self._failures, self._has_worked = 0, False
        self._deputy = Deputy(Alarming(url, schema, hooks, log))
        self._low_water = LowWater(self._pools)
        self._next_poll = 0.0

    def stop(self, timeout: timedelta | None = None) -> None:
        """Have `run()` finish what runs and return; callable from any thread and from signal handlers.

        Handlers get `timeout`, or what was said at the beginning.
        """
        if timeout is not None:
            self._stop_timeout = timeout.total_seconds()
        self._asked = self._stopping = True
        self._wakeup.wake()

    def run(self) -> bool:
        """Work until stopped; a lost database is retried for ever.

        False when handlers were still running at the end of the time that a stop gives them, or longer than their
        timeouts: their jobs went elsewhere, but their threads go on until the process ends.
        """
        self._finisher.start()
        try:
            while not self._stopping:
                self._live_and_report()
                if not self._stopping:
                    self._pulse.say("waiting for the database")
                    self._wakeup.wait(backoff(self._failures - 1, RETRY_LIMIT))
        finally:
            in_time = self._shut_down()
            self._wakeup.close()
        return in_time

    def _live_and_report(self) -> None:
        """One life, and what ended it. An error of our own ends a worker that has never worked: it would come again."""
        try:
            self._pulse.turn(CONNECT_MAY_TAKE)
            session = connect(self._url, self._schema, "worker")
            try:
                self._live(session)
            finally:
                session.close()
        except CONNECTION_LOST as error:
            if self._failures == 0:
                log.warning("the worker lost the database and tries again: %s", " ".join(str(error).split()))
            self._failures += 1
        except Exception as error:
            if not (self._has_worked or isinstance(error, DatabaseError)):
                raise
            log.exception("the worker met an error and begins again")
            self._failures += 1

    def _live(self, session: Session) -> None:
        """One life on one connection: claim until stopped."""
        self._ear.begin(session)
        tasks.publish(session, self._app.publication())
        self._presence.next_beat = self._next_poll = 0.0
        self._deputy.begin()
        self._low_water.begin()
        self._pulse.say("working")
        while not self._stopping:
            # A database that is slow to answer is no reason to end handlers that run.
            self._pulse.turn(CONNECT_MAY_TAKE)
            if self._presence.beat_if_due(session):
                self._give_strays_back(session)
            self._poll_if_due(session)
            self._listen(session)
            self._claim(session)
            self._low_water.raise_marks(session, self._claims.taken, time.monotonic())
            if self._failures:
                log.info("the worker has the database again, after %s attempts", self._failures)
            self._failures, self._has_worked = 0, True
            self._pulse.reach()
            if not self._claims.hopeful():
                self._sleep(session)

    def _give_strays_back(self, session: Session) -> None:
        """Give back what a claim has taken whose reply was lost: this worker beats on, so nobody else would.

        At every beat, since the server may end such a claim later than the worker is back.
        """
        assert self._presence.process_id is not None
        self._finisher.worker_id = self._presence.process_id
        if strays := jobs.give_back(session, self._presence.process_id, self._held.known()):
            log.warning("the replies to claims of %s jobs were lost: these jobs go back", len(strays))
        # A notification may have been lost, or not come through a pooler.
        for job_id in job_verbs.asked(session, self._presence.process_id):
            self._runs.cancel(job_id)

    def _poll_if_due(self, session: Session) -> None:
        if time.monotonic() < self._next_poll:
            return
        self._next_poll = time.monotonic() + self._ear.poll_every * random.uniform(0.8, 1.0)  # noqa: S311
        gating.rouse(session)
        self._claims.look_everywhere()
        self._deputy.look(session)
        self._runs.reporting.hear_failures(session, list(self._app.tasks))
        self._want_paused_back(session)
        self._recycle_if_due()

    def _recycle_if_due(self) -> None:
        """End this process in order when it has done enough; its supervisor starts a new one."""
        reason = self._limits.reached(self._runs.ended if self._held.waiting else self._claims.taken)
        if reason is not None and not self._stopping:
            log.info("this worker ends when what runs has ended, since %s: a new process goes on", reason)
            self.recycled = self._stopping = True

    def _want_paused_back(self, session: Session) -> None:
        """A pause reaches jobs that run as well, where they pass checkpoints."""
        if ids := self._held.interruptible():
            self._held.want_back(running.paused_among(session, ids))

    def _listen(self, session: Session) -> None:
        for payload in self._ear.hear(session):
            kind, _, rest = payload.partition(" ")
            if kind in ("ready", "again", "gated"):
                self._claims.hear(kind, rest)
            elif kind == "cancelled" and (job_id := cancelled_job(rest, self._presence.process_id)) is not None:
                # It has ended without its handler, or is to end: that goes on until it asks `current_job().cancelled`.
                self._runs.cancel(job_id)

    def _claim(self, session: Session) -> None:
        """Claim for every pool that has room and hope."""
        assert self._presence.process_id is not None
        for pool in self._pools:
            if self._claims.spent:
                self._recycle_if_due()
            if self._stopping:
                return
            if pool.is_stuck(time.monotonic()):
                self._runs.take_back(pool)
            worth_it = pool.hungry or pool.look_at_gates(time.monotonic())
            claimed = self._claims.claim(session, self._presence.process_id, pool)
            if claimed:
                self._runs.begin(claimed, pool)
                self._finisher.look()
            if self._batches and (worth_it or self._batches.due()):
                self._batches.fill(pool, partial(self._claim_many, session), self._runs.begin_batch)

    def _claim_many(self, session: Session, pool: WorkingPool, task: str, limit: int) -> list[ClaimedJob]:
        assert self._presence.process_id is not None
        claimed = self._claims.claim_many(session, self._presence.process_id, pool, task, limit)
        self._held.add(claimed)
        if claimed:
            self._finisher.look()
        return claimed

    def _released(self, pool: WorkingPool) -> None:
        """An executor is free again."""
        if (
            self._stopping
            or self._claims.spent
            or ((pool.hungry or pool.at_gates or pool.openings) and pool.has_room(time.monotonic()))
        ):
            self._wakeup.wake()

    def _sleep(self, session: Session) -> None:
        """Sleep until something is due or heard. What arrived during a claim is here already, and wakes nobody."""
        self._listen(session)
        if self._claims.hopeful():
            return
        until = min(
            self._presence.next_beat, self._next_poll, *self._claims.looks_again(), *self._batches.looks_again()
        )
        self._wakeup.wait(until - time.monotonic(), session.conn.fileno())

    def _shut_down(self) -> bool:
        self._batches.close()
        for holding in self._held.close():
            self._runs.give_back(holding)
        self._held.want_back()
        for pool in self._pools:
            pool.empty()
            pool.threads.stop()
        in_time = self._wait_for_handlers()
        for holding in self._held.abandon():
            log.warning("job %s still runs at the end of the stop: it goes back", holding.job.id)
            self._runs.give_back(holding)
        self._runs.cancel_all()
        if not self._finisher.stop(FLUSH_WITHIN):
            log.warning("outcomes could not be written in time: the jobs will be found when their leases end")
        self._runs.stop()
        self._deputy.stop()
        self._presence.leave()
        return in_time

    def _wait_for_handlers(self) -> bool:
        """Wait for what runs as long as a stop allows, or a replacement, with a heart that goes on beating."""
        asked = self._asked
        self._pulse.say("waiting for running jobs")
        patience = self._stop_timeout if asked or not self.recycled else REPLACE_WITHIN
        deadline = time.monotonic() + patience
        if running := len(self._held):
            log.info("jobs that run: %s; this worker waits for them, up to %g s", running, patience)
        while len(self._held) and time.monotonic() < deadline:
            if self._asked and not asked:
                asked, deadline = True, time.monotonic() + self._stop_timeout
            if time.monotonic() >= self._presence.next_beat:
                for job_id in self._presence.beat_apart():
                    self._runs.cancel(job_id)
            self._pulse.turn()
            self._wakeup.wait(min(deadline, self._presence.next_beat) - time.monotonic())
        return not len(self._held) and self._wait_for_reports(min(deadline, time.monotonic() + TELL_WITHIN))

    def _wait_for_reports(self, deadline: float) -> bool:
        """False when executors are still taken: by reports that take long, or by handlers that do not end."""
        while not (ended := self._runs.reporting.idle and all(pool.idle for pool in self._pools)):
            if time.monotonic() >= deadline:
                break
            self._wakeup.wait(min(0.05, deadline - time.monotonic()))
        return ended
