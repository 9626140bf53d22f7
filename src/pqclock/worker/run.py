"""One run of a job: what it was told, how far it has come, and how it may be interrupted."""

from __future__ import annotations

import asyncio
import ctypes
import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

from pqclock.loop import DatabaseClock
from pqclock.store.jobs import ClaimedJob
from pqclock.tasks.checkpoints import Checkpoint, Reached
from pqclock.tasks.connections import Connections
from pqclock.tasks.context import CurrentJob, Dialogue
from pqclock.tasks.signals import Cancelled, Interruption
from pqclock.tasks.task import Task

# A checkpoint is written when the last one is so old: what a kill repeats is less than five seconds of work.
SAVE_EVERY = 4.0


class Hopeless(Exception):
    """Another attempt would end in the same way; `kind` is the error's type, as it is shown."""

    def __init__(self, kind: str, sentence: str) -> None:
        self.kind = kind
        super().__init__(sentence)


class GiveBack(BaseException):
    """The job goes back at a checkpoint, to be continued later or elsewhere; not for handlers to see."""


class Run:
    """A job that runs here, from when its handler begins.

    `save` takes what is to be written while it runs: the job and its checkpoint.
    """

    def __init__(
        self,
        task: Task[..., Any],
        job: ClaimedJob,
        dialogue: Dialogue,
        began: float,
        clock: DatabaseClock,
        save: Callable[[ClaimedJob, str], None],
    ) -> None:
        self.task = task
        self.job = job
        self.dialogue = dialogue
        self.began = began
        self._clock = clock
        self._save = save
        self._saved_at = began
        self._lock = threading.Lock()
        if job.checkpoint is not None:
            self.reached = Reached.parse(job.checkpoint)
        dialogue.teller = self

    # One is made for every job: what is as it is for most of them costs nothing.
    reached = Reached()
    interruption: type[Interruption] | None = None
    # Its process told of a cursor that it had not reached before: crashes before that do not count.
    came_further = False
    # What its process told last, as it is stored.
    told: str | None = None
    # It was to go back at a checkpoint; whoever swallows what is raised there does not change that.
    goes_back = False
    kill: Callable[[], None] | None = None
    _moved = False
    # Its checkpoints are written in its own transactions: nobody else knows which of them are committed.
    _writes_itself = False
    _thread: int | None = None
    _say: Callable[[dict[str, Any]], None] | None = None
    _coroutine: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    @cached_property
    def known(self) -> CurrentJob:
        """What the handler may know of its job."""
        job = self.job
        # With the cursor that it began with.
        cursor = Reached.parse(job.checkpoint).value()
        return CurrentJob(
            job.id, job.task, job.queue, job.attempt, job.max_attempts, job.run_at, job.claimed_at, job.tick,
            job.schedule_key, tuple(job.labels), job.lease, cursor, self._trace, job.args, self.dialogue,
        )  # fmt: skip

    @property
    def _trace(self) -> Mapping[str, str]:
        found = None if self.job.run_options is None else self.job.run_options.get("trace")
        return found if isinstance(found, dict) else {}

    @property
    def connections(self) -> Connections:
        """Those of its app."""
        return self.task.app.connections

    @property
    def started_at(self) -> datetime:
        """When its handler began, by the database's clock."""
        return self._clock.at(self.began)

    def now(self) -> datetime:
        """The database's time, as far as it is known here."""
        return self._clock.now()

    @property
    def timeout(self) -> float | None:
        """After so many seconds it is interrupted; None for never."""
        own = None if self.job.run_options is None else self.job.run_options.get("timeout")
        return float(own) if own is not None else self.task.options.timeout

    @property
    def history(self) -> str:
        """Which ends of it are kept: all, failures or none."""
        own = None if self.job.run_options is None else self.job.run_options.get("history")
        return str(own or self.task.options.history or "all")

    @property
    def has_moved(self) -> bool:
        """True once the handler has told how far it has come."""
        return self._moved

    def checkpoint(self) -> str | None:
        """How far it has come, to be written with its outcome; None where it has not moved."""
        return self.reached.text() if self._moved and not self._writes_itself else None

    def enter(self) -> None:
        """The handler begins, on this thread or as the coroutine that calls; what came too early interrupts it now."""
        loop = asyncio._get_running_loop()
        if loop is None:
            with self._lock:
                self._thread = threading.get_ident()
                if self.interruption is not None:
                    self._raise(self._thread, self.interruption)
        else:
            coroutine = asyncio.current_task()
            assert coroutine is not None
            with self._lock:
                self._coroutine = (loop, coroutine)
                if self.interruption is not None:
                    coroutine.cancel()

    def attach(self, say: Callable[[dict[str, Any]], None], kill: Callable[[], None]) -> None:
        """The handler runs in another process, to which `say` sends messages, and which `kill` ends."""
        with self._lock:
            self._say, self.kill = say, kill
            self.dialogue.elsewhere = self._pass_on
            if self.dialogue.cancelled:
                self._pass_on("cancel")
            if self.dialogue.wanted_back:
                self._pass_on("want back")
            if self.interruption is not None:
                self._pass_on(self.interruption.__name__)

    def saved(self, checkpoint: str) -> None:
        """Its process tells how far it has come."""
        self.told = checkpoint
        self.came_further = json.loads(checkpoint)["cursor"] != self.known.cursor
        self._save(self.job, checkpoint)

    def _pass_on(self, word: str) -> None:
        if self._say is not None:
            self._say({"word": word, "for": self.job.lease})

    def leave(self) -> None:
        """The handler has ended: what was to interrupt it comes too late."""
        with self._lock:
            if self._thread is not None and self.interruption is not None:
                self._raise(self._thread, None)
            self._thread = self._coroutine = self._say = self.kill = None

    def interrupt(self, kind: type[Interruption]) -> None:
        """Raise `kind` in the handler: at its next line of Python, or where it awaits. Once is enough."""
        with self._lock:
            if self.interruption is not None:
                return
            self.interruption = kind
            if self._say is not None:
                self._pass_on(kind.__name__)
            elif self._thread is not None:
                self._raise(self._thread, kind)
            elif self._coroutine is not None:
                loop, coroutine = self._coroutine
                loop.call_soon_threadsafe(coroutine.cancel)

    @staticmethod
    def _raise(thread: int, kind: type[Interruption] | None) -> None:
        """Raise it in a thread; None takes back what was not raised yet."""
        raised = None if kind is None else ctypes.py_object(kind)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)

    def meant(self, error: BaseException) -> BaseException:
        """What an exception that came out of the handler stands for: coroutines are interrupted by another one."""
        if self.interruption is not None and isinstance(error, asyncio.CancelledError):
            return self.interruption().with_traceback(error.__traceback__)
        return error

    def pass_point(self, point: object) -> None:
        """The handler has come to a point at which it may be interrupted. Raises GiveBack or Cancelled there."""
        if isinstance(point, Checkpoint):
            self._move(self.reached.at(point, self._spent(), self.job.task))
        elif point is not None:
            raise Hopeless(
                "TypeError",
                f"task {self.job.task!r} yielded {point!r:.60}: yield Checkpoint(cursor), or nothing where it may stop",
            )
        if self.dialogue.cancelled:
            self.dialogue.heard = True
            raise Cancelled
        if self.dialogue.wanted_back or self._slice_is_over():
            self.goes_back = True
            raise GiveBack
        self._save_if_due()

    def _slice_is_over(self) -> bool:
        length = self.task.options.slice
        return length is not None and time.monotonic() - self.began >= length

    def progress(self, done: int | None, total: int | None) -> None:
        """The handler tells how far it has come."""
        point = Checkpoint(None, done, total)
        self._move(Reached(self.reached.cursor, point.done, point.total or self.reached.total, self._spent()))
        self._save_if_due()

    def _move(self, reached: Reached) -> None:
        self.reached, self._moved = reached, True

    def step(self, point: Checkpoint, conn: Any) -> tuple[str, dict[str, Any], Any]:
        """The statement that writes a checkpoint in the handler's own transaction."""
        self._writes_itself = True
        reached = self.reached.at(point, self._spent(), self.job.task)
        return (
            "jobs.checkpoint_within",
            {"id": str(self.job.id), "lease": str(self.job.lease), "checkpoint": reached.text()},
            conn,
        )

    def _spent(self) -> float:
        before = 0.0 if self.job.checkpoint is None else Reached.parse(self.job.checkpoint).spent
        return before + time.monotonic() - self.began

    def _save_if_due(self) -> None:
        if self._writes_itself:
            return
        if self._moved and time.monotonic() - self._saved_at >= SAVE_EVERY:
            self._saved_at = time.monotonic()
            self._save(self.job, self.reached.text())
