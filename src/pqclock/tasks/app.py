"""The app: the registry of tasks, and the way to the database."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, overload

from pqclock.address import find_address
from pqclock.errors import ArgumentError, UnknownTask
from pqclock.settings import load
from pqclock.store.callers import Rows
from pqclock.store.database import check_schema_name
from pqclock.store.jobs import JobResult, NewJob, parse_result
from pqclock.store.tasks import publication
from pqclock.tasks.connections import Connections, Place, Step
from pqclock.tasks.declaring import BatchWords, CallWords, TaskWords, checked_options
from pqclock.tasks.enqueueing import Enqueueing
from pqclock.tasks.fan_out import FanOut, Split, Splitting
from pqclock.tasks.handle import JobHandle
from pqclock.tasks.hooks import Hooks, Report, Surrounding
from pqclock.tasks.inside import Inside
from pqclock.tasks.job import Job
from pqclock.tasks.options import check_task_name
from pqclock.tasks.pausing import Labels, Queues, Tasks
from pqclock.tasks.task import Task

# The verbs are loaded when they are first used: workers, and their child processes, begin without them.
if TYPE_CHECKING:
    from pqclock.tasks.gates import Gates
    from pqclock.tasks.instead import Instead
    from pqclock.tasks.jobs import Jobs
    from pqclock.tasks.rules import Rules
    from pqclock.tasks.schedules import Schedules

P = ParamSpec("P")
R = TypeVar("R")


class App(Inside):
    """Tasks by name, and enqueueing them. Nothing is connected before the first use.

    `database_url` is a libpq address; without it PQCLOCK_DATABASE_URL, DATABASE_URL, PGHOST or PGSERVICE, and at last
    the running embedded server of this folder. `schema` defaults to the settings' (PQCLOCK_SCHEMA), else `pqclock`.
    `version` is that of the code which defines the tasks: of two processes that publish the same task, the newer one
    wins.
    """

    def __init__(self, database_url: str | None = None, *, schema: str | None = None, version: str = "") -> None:
        self.schema = None if schema is None else check_schema_name(schema)
        self.version = str(version)
        self._database_url = database_url
        self._tasks: dict[str, Task[..., Any]] = {}
        self._connections = Connections(self.place)
        self._published = 0
        self._unsettled: set[str] = set()
        self.hooks = Hooks()
        # For tests: what runs jobs in the database's place, and the time that enqueues and schedules take for now.
        self.inline: Instead | None = None
        self.as_of: datetime | None = None

    @property
    def tasks(self) -> Tasks:
        """The registered tasks by name, a read-only mapping; and list, pause and resume of published ones."""
        return Tasks(self._tasks, self._connections)

    @property
    def connections(self) -> Connections:
        """The way to the database."""
        return self._connections

    @property
    def jobs(self) -> Jobs:
        """Jobs: list, explain."""
        from pqclock.tasks.jobs import Jobs

        return Jobs(self._connections)

    @property
    def gates(self) -> Gates:
        """Throttles and fuses by key: list, show, blow, reset, cool, replay."""
        from pqclock.tasks.gates import Gates

        return Gates(self._connections)

    @property
    def queues(self) -> Queues:
        """Queues: list, pause, resume."""
        return Queues(self._connections)

    @property
    def labels(self) -> Labels:
        """Labels of jobs: list, pause, resume."""
        return Labels(self._connections)

    @property
    def schedules(self) -> Schedules:
        """Schedules at run time: put, remove, pause, resume, trigger, backfill."""
        from pqclock.tasks.schedules import Schedules

        return Schedules(self, self._connections)

    @property
    def rules(self) -> Rules:
        """Throttles and fuses at run time: put, remove, list, show."""
        from pqclock.tasks.rules import Rules

        return Rules(self._connections)

    @overload
    def task(
        self, name: str, *, batch: int, **words: Unpack[BatchWords]
    ) -> Callable[[Callable[[list[Job]], R]], Task[..., R]]: ...

    @overload
    def task(self, name: str, **words: Unpack[TaskWords]) -> Callable[[Callable[P, R]], Task[P, R]]: ...

    def task(self, name: str, **words: Any) -> Any:
        """Register the decorated function, sync or async, as the task `name`.

        The options hold for every job of the task where neither the call nor the schedule says otherwise.
        `max_attempts=3` is short for `retry=Retry(max_attempts=3)`; without both a failed job is not tried again.
        `throttle` and `fuse` name the rules whose gates the jobs pass, "warehouse" or "stripe:{account}" with a key
        from the arguments; a job takes `units` (1) of the rate of each.
        A run that is longer than `timeout` is interrupted, and has failed. A generator gives its place back to others
        at the first checkpoint after `slice`. With `batch` one call gets a list of up to so many jobs, for which it waits
        `batch_wait`; it returns the exceptions of those that failed, by job id, or None. Of the jobs that have ended,
        `history` keeps "all", "failures" or "none". A job whose worker died runs again, or is held for a person with
        `on_crash="hold"`. With `executor="process"` it runs in a child process of the worker, which a timeout can kill.
        """
        if callable(name):
            called = getattr(name, "__name__", "NAME")
            raise ArgumentError(f'@app.task needs the name by which jobs know the task: write @app.task("{called}")')
        what = f"task {check_task_name(name)!r}"
        options, entrance = checked_options(what, words)

        def register(function: Callable[..., Any]) -> Task[..., Any]:
            task: Task[..., Any] = Task(self, name, function, options, entrance)
            if name in self._tasks:
                raise ArgumentError(f"{what} is registered twice, by {self._tasks[name].function!r} and {function!r}")
            self._tasks[name] = task
            return task

        return register

    def around_job(self, factory: Surrounding) -> Surrounding:
        """Have each run of a job happen inside of the context manager `factory(job)`; the first added is the outermost.

        `job` is what `current_job()` gives. Async tasks also take `async with` managers. Usable as a decorator.
        """
        return self.hooks.add_around(factory)

    def on_error(self, report: Report) -> Report:
        """Have `report(failure)` called whenever a run fails, with the reason: see Failure. Usable as a decorator."""
        return self.hooks.add_report(report)

    def enqueue_many(self, jobs: Iterable[NewJob], conn: Any = None) -> list[JobHandle]:
        """Insert jobs made by `Task.job(...)` in one transaction; handles come in input order.

        A job whose unique key is taken, also by an earlier one of them, gets the handle of the job that has it. Nothing
        is inserted when one of them raises UniqueConflict, or cannot fill a template, or `jobs` raises.
        `jobs` may be any iterable: many of them are sent in slices, and a generator is never held as a whole.
        `conn` is a connection of yours, as in `Task.using`: the jobs are then part of its transaction, and vanish with
        its rollback.
        """
        if self.inline is not None:
            return self.inline.run(list(jobs))
        enqueueing = Enqueueing(self, jobs, self._connections.waking if conn is None else None)
        if enqueueing.empty:
            return []
        self._send(enqueueing, conn)
        return enqueueing.handles

    async def enqueue_many_async(self, jobs: Iterable[NewJob], conn: Any = None) -> list[JobHandle]:
        """The same, on an event loop; `conn` is then an async connection."""
        if self.inline is not None:
            return await self.inline.run_async(list(jobs))
        enqueueing = Enqueueing(self, jobs, self._connections.waking if conn is None else None)
        if enqueueing.empty:
            return []
        await self._send_async(enqueueing, conn)
        return enqueueing.handles

    def fan_out(
        self, task: str | Task[..., Any], items: Iterable[Any], *, chunk: int = 1_000, arg: str = "items",
        args: Mapping[str, Any] | None = None, then: NewJob | None = None, **options: Unpack[CallWords],
    ) -> FanOut:  # fmt: skip
        """Split `items` into jobs of a task, each with a list of up to `chunk` of them as its argument `arg`.

        All get the other `args`, and the `options` of `Task.using`. They come in in one transaction, that of `conn` if it
        is given, and the items are never held as a whole. The job `then`, made by `Task.job(...)`, runs when all of them
        have succeeded. Raises UnknownTask and ArgumentError; nothing was inserted then.
        """
        conn = options.pop("conn", None)
        split = Split(self._named(task), items, chunk, arg, args, then, dict(options))
        if self.inline is not None:
            handles = self.inline.run(list(split.jobs(0)))
            return FanOut(0, handles, None if then is None else self.inline.run([then])[0], self)
        splitting = Splitting(self, split, self._connections.run("after.next_id", {}, conn)[0][0])
        if not splitting.empty:
            self._send(splitting, conn)
        return splitting.fan_out()

    async def fan_out_async(
        self, task: str | Task[..., Any], items: Iterable[Any], *, chunk: int = 1_000, arg: str = "items",
        args: Mapping[str, Any] | None = None, then: NewJob | None = None, **options: Unpack[CallWords],
    ) -> FanOut:  # fmt: skip
        """The same, on an event loop; `conn` is then an async connection."""
        conn = options.pop("conn", None)
        split = Split(self._named(task), items, chunk, arg, args, then, dict(options))
        if self.inline is not None:
            handles = await self.inline.run_async(list(split.jobs(0)))
            return FanOut(0, handles, None if then is None else (await self.inline.run_async([then]))[0], self)
        rows = await self._connections.run_async("after.next_id", {}, conn)
        splitting = Splitting(self, split, rows[0][0])
        if not splitting.empty:
            await self._send_async(splitting, conn)
        return splitting.fan_out()

    def _named(self, task: str | Task[..., Any]) -> Task[..., Any]:
        name = task.name if isinstance(task, Task) else task
        if name not in self._tasks:
            raise UnknownTask(
                f"fan_out: no task {name!r:.60} is registered: decorate a function with @app.task({name!r:.60})"
            )
        return self._tasks[name]

    def _send(self, parts: Enqueueing | Splitting, conn: Any) -> None:
        # Never on the caller's connection: that would hold up every other publisher until its transaction ends.
        if conn is None and self._published < len(self._tasks):
            self._connections.perform(self._publishing())
        with self.hooks.enqueueing(parts):
            self._connections.send("jobs.insert", parts, conn)

    async def _send_async(self, parts: Enqueueing | Splitting, conn: Any) -> None:
        if conn is None and self._published < len(self._tasks):
            await self._connections.perform_async(self._publishing())
        with self.hooks.enqueueing(parts):
            await self._connections.send_async("jobs.insert", parts, conn)

    def job_result(self, job_id: int) -> JobResult | None:
        """Where a job stands and what it returned; None when the database does not know it."""
        if self.inline is not None:
            return self.inline.result(job_id)
        return parse_result(self._connections.run("jobs.result", {"id": job_id}))

    async def job_result_async(self, job_id: int) -> JobResult | None:
        """The same, on an event loop."""
        if self.inline is not None:
            return self.inline.result(job_id)
        return parse_result(await self._connections.run_async("jobs.result", {"id": job_id}))

    def publication(self) -> list[dict[str, Any]]:
        """The tasks as they are published to the database."""
        return [_published(task, self.version) for task in list(self._tasks.values())]

    def close(self) -> None:
        """Close the app's connections; the next use opens them again."""
        self._connections.close()

    async def close_async(self) -> None:
        """Close the app's connections, with those of this event loop."""
        await self._connections.close_async()

    def place(self) -> Place:
        """Where the database is, found anew; whoever asks closes the address. Raises SettingsError."""
        settings = load()
        address = find_address(self._database_url, settings=settings)
        return Place(address, self.schema or settings.schema)

    def _publishing(self) -> Generator[Step, Rows, None]:
        """Tell the database about the tasks, once until more are registered."""
        tasks = self.publication()
        written = yield "tasks.publish", publication(tasks)
        self._unsettled.update(name for name, *_ in written)
        if self._unsettled:
            names = sorted(self._unsettled)
            yield "tasks.settle", {"names": names}
            self._unsettled.difference_update(names)
        self._published = len(tasks)


def _published(task: Task[..., Any], version: str) -> dict[str, Any]:
    retry = {"retry": task.retry.to_options()} if task.retry else {}
    defaults = task.defaults()
    return {"name": task.name, **defaults, "options": {**retry, **defaults["options"]}, "code_version": version}
