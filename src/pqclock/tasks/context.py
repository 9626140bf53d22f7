"""Which job runs here: `current_job()` inside a handler, sync or async; and what is said to it from outside."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from pqclock.errors import ArgumentError, LeaseLost
from pqclock.tasks.checkpoints import Checkpoint

if TYPE_CHECKING:
    from pqclock.tasks.connections import Connections

log = logging.getLogger("pqclock.job")


class Teller(Protocol):
    """Whoever is told how far a run has come."""

    @property
    def connections(self) -> Connections:
        """Those of its app."""

    def progress(self, done: int | None, total: int | None) -> None:
        """It has come so far."""

    def step(self, point: Checkpoint, conn: Any) -> tuple[str, dict[str, Any], Any]:
        """The statement that writes a checkpoint in the handler's own transaction, with its parameters and where."""


class Dialogue:
    """What is said between a run and those outside: it is cancelled, or wanted back; it has come so far.

    `heard` says whether the handler has asked and was told that it is cancelled.
    """

    # One is made for every job: what is as it is for most of them costs nothing.
    cancelled = False
    """True once what this run comes to counts no more, or is not wished any more."""
    heard = False
    wanted_back = False
    # Passes on what is said to a handler in another process.
    elsewhere: Callable[[str], None] | None = None
    teller: Teller | None = None
    # The testing kit runs it, on the thread of whoever asked for it.
    in_test = False

    def cancel(self) -> None:
        """Tell the handler that it may end."""
        self.cancelled = True
        if self.elsewhere is not None:
            self.elsewhere("cancel")

    def want_back(self) -> None:
        """Have the job go back at its next checkpoint."""
        self.wanted_back = True
        if self.elsewhere is not None:
            self.elsewhere("want back")


@dataclass(frozen=True, slots=True)
class CurrentJob:
    """The job whose handler calls; `tick` (UTC) and `schedule_key` are None for a job that no schedule made.

    `granted_at` is when its start was granted, by the database's clock: limits on starts hold for that instant.
    `cursor` is that of the last checkpoint, for a job that was interrupted. `trace` is the trace context of its enqueue.
    """

    id: int
    task: str
    queue: str
    attempt: int
    max_attempts: int
    run_at: datetime
    granted_at: datetime
    tick: datetime | None
    schedule_key: str | None
    labels: tuple[str, ...]
    lease: int = 0
    cursor: Any = None
    trace: Mapping[str, str] = field(default_factory=dict, compare=False)
    _args: str = field(default="{}", repr=False, compare=False)
    _dialogue: Dialogue = field(default_factory=Dialogue, repr=False, compare=False)

    @property
    def args(self) -> dict[str, Any]:
        """What it was enqueued with, read anew at each call. Raises ValueError for what SQL alone can enqueue."""
        found: dict[str, Any] = json.loads(self._args)
        return found

    @property
    def in_test(self) -> bool:
        """True where the testing kit runs it: connections and sessions of the thread may be the test's."""
        return self._dialogue.in_test

    @property
    def cancelled(self) -> bool:
        """True once this run is to end: a person cancelled it, or a later tick replaced it.

        A handler that has been told so and returns ends as `cancelled`.
        """
        if self._dialogue.cancelled:
            self._dialogue.heard = True
        return self._dialogue.cancelled

    def progress(self, done: int | None = None, total: int | None = None) -> None:
        """Tell how far it has come, for listings; written every few seconds at most."""
        if self._dialogue.teller is not None:
            self._dialogue.teller.progress(done, total)

    def checkpoint(self, cursor: Any, done: int | None = None, total: int | None = None, *, conn: Any) -> None:
        """Write a checkpoint in the transaction of `conn`, together with the work that it stands for: neither is
        repeated. A bare `yield` after the commit is where the job may be interrupted then.

        `conn` is whatever an enqueue takes. Raises LeaseLost when the job is not this worker's any more.
        """
        statement, params, conn = self._step(Checkpoint(cursor, done, total), conn)
        self._check_lease(self._connections.run(statement, params, conn))

    async def checkpoint_async(
        self, cursor: Any, done: int | None = None, total: int | None = None, *, conn: Any
    ) -> None:
        """The same, on an event loop."""
        statement, params, conn = self._step(Checkpoint(cursor, done, total), conn)
        self._check_lease(await self._connections.run_async(statement, params, conn))

    @property
    def _connections(self) -> Connections:
        assert self._dialogue.teller is not None
        return self._dialogue.teller.connections

    def _step(self, point: Checkpoint, conn: Any) -> tuple[str, dict[str, Any], Any]:
        if self._dialogue.teller is None:
            raise LeaseLost(f"job {self.id} does not run on a worker: there is no checkpoint to write")
        if conn is None:
            raise ArgumentError(
                "checkpoint(conn=None) has no transaction: pass its connection, or yield Checkpoint(...)"
            )
        return self._dialogue.teller.step(point, conn)

    def _check_lease(self, rows: Sequence[object]) -> None:
        if not rows:
            raise LeaseLost(
                f"job {self.id} belongs to another worker by now, or has ended: roll back what this run did"
            )

    def log(self, message: str, *args: object, level: int = logging.INFO) -> None:
        """Log a line of this job: its id, task and attempt travel with it."""
        fields = {"job_id": self.id, "task": self.task, "attempt": self.attempt}
        log.log(level, f"job %s (%s): {message}", self.id, self.task, *args, extra=fields)


class Running(Protocol):
    """A run, which tells of its job when it is asked: few handlers ask."""

    @property
    def known(self) -> CurrentJob:
        """What the handler may know of it."""


running: ContextVar[Running] = ContextVar("pqclock_current_job")


def current_job() -> CurrentJob:
    """The job that runs here. Raises LookupError outside of a handler."""
    try:
        return running.get().known
    except LookupError:
        raise LookupError("current_job() was called outside of a running job: call it in a task's handler") from None
