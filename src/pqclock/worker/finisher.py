"""Write outcomes in batches: one statement for all that gathered while the last one was written."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from pqclock.loop import DatabaseClock, backoff
from pqclock.rules.job import Outcome
from pqclock.store import finishing, running
from pqclock.store.database import CONNECTION_LOST, Session, connect
from pqclock.store.jobs import ClaimedJob
from pqclock.worker.children import reconsidered
from pqclock.worker.held import Held

log = logging.getLogger("pqclock.worker")

BATCH = 2_000
RETRY_LIMIT = 5.0
# The start of a job that runs longer than this is written while it runs; for the others the end says it all.
NOTE_START_AFTER = 0.2
LOOK_EVERY = 0.25
NOTE_EVERY = 0.05
# An outcome that is refused even without its texts is tried again after so long, and holds up no other meanwhile.
ASIDE_FOR = 30.0
# The server's state is to blame, not the outcome: it is read-only, a table or a right is missing, the disk is full.
NOT_NOW = ("25006", "3F", "42", "53")


@dataclass(frozen=True, slots=True)
class _Reached:
    """How far a job has come that goes on running."""

    job_id: int
    lease: int
    checkpoint: str


class _Word(Enum):
    LOOK = "there are jobs whose start may have to be written"
    END = "there will be no more outcomes"


class Finisher:
    """A thread with its own connection that writes outcomes, and keeps them for as long as the database is away.

    `on_death` is called when the thread ends without having been asked to.
    """

    def __init__(self, url: str, schema: str, held: Held, clock: DatabaseClock, on_death: Callable[[], None]) -> None:
        self._url = url
        self._schema = schema
        self._held = held
        self._clock = clock
        self._on_death = on_death
        self.worker_id = 0
        self._inbox: queue.SimpleQueue[Outcome | _Reached | _Word] = queue.SimpleQueue()
        self._reached: dict[int, _Reached] = {}
        self._session: Session | None = None
        self._batch: list[Outcome] = []
        self._aside: list[Outcome] = []
        self._aside_until = 0.0
        self._next_note = 0.0
        # The last write failed: perhaps it was done all the same, and only the reply is missing.
        self._in_doubt = False
        self._closing = False
        self._ending = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pqclock-finisher", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, outcome: Outcome) -> None:
        """Hand an outcome over; never waits."""
        self._inbox.put(outcome)

    def save(self, job: ClaimedJob, checkpoint: str) -> None:
        """Write how far a job has come, as JSON text; never waits."""
        self._inbox.put(_Reached(job.id, job.lease, checkpoint))

    def look(self) -> None:
        """Jobs begin: watch for those that run long."""
        self._inbox.put(_Word.LOOK)

    def stop(self, timeout: float) -> bool:
        """Write what there is and end; False when that did not succeed in time."""
        self._ending.set()
        self._inbox.put(_Word.END)
        self._thread.join(timeout)
        self._given_up.set()
        return not (self._thread.is_alive() or self._batch or self._aside)

    def _run(self) -> None:
        try:
            self._write_until_stopped()
        finally:
            if self._session is not None:
                self._session.close()
            if not (self._closing or self._given_up.is_set()):
                log.critical("outcomes can no longer be written: this worker ends")
                self._on_death()

    def _write_until_stopped(self) -> None:
        failures = 0
        while not (self._closing and not self._batch) and not self._given_up.is_set():
            self._gather()
            try:
                self._write()
                self._note_starts()
                self._save_checkpoints()
                failures = 0
            except Exception as error:
                failures = self._wait_after(error, failures)

    def _gather(self) -> None:
        """Wait for an outcome, then take all that are there; outcomes left from a failed write go first."""
        try:
            if not self._batch and not self._closing:
                self._take(self._inbox.get(timeout=LOOK_EVERY if len(self._held) or self._aside else None))
            while len(self._batch) < BATCH:
                self._take(self._inbox.get_nowait())
        except queue.Empty:
            pass
        if self._aside and (self._closing or time.monotonic() >= self._aside_until):
            self._batch += self._aside
            self._aside = []

    def _take(self, message: Outcome | _Reached | _Word) -> None:
        if isinstance(message, Outcome):
            self._batch.append(message)
            self._reached.pop(message.job_id, None)
        elif isinstance(message, _Reached):
            self._reached[message.job_id] = message
        elif message is _Word.END:
            self._closing = True

    def _write(self) -> None:
        if not self._batch:
            return
        try:
            self._reconsider()
            accepted = finishing.finish(self._opened(), self._batch, self.worker_id)
        except Exception as error:
            if _must_wait(error):
                raise
            log.exception("a batch of %s outcomes was refused: writing them one by one", len(self._batch))
            for outcome in list(self._batch):
                self._write_one(outcome)
        else:
            self._settle(list(self._batch), accepted)
        self._in_doubt = False

    def _reconsider(self) -> None:
        if not any(o.crashed for o in self._batch):
            return
        last = [(o.job_id, o.lease) for o in self._batch if o.crashed and o.state == "failed"]
        if last:
            counted = running.crashes(self._opened(), last)
            self._batch = [
                reconsidered(o, counted[o.job_id]) if (o.job_id, o.lease) in last and o.job_id in counted else o
                for o in self._batch
            ]

    def _write_one(self, outcome: Outcome) -> None:
        """Write an outcome that may have spoilt its batch: as it is, else without its texts, else later."""
        for form in (outcome, _bare(outcome)):
            try:
                accepted = finishing.finish(self._opened(), [form], self.worker_id)
            except Exception as error:
                if _must_wait(error):
                    raise
                log.error("the outcome of job %s cannot be written: %s", outcome.job_id, error)
            else:
                return self._settle([outcome], accepted)
        self._batch.remove(outcome)
        self._aside.append(outcome)
        self._aside_until = time.monotonic() + ASIDE_FOR
        return None

    def _settle(self, outcomes: Sequence[Outcome], accepted: set[int]) -> None:
        """Let go of outcomes that the database has seen, whether it took them or not."""
        refused: list[Outcome] = []
        if len(accepted) < len(outcomes):
            refused = [outcome for outcome in outcomes if outcome.job_id not in accepted]
        written = finishing.written(self._opened(), refused) if refused and self._in_doubt else set()
        for outcome in refused:
            if outcome.job_id not in written:
                _report_lost(outcome)
        if len(outcomes) == len(self._batch):
            self._batch = []
        else:
            settled = {(outcome.job_id, outcome.lease) for outcome in outcomes}
            self._batch = [o for o in self._batch if (o.job_id, o.lease) not in settled]
        self._held.settle(outcomes)
        self._warn_of_cools([outcome for outcome in outcomes if outcome.cools and outcome.job_id in accepted])

    def _warn_of_cools(self, outcomes: Sequence[Outcome]) -> None:
        """Nothing is closed by a cooldown of what nobody has declared."""
        if not outcomes:
            return
        from pqclock.store import gates

        undeclared = gates.undeclared(
            self._opened(), {outcome.cools.partition(":")[0] for outcome in outcomes if outcome.cools}
        )
        for outcome in outcomes:
            if outcome.cools and outcome.cools.partition(":")[0] in undeclared:
                log.warning(
                    "job %s raised Cooldown(%r), but no throttle or fuse of that name is declared: nothing was closed",
                    outcome.job_id, outcome.cools, extra={"job_id": outcome.job_id},
                )  # fmt: skip

    def _note_starts(self) -> None:
        # To look through all that runs costs as much as to write what ended.
        if time.monotonic() < self._next_note:
            return
        self._next_note = time.monotonic() + NOTE_EVERY
        late = [(holding, holding.began) for holding in self._held.unnoted(NOTE_START_AFTER)]
        starts = [(h.job.id, h.job.lease, self._clock.at(began)) for h, began in late if began is not None]
        if starts:
            running.note_starts(self._opened(), starts)
        for holding, _ in late:
            holding.noted = True

    def _save_checkpoints(self) -> None:
        if self._reached:
            running.save(self._opened(), [(r.job_id, r.lease, r.checkpoint) for r in self._reached.values()])
            self._reached.clear()

    def _opened(self) -> Session:
        if self._session is None:
            self._session = connect(self._url, self._schema, "finisher")
        return self._session

    def _wait_after(self, error: Exception, failures: int) -> int:
        """Begin again on a new connection: what refused this one may be another server's state by then."""
        self._in_doubt = True
        if not _must_wait(error):
            log.exception("outcomes could not be written, and are tried again")
        elif failures == 1:
            # A connection that broke when nobody needed it is replaced, and that is that.
            log.warning("outcomes wait for the database: %s", " ".join(str(error).split()))
        if self._session is not None:
            self._session.close()
            self._session = None
        if not self._ending.wait(backoff(failures, RETRY_LIMIT)):
            return failures + 1
        # There is not much time left.
        self._given_up.wait(min(backoff(failures, RETRY_LIMIT), LOOK_EVERY))
        return failures + 1


def _must_wait(error: Exception) -> bool:
    """True when the same outcomes may be accepted later, as they are."""
    return isinstance(error, CONNECTION_LOST) or (getattr(error, "sqlstate", None) or "").startswith(NOT_NOW)


def _bare(outcome: Outcome) -> Outcome:
    return Outcome(
        outcome.job_id, outcome.lease, outcome.state, outcome.outcome, charged=outcome.charged, delay=outcome.delay,
        error="its outcome could not be stored", started_at=outcome.started_at, finished_at=outcome.finished_at,
        gated=outcome.gated, kept=outcome.kept,
    )  # fmt: skip


def _report_lost(outcome: Outcome) -> None:
    log.warning(
        "the outcome of job %s (%s) is refused: its lease was lost, the job belongs to another worker or has ended",
        outcome.job_id, outcome.state, extra={"job_id": outcome.job_id},
    )  # fmt: skip
