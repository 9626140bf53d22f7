"""Was a job enqueued? If not, what was instead, in words."""

from __future__ import annotations

import json
from inspect import Parameter
from typing import Any

from pqclock.store.listing_rows import JobRow
from pqclock.tasks.app import App
from pqclock.tasks.task import Task

LIMIT = 1_000
_SHOWN = 5
_MISSING = object()


class AssertEnqueued:
    """`assert_enqueued(task, **args)`; `assert_enqueued.never(task, **args)`."""

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self, task: Task[..., Any] | str, /, **args: Any) -> JobRow:
        """The newest job of the task with these arguments, live or finished; others may be there besides.

        `task` is a task or its name. Raises AssertionError that shows the nearest ones.
        """
        __tracebackhide__ = True
        name, jobs = self._jobs(task, args)
        found = [job for job in jobs if not _differences(job, args)]
        if not found:
            raise AssertionError(self._complaint(name, args, jobs))
        return found[0]

    def never(self, task: Task[..., Any] | str, /, **args: Any) -> None:
        """No job of the task with these arguments. Raises AssertionError that shows what there is."""
        __tracebackhide__ = True
        name, jobs = self._jobs(task, args)
        found = [job for job in jobs if not _differences(job, args)]
        if found:
            lines = [_shown(job) for job in found[:_SHOWN]]
            raise AssertionError("\n".join([f"{_count(len(found))} of {name!r}{_with(args)} enqueued:", *lines]))

    def _jobs(self, task: Task[..., Any] | str, args: dict[str, Any]) -> tuple[str, list[JobRow]]:
        name = task if isinstance(task, str) else task.name
        self._check_names(name, args)
        return name, list(self._app.jobs.list(task=name, limit=LIMIT).rows)

    def _check_names(self, name: str, args: dict[str, Any]) -> None:
        """A misspelt argument would make a test that nothing can fail."""
        __tracebackhide__ = True
        task = self._app.tasks.get(name)
        if task is None:
            return
        taken = task.signature.parameters
        if any(one.kind is Parameter.VAR_KEYWORD for one in taken.values()):
            return
        for arg in args:
            if arg not in taken:
                there_are = f"it takes {', '.join(taken)}" if taken else "it takes none"
                raise AssertionError(f"task {name!r} has no argument {arg!r}: {there_are}")

    def _complaint(self, name: str, args: dict[str, Any], jobs: list[JobRow]) -> str:
        if jobs:
            nearest = sorted(jobs, key=lambda job: len(_differences(job, args)))
            lines = [f"{_shown(job)}: {'; '.join(_differences(job, args))}" for job in nearest[:_SHOWN]]
            return "\n".join([f"no job of {name!r}{_with(args)} was enqueued; {_count(len(jobs))} of it:", *lines])
        known = "" if name in self._app.tasks else f", and the app has no task of that name: {_names(self._app)}"
        others = self._app.jobs.list(limit=_SHOWN).rows
        if not others:
            return f"no job of {name!r} was enqueued, nor of any other task{known}"
        return "\n".join([f"no job of {name!r} was enqueued{known}; the newest of others:", *map(_shown, others)])


def _differences(job: JobRow, args: dict[str, Any]) -> list[str]:
    """In what the job's arguments are not those, as JSON values."""
    found = []
    for name, value in args.items():
        wanted, given = json.loads(json.dumps(value)), job.args.get(name, _MISSING)
        if given is _MISSING:
            found.append(f"it has no {name}")
        elif given != wanted or isinstance(given, bool) is not isinstance(wanted, bool):
            found.append(f"{name} is {given!r:.80}, not {wanted!r:.80}")
    return found


def _shown(job: JobRow) -> str:
    due = f", at {job.run_at:%Y-%m-%d %H:%M:%S} UTC" if job.state == "scheduled" else ""
    return f"  job {job.id} of {job.task!r} ({job.state}, queue {job.queue}{due}): {json.dumps(job.args):.200}"


def _with(args: dict[str, Any]) -> str:
    return f" with {', '.join(f'{name}={value!r:.80}' for name, value in args.items())}" if args else ""


def _count(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"


def _names(app: App) -> str:
    return f"there are {', '.join(sorted(app.tasks))}" if app.tasks else "it has none"
