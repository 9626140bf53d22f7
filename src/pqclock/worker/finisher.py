"""Write outcomes in batches: one statement for all that gathered while the last one was written."""

from __future__ import annotations

import logging
import queue
import threading
from enum import Enum

from pqclock.loop import DatabaseClock, backoff
from pqclock.rules.job import Outcome
from pqclock.store import jobs
from pqclock.store.database import CONNECTION_LOST, DatabaseError, Session, connect
from pqclock.worker.held import Held

log = logging.getLogger("pqclock.worker")

BATCH = 500
RETRY_LIMIT = 5.0
# The start of a job that runs longer than this is written while it runs; for the others the end says it all.
NOTE_START_AFTER = 0.2
LOOK_EVERY = 0.25


class _Word(Enum):
    LOOK = "there are jobs whose start may have to be written"
    END = "there will be no more outcomes"


class Finisher:
    """A thread with its own connection that writes outcomes, and keeps them for as long as the database is away."""

    def __init__(self, url: str, schema: str, held: Held, clock: DatabaseClock) -> None:
        self._url = url
        self._schema = schema
        self._held = held
        self._clock = clock
        self.worker_id = 0
        self._inbox: queue.SimpleQueue[Outcome | _Word] = queue.SimpleQueue()
        self._session: Session | None = None
        self._batch: list[Outcome] = []
        self._closing = False
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pqclock-finisher", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, outcome: Outcome) -> None:
        """Hand an outcome over; never waits."""
        self._inbox.put(outcome)

    def look(self) -> None:
        """Jobs begin: watch for those that run long."""
        self._inbox.put(_Word.LOOK)

    def stop(self, timeout: float) -> bool:
        """Write what there is and end; False when that did not succeed in time."""
        self._inbox.put(_Word.END)
        self._thread.join(timeout)
        self._given_up.set()
        return not self._thread.is_alive()

    def _run(self) -> None:
        failures = 0
        while not (self._closing and not self._batch) and not self._given_up.is_set():
            self._gather()
            try:
                self._write()
                failures = 0
            except CONNECTION_LOST as error:
                failures = self._wait_after(error, failures)
            except DatabaseError:
                self._write_singly()
        if self._session is not None:
            self._session.close()

    def _gather(self) -> None:
        """Wait for an outcome, then take all that are there; outcomes left from a failed write go first."""
        wait = None if not len(self._held) else LOOK_EVERY
        try:
            if not self._batch and not self._closing:
                self._take(self._inbox.get(timeout=wait))
            while len(self._batch) < BATCH:
                self._take(self._inbox.get_nowait())
        except queue.Empty:
            pass

    def _take(self, message: Outcome | _Word) -> None:
        if isinstance(message, Outcome):
            self._batch.append(message)
        elif message is _Word.END:
            self._closing = True

    def _write(self) -> None:
        if self._batch:
            accepted = jobs.finish(self._opened(), self._batch, self.worker_id)
            for outcome in self._batch:
                if outcome.job_id not in accepted:
                    _report_lost(outcome)
            self._batch = []
        starts = [
            (holding.job.id, holding.job.lease, self._clock.at(holding.began))
            for holding in self._held.unnoted(NOTE_START_AFTER)
            if holding.began is not None
        ]
        if starts:
            jobs.note_starts(self._opened(), starts)

    def _write_singly(self) -> None:
        """One outcome spoils the batch for a reason of its own: write them one by one, and that one without its texts."""
        log.exception("a batch of %s outcomes was refused by the database: writing them one by one", len(self._batch))
        for outcome in self._batch:
            try:
                jobs.finish(self._opened(), [outcome], self.worker_id)
            except DatabaseError as error:
                log.error("the outcome of job %s cannot be written: %s", outcome.job_id, error)
                jobs.finish(self._opened(), [_bare(outcome)], self.worker_id)
        self._batch = []

    def _opened(self) -> Session:
        if self._session is None:
            self._session = connect(self._url, self._schema, "finisher")
        return self._session

    def _wait_after(self, error: Exception, failures: int) -> int:
        if failures == 0:
            log.warning("outcomes wait for the database: %s", " ".join(str(error).split()))
        if self._session is not None:
            self._session.close()
            self._session = None
        self._given_up.wait(backoff(failures, RETRY_LIMIT))
        return failures + 1


def _bare(outcome: Outcome) -> Outcome:
    return Outcome(
        outcome.job_id, outcome.lease, outcome.state, outcome.outcome, charged=outcome.charged, delay=outcome.delay,
        error="its outcome could not be stored", started_at=outcome.started_at, finished_at=outcome.finished_at,
    )  # fmt: skip


def _report_lost(outcome: Outcome) -> None:
    log.warning(
        "the outcome of job %s (%s) is refused: its lease was lost, the job belongs to another worker or has ended",
        outcome.job_id, outcome.state, extra={"job_id": outcome.job_id},
    )  # fmt: skip
