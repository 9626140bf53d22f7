"""Call the handler of a job, inside of all that surrounds it, until it returns, raises, or goes back at a checkpoint."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, ExitStack
from typing import Any

from pqclock.errors import ArgumentError
from pqclock.rules.job import Outcome
from pqclock.tasks.context import running
from pqclock.tasks.hooks import Surrounding
from pqclock.tasks.job import Job
from pqclock.worker import outcomes
from pqclock.worker.run import GiveBack, Hopeless, Run


def run_here(run: Run, around: Sequence[Surrounding]) -> tuple[Outcome, BaseException | None]:
    """Run a synchronous handler to its end, on this thread; gives what it came to, and what it raised."""
    token = running.set(run)
    try:
        run.enter()
        try:
            value = _called_inside(run, around) if around else _called(run)
        finally:
            run.leave()
        _check_that_it_stays(run)
        return outcomes.succeeded(run, value), None
    except BaseException as error:
        run.leave()
        return outcomes.failed(run, error), error
    finally:
        running.reset(token)


def _called_inside(run: Run, around: Sequence[Surrounding]) -> object:
    # What surrounds it may swallow what it raises.
    with ExitStack() as stack:
        for surrounding in around:
            stack.enter_context(_sync(surrounding(run.known), surrounding))
        return _called(run)
    return None


async def run_async(run: Run, around: Sequence[Surrounding]) -> tuple[Outcome, BaseException | None]:
    """Run an asynchronous handler to its end, in this coroutine."""
    running.set(run)
    try:
        run.enter()
        try:
            value = await (_called_inside_async(run, around) if around else _called_async(run))
        finally:
            run.leave()
        _check_that_it_stays(run)
        return outcomes.succeeded(run, value), None
    except BaseException as error:
        meant = run.meant(error)
        return outcomes.failed(run, meant), meant


async def _called_inside_async(run: Run, around: Sequence[Surrounding]) -> object:
    async with AsyncExitStack() as stack:
        for surrounding in around:
            await _entered(stack, surrounding(run.known))
        return await _called_async(run)
    return None


# The database, and whoever else makes these texts, writes nothing before and nothing after the value.
_decode = json.JSONDecoder().raw_decode

Ends = list[tuple[Outcome, BaseException | None]]


def run_batch_here(runs: Sequence[Run], around: Sequence[Surrounding]) -> Ends:
    """Run a synchronous handler for many jobs at once; gives what each came to. The first one stands for all outside."""
    lead, verdict = runs[0], None
    try:
        lead.enter()
        try:
            with ExitStack() as stack:
                for surrounding in around:
                    stack.enter_context(_sync(surrounding(lead.known), surrounding))
                verdict = lead.task.function(_jobs(runs))
                _check_that_it_ran(lead, verdict)
        finally:
            lead.leave()
        return _verdicts(runs, verdict)
    except BaseException as error:
        lead.leave()
        return [(outcomes.failed(run, error), error) for run in runs]


async def run_batch_async(runs: Sequence[Run], around: Sequence[Surrounding]) -> Ends:
    """The same for an asynchronous handler, in this coroutine."""
    lead, verdict = runs[0], None
    try:
        lead.enter()
        try:
            async with AsyncExitStack() as stack:
                for surrounding in around:
                    await _entered(stack, surrounding(lead.known))
                verdict = await lead.task.function(_jobs(runs))
        finally:
            lead.leave()
        return _verdicts(runs, verdict)
    except BaseException as error:
        meant = lead.meant(error)
        return [(outcomes.failed(run, meant), meant) for run in runs]


async def _entered(stack: AsyncExitStack, manager: Any) -> None:
    if isinstance(manager, AbstractAsyncContextManager):
        # One that can do both need not hold up the event loop.
        await stack.enter_async_context(manager)
    else:
        stack.enter_context(manager)


def _jobs(runs: Sequence[Run]) -> list[Job]:
    return [
        Job(
            run.job.id, run.job.task, _arguments(run), run.job.queue, run.job.attempt, run.job.max_attempts,
            run.job.run_at, run.job.tick, run.job.schedule_key, tuple(run.job.labels),
        )
        for run in runs
    ]  # fmt: skip


def _verdicts(runs: Sequence[Run], verdict: object) -> Ends:
    """Each job's own end: those that the verdict names have failed."""
    errors = {} if verdict is None else verdict
    task, known = runs[0].task, {run.job.id for run in runs}
    if not isinstance(errors, Mapping) or not known.issuperset(errors):
        raise Hopeless(
            "TypeError",
            f"task {task.name!r} returned {verdict!r:.60}: return None, or a dict of the exceptions of jobs of the call by id",
        )
    return [_end(run, errors.get(run.job.id)) for run in runs]


def _end(run: Run, error: object) -> tuple[Outcome, BaseException | None]:
    if error is None:
        return outcomes.succeeded(run, None), None
    if not isinstance(error, BaseException):
        error = TypeError(f"the verdict on job {run.job.id} is {error!r:.60}: it must be an exception")
    return outcomes.failed(run, error), error


def _sync(manager: object, surrounding: object) -> AbstractContextManager[object]:
    if isinstance(manager, AbstractContextManager):
        return manager
    raise ArgumentError(
        f"app.around_job({surrounding!r:.60}) gave {manager!r:.60} for a synchronous task: give a context manager with "
        f"`with`, one for `async with` serves async tasks alone"
    )


def _called(run: Run) -> object:
    value = run.task.function(**_arguments(run))
    if run.task.is_iteration and inspect.isgenerator(value):
        return _driven(run, value)
    _check_that_it_ran(run, value)
    return value


async def _called_async(run: Run) -> object:
    value: Any = run.task.function(**_arguments(run))
    if run.task.is_iteration and inspect.isasyncgen(value):
        await _driven_async(run, value)
        return None
    value = await value
    _check_that_it_ran(run, value)
    return value


def _driven(run: Run, steps: Generator[Any, Any, Any]) -> object:
    """Go from checkpoint to checkpoint; gives what the generator returns."""
    try:
        while True:
            try:
                point = next(steps)
            except StopIteration as end:
                return end.value
            run.pass_point(point)
    finally:
        steps.close()


async def _driven_async(run: Run, steps: AsyncGenerator[Any, Any]) -> None:
    try:
        async for point in steps:
            run.pass_point(point)
    finally:
        await steps.aclose()


def _arguments(run: Run) -> dict[str, Any]:
    """The arguments of the call; SQL may have enqueued numbers and depths that Python does not read."""
    try:
        arguments: dict[str, Any] = _decode(run.job.args)[0]
    except (ValueError, RecursionError) as error:
        raise Hopeless(
            type(error).__name__,
            f"its arguments cannot be read: {error}: pass large numbers as texts, and flatter data",
        ) from None
    if run.task.takes_cursor and run.job.checkpoint is not None and run.known.cursor is not None:
        arguments["cursor"] = run.known.cursor
    return arguments


def unreadable(run: Run) -> Hopeless | None:
    """Why the arguments of a job cannot be read; None when they can."""
    try:
        _arguments(run)
    except Hopeless as error:
        return error
    return None


def _check_that_it_stays(run: Run) -> None:
    """A manager around the run may swallow what the handler raises, but not that its job goes back."""
    if run.goes_back:
        raise GiveBack


def _check_that_it_ran(run: Run, value: object) -> None:
    """A coroutine as the result means that the body of the function has not begun."""
    if value is None or not (inspect.isawaitable(value) or inspect.isgenerator(value) or inspect.isasyncgen(value)):
        return
    kind = type(value).__name__
    if inspect.iscoroutine(value) or inspect.isgenerator(value):
        value.close()
    cure = (
        "`async def`, and await the function there"
        if inspect.isawaitable(value)
        else "a generator too, by `yield from`"
    )
    raise Hopeless(
        "TypeError",
        f"task {run.task.name!r} returned a {kind}, so its body did not run: make the wrapper of its decorator {cure}",
    )
