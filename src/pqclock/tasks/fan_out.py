"""A large collection, split into jobs that run side by side, with one progress of them all."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from pqclock.errors import ArgumentError, JobNotFinished, UnknownJob
from pqclock.rules.job import TERMINAL
from pqclock.store.after import Progress
from pqclock.store.callers import Params, Rows
from pqclock.store.jobs import NewJob
from pqclock.tasks.enqueueing import Enqueueing
from pqclock.tasks.handle import JobHandle, pauses

if TYPE_CHECKING:
    from pqclock.tasks.app import App
    from pqclock.tasks.task import Task

MAX_CHUNK = 1_000_000


@dataclass(frozen=True, slots=True)
class FanOut:
    """A collection that was split into `jobs`, whose parent is `id`; `then` is the job that runs after them.

    A part whose unique key was taken is the job that has it, and is no part of the progress.
    """

    id: int
    jobs: Sequence[JobHandle] = field(repr=False)
    then: JobHandle | None
    app: App = field(repr=False, compare=False)

    def progress(self) -> Progress:
        """How many jobs are `done`, have `failed` (or were cancelled, or discarded), out of `total`."""
        if self._at_once:
            return self._inline()
        return self._told(self.app.connections.run("after.progress", {"id": self.id}))

    async def progress_async(self) -> Progress:
        """The same, on an event loop."""
        if self._at_once:
            return self._inline()
        return self._told(await self.app.connections.run_async("after.progress", {"id": self.id}))

    def wait(self, timeout: str | timedelta | float | None = None) -> Progress:
        """Wait until all jobs have ended; gives what they came to. Raises JobNotFinished after `timeout` (None: never).

        For the job behind them, wait by `then.wait()`.
        """
        for pause in pauses(timeout):
            if self._at_once or self._ended(self.app.connections.run("after.unfinished", {"id": self.id})):
                return self.progress()
            time.sleep(pause)
        raise self._not_finished(timeout)

    async def wait_async(self, timeout: str | timedelta | float | None = None) -> Progress:
        """The same, on an event loop."""
        for pause in pauses(timeout):
            if self._at_once or self._ended(await self.app.connections.run_async("after.unfinished", {"id": self.id})):
                return await self.progress_async()
            await asyncio.sleep(pause)
        raise self._not_finished(timeout)

    @property
    def _at_once(self) -> bool:
        """Whether there is nothing that the database could tell."""
        return not self.jobs or self.app.inline is not None

    def _ended(self, rows: Rows) -> bool:
        if not rows:
            raise self._unknown()
        return not rows[0][0]

    def _told(self, rows: Rows) -> Progress:
        if not rows:
            raise self._unknown()
        return Progress(*rows[0])

    def _inline(self) -> Progress:
        states = [found.state for job in self.jobs if (found := self.app.job_result(job.id)) is not None]
        done = states.count("succeeded")
        return Progress(done, sum(state in TERMINAL for state in states) - done, len(self.jobs))

    def _unknown(self) -> UnknownJob:
        return UnknownJob(
            f"fan-out {self.id} is not in the database: its transaction was rolled back or not committed yet, "
            f"or it is older than 90 days"
        )

    def _not_finished(self, timeout: object) -> JobNotFinished:
        return JobNotFinished(
            f"fan-out {self.id} has not ended within {timeout}: wait longer, or see `pqclock jobs list --parent {self.id}`"
        )


class Split:
    """What a call of `fan_out` says, checked; raises ArgumentError. `jobs(parent)` describes the jobs."""

    def __init__(
        self, task: Task[..., Any], items: Iterable[Any], chunk: int, arg: str, args: Mapping[str, Any] | None,
        then: NewJob | None, options: dict[str, Any],
    ) -> None:  # fmt: skip
        what = f"fan_out({task.name!r})"
        if not isinstance(items, Iterable) or isinstance(items, str | bytes | Mapping):
            raise ArgumentError(f"{what}: items are of type {type(items).__name__}: pass a list, or another iterable")
        if type(chunk) is not int or not 1 <= chunk <= MAX_CHUNK:
            raise ArgumentError(f"{what}: chunk {chunk!r:.40} must be a whole number from 1 to {MAX_CHUNK:,}")
        if args is not None and not isinstance(args, Mapping):
            raise ArgumentError(f"{what}: args {args!r:.60} must be a mapping: they are the same for all its jobs")
        if then is not None and (not isinstance(then, NewJob) or then.after):
            raise ArgumentError(
                f"{what}: then {then!r:.60} must be one job: make it with Task.job(...), without `after`"
            )
        for name in ("parent", "unique_key"):
            if options.get(name) is not None:
                raise ArgumentError(f"{what}: {name} is not for the parts of a fan-out: leave it out")
        self.items, self.then = items, then
        self._task, self._chunk, self._arg, self._args = task, chunk, arg, args or {}
        self._enqueuer = task.using(**options)
        # What does not fit the task is told before anything is sent.
        task.arguments((), {**self._args, arg: []})

    def jobs(self, parent: int) -> Iterator[NewJob]:
        """A job for each chunk of the items, as parts of `parent`."""
        plain = self._enqueuer.job(**{**self._args, self._arg: []})
        options = json.dumps({**json.loads(plain.options or "{}"), "parent": parent, "fan": True})
        items = iter(self.items)
        while chunk := list(islice(items, self._chunk)):
            yield replace(plain, args=self._task.arguments((), {**self._args, self._arg: chunk}), options=options)


class Splitting:
    """The jobs of a fan-out by the slice, as `Connections.send` wants them, and behind them the one that waits for them."""

    def __init__(self, app: App, split: Split, parent: int) -> None:
        self.repeatable = isinstance(split.items, Sequence)
        self._app, self._split, self._parent = app, split, parent
        self._children = Enqueueing(app, split.jobs(parent))
        self._last: Enqueueing | None = None
        self._begun = False
        self.trace: Mapping[str, str] | None = None

    @property
    def tasks(self) -> Sequence[str]:
        """Of which task its parts are."""
        return self._children.tasks

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        return self._children.empty and self._split.then is None

    def begin(self) -> Iterator[Params | None]:
        """The parameters of `jobs.insert` for each slice; None where what was sent must have been answered first."""
        if self._begun:
            self._children = Enqueueing(self._app, self._split.jobs(self._parent))
        self._begun, self._last = True, None
        self._children.trace = self.trace
        if not self._children.empty:
            yield from self._children.begin()
        if self._split.then is not None:
            yield None
            self._last = Enqueueing(self._app, [_behind(self._split.then, self._children.handles)])
            self._last.trace = self.trace
            yield from self._last.begin()

    def take(self, rows: Rows) -> None:
        """Make the handles of a slice; raises as `store.jobs.entered` does."""
        (self._last or self._children).take(rows)

    def fan_out(self) -> FanOut:
        """The handle of it all, once it was sent."""
        then = self._last.handles[0] if self._last is not None else None
        return FanOut(self._parent, tuple(self._children.handles), then, self._app)


def _behind(job: NewJob, handles: Sequence[JobHandle]) -> NewJob:
    """The job, waiting for those as well: what is over without a trace is not waited for."""
    options = json.loads(job.options or "{}")
    before: list[int] = options.pop("after", [])
    # Nobody else can see, or end, what came in just now.
    fresh = {"fresh": True} if not before and all(handle.inserted for handle in handles) else {}
    ids = sorted({*before, *(handle.id for handle in handles if handle.state != "gone")})
    return replace(job, options=json.dumps({**options, "after": ids, **fresh} if ids else options))
