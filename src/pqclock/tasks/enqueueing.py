"""The jobs of one call on their way in, and their handles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from pqclock.errors import ArgumentError
from pqclock.store.callers import Params, Rows
from pqclock.store.insertion import insertion, slices
from pqclock.store.jobs import NewJob, entered
from pqclock.tasks.handle import JobHandle
from pqclock.tasks.waking import Waking

if TYPE_CHECKING:
    from pqclock.tasks.app import App


class Enqueueing:
    """Jobs by the slice, as `Connections.send` wants them. `handles` are those of the slices that came in so far.

    With `waking`, for what is committed when it has come in, workers are told of a single job in its time.
    """

    def __init__(self, app: App, jobs: Iterable[NewJob], waking: Waking | None = None) -> None:
        if not isinstance(jobs, Iterable) or isinstance(jobs, str | bytes | Mapping):
            raise ArgumentError(f"jobs is of type {type(jobs).__name__}: pass a list of those made by Task.job(...)")
        self.handles: list[JobHandle] = []
        self._app = app
        # What cannot be gone through twice is taken as it comes.
        self.repeatable = isinstance(jobs, Sequence)
        rest = iter(()) if self.repeatable else iter(jobs)
        self._known: Sequence[NewJob] = jobs if isinstance(jobs, Sequence) else list(islice(rest, 1))
        self._rest: Iterator[NewJob] = rest
        self.empty = not self._known
        self._waking = waking if self.repeatable and len(self._known) == 1 else None
        self._quiet: bool | None = None
        self.trace: Mapping[str, str] | None = None

    @property
    def tasks(self) -> Sequence[str]:
        """Of which tasks they are; of jobs that come one by one only the first is known."""
        return list(dict.fromkeys(job.task for job in self._known if isinstance(job, NewJob)))

    def begin(self) -> Iterator[Params]:
        """The parameters of `jobs.insert` for each slice."""
        self.handles = []
        # Keys are taken in their order, so that two calls with the same ones wait for each other, and do not lock.
        parts = slices(self._checked(), whole=len(self._known) > 1 and self._may_be_keyed())
        return (
            insertion(part, self._defaults(part), self._app.as_of, quiet=self._hush(part), trace=self.trace)
            for part in parts
        )

    def take(self, rows: Rows) -> None:
        """Make the handles of a slice; raises as `store.jobs.entered` does."""
        app = self._app
        self.handles += [JobHandle(job_id, inserted, state, app) for job_id, state, inserted in entered(rows)]
        if self._waking is not None and self._quiet is not None:
            job = self._known[0]
            self._waking.came((job.task, job.queue), rows[0][-1], quiet=self._quiet)

    def _hush(self, part: Sequence[NewJob]) -> bool | None:
        """Whether workers are told of a single job elsewhere; None for jobs of which they are told with the commit."""
        if self._waking is not None:
            self._quiet = self._waking.is_quiet((part[0].task, part[0].queue))
        return self._quiet

    def _checked(self) -> Iterator[NewJob]:
        for number, job in enumerate(chain(self._known, self._rest)):
            if not isinstance(job, NewJob):
                raise ArgumentError(f"jobs[{number}] is of type {type(job).__name__}: make it with Task.job(...)")
            yield job

    def _may_be_keyed(self) -> bool:
        unique = {name for name, task in self._app.tasks.items() if "unique" in task.entrance}
        return any(
            job.options is not None or job.after or job.task in unique for job in self._known if isinstance(job, NewJob)
        )

    def _defaults(self, jobs: Sequence[NewJob]) -> dict[str, dict[str, Any]]:
        """What this code says of the tasks, for those that nobody has published."""
        tasks = self._app.tasks
        return {name: tasks[name].defaults() for name in {job.task for job in jobs} if name in tasks}
