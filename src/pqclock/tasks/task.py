"""A task: a function with a name, and the ways to enqueue a job of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack

from pqclock.errors import ArgumentError
from pqclock.rules.json_values import check_object
from pqclock.store.jobs import NewJob
from pqclock.tasks.declaring import CallWords, checked_call
from pqclock.tasks.entrance import argument_defaults, entrance_options
from pqclock.tasks.options import (
    TaskOptions,
    check_executor,
)

if TYPE_CHECKING:
    from pqclock.tasks.app import App
    from pqclock.tasks.handle import JobHandle

P = ParamSpec("P")
R = TypeVar("R")


class Enqueuer(Generic[P]):
    """A task together with options for the jobs that are enqueued through it."""

    def __init__(self, task: Task[P, Any], options: dict[str, Any], conn: Any) -> None:
        self._task = task
        self._options = options
        self._conn = conn

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle:
        """Insert a job with these arguments, in the transaction of `conn` if one was given."""
        return self._task.app.enqueue_many([self.job(*args, **kwargs)], conn=self._conn)[0]

    async def enqueue_async(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle:
        """The same, from an event loop."""
        return (await self._task.app.enqueue_many_async([self.job(*args, **kwargs)], conn=self._conn))[0]

    def job(self, *args: P.args, **kwargs: P.kwargs) -> NewJob:
        """Describe a job for `App.enqueue_many`; raises ArgumentError for what is no JSON."""
        text = self._task.arguments(args, kwargs)
        return NewJob(task=self._task.name, args=text, **self._options)


# What other queues call it: Celery, Dramatiq, procrastinate.
_ELSEWHERE = {
    "delay": "TASK.enqueue(...)",
    "send": "TASK.enqueue(...)",
    "defer": "TASK.enqueue(...)",
    "defer_async": "await TASK.enqueue_async(...)",
    "apply_async": 'TASK.using(delay="5m", queue=...).enqueue(...)',
    "configure": 'TASK.using(delay="5m", queue=...).enqueue(...)',
}


class Task(Generic[P, R]):
    """A registered function. Calling it runs it here and now; `enqueue` has a worker run it."""

    def __init__(
        self,
        app: App,
        name: str,
        function: Callable[P, R],
        options: TaskOptions,
        entrance: Mapping[str, Any] | None = None,
    ) -> None:
        self.app = app
        self.name = name
        self.function = function
        self.queue = options.queue
        self.priority = options.priority
        self.labels = options.labels
        self.retry = options.retry
        self.options = options
        self.is_iteration = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        self.is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        check_executor(options.executor, self.is_async or options.batch is not None, f"task {name!r}")
        self.signature = _signature(name, function)
        if options.batch is not None:
            self.signature = _of_batch(name, self.signature, self.is_iteration)
        self.takes_cursor = self.is_iteration and "cursor" in self.signature.parameters
        if self.takes_cursor:
            self.signature = _without_cursor(self.signature)
        self._required, self._named = _keywords(self.signature)
        self.entrance = entrance_options(f"task {name!r}", self.signature, **(entrance or {}))
        self.argument_defaults = argument_defaults(self.signature)
        self._plain = self.using()
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError, with the way out for those who come from elsewhere."""
            meant = _ELSEWHERE.get(name)
            raise AttributeError(f"a task has no attribute {name!r}" + (f": write {meant}" if meant else ""))

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle:
        """Insert a job with these arguments; a worker runs it as soon as one is free."""
        return self._plain.enqueue(*args, **kwargs)

    async def enqueue_async(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle:
        """The same, from an event loop."""
        return await self._plain.enqueue_async(*args, **kwargs)

    def job(self, *args: P.args, **kwargs: P.kwargs) -> NewJob:
        """Describe a job for `App.enqueue_many`."""
        return self._plain.job(*args, **kwargs)

    def using(self, **words: Unpack[CallWords]) -> Enqueuer[P]:
        """Options for one enqueue: they go before those of the task.

        `run_at` is an aware datetime, `delay` a duration such as "5m" or a timedelta. `unique_key` is the key itself and
        no template; it is taken under the terms of the task's `unique`, else until the job is finished. `conn`, in whose
        transaction the job is inserted, is of psycopg, SQLAlchemy or Django; for `enqueue_async` an async one.
        The job waits until all jobs in `after` have succeeded: handles or ids, and jobs that come before it in the same
        `enqueue_many`; when one of them ends otherwise, it ends as cancelled. `parent` is a handle or an id of what it is a
        part of.
        """
        what = f"task {self.name!r}"
        options, conn = checked_call(what, self.signature, dict(words))
        return Enqueuer(self, options, conn)

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The JSON text of a call's arguments, by name; raises TypeError or ArgumentError for what does not fit."""
        if not args and self._required is not None and self._required <= kwargs.keys() <= self._named:
            return check_object(kwargs, f"task {self.name!r}: args")
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"task {self.name!r} {self.signature}: {error}") from None
        named = {}
        for name, value in bound.arguments.items():
            if self.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                named.update(value)
            else:
                named[name] = value
        return check_object(named, f"task {self.name!r}: args")

    def defaults(self) -> dict[str, Any]:
        """What a job of this task gets where neither call nor schedule says."""
        return {
            "queue": self.queue,
            "priority": self.priority,
            "max_attempts": self.retry.most if self.retry else None,
            "labels": None if self.labels is None else list(self.labels),
            "options": self.entrance | ({"on_crash": "hold"} if self.options.on_crash == "hold" else {}),
            "arg_defaults": self.argument_defaults,
        }


def _keywords(signature: inspect.Signature) -> tuple[frozenset[str] | None, frozenset[str]]:
    """The names that a call by keywords alone has to have, and those that it may have; None where it takes others."""
    parameters = signature.parameters.values()
    if any(p.kind not in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in parameters):
        return None, frozenset()
    return frozenset(p.name for p in parameters if p.default is p.empty), frozenset(signature.parameters)


def _of_batch(name: str, signature: inspect.Signature, is_iteration: bool) -> inspect.Signature:
    """What callers give for one job of a batch task: any arguments, by keyword."""
    if is_iteration or len(signature.parameters) != 1:
        raise ArgumentError(
            f"task {name!r} {signature} has a batch: make it a plain function with one parameter, the list of jobs"
        )
    anything = inspect.Parameter("args", inspect.Parameter.VAR_KEYWORD)
    return signature.replace(parameters=[anything])


def _without_cursor(signature: inspect.Signature) -> inspect.Signature:
    """What is left for callers: the cursor comes from the last checkpoint."""
    return signature.replace(parameters=[p for p in signature.parameters.values() if p.name != "cursor"])


def _signature(name: str, function: Callable[..., Any]) -> inspect.Signature:
    if not callable(function):
        raise ArgumentError(f"task {name!r} is {function!r:.60}, which cannot be called: decorate a function")
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise ArgumentError(
                f"task {name!r} has the parameter {str(parameter)!r}, but arguments of jobs have names: "
                f"make it an ordinary or keyword parameter"
            )
    return signature
