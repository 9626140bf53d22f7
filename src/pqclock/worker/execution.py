"""Run one claimed job, and decide what it came to: deciding is here, writing is the store's. Nothing here raises."""

from __future__ import annotations

import inspect
import json
import logging
import threading
import traceback
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pqclock.errors import ArgumentError
from pqclock.rules.job import Outcome
from pqclock.rules.json_values import check_value, storable_text
from pqclock.rules.retry import Retry
from pqclock.store.jobs import ClaimedJob
from pqclock.tasks.context import CurrentJob, running
from pqclock.tasks.signals import Cancel, Cooldown, Snooze
from pqclock.tasks.task import Task

log = logging.getLogger("pqclock.worker")

ERROR_LIMIT = 1_000
TRACEBACK_LIMIT = 8_192


class _Hopeless(Exception):
    """Another attempt would end in the same way; `kind` is the error's type, as it is shown."""

    def __init__(self, kind: str, sentence: str) -> None:
        self.kind = kind
        super().__init__(sentence)


def run(
    task: Task[..., Any], job: ClaimedJob, known: CurrentJob, started_at: datetime, now: Callable[[], datetime]
) -> Outcome:
    """Run a synchronous handler to its end."""
    token = running.set(known)
    try:
        arguments = _arguments(job)
        value = task.function(**arguments)
        _check_that_it_ran(task, value)
        return succeeded(job, value, started_at, now())
    except BaseException as error:
        return failed(task, job, error, started_at, now())
    finally:
        running.reset(token)


async def run_async(
    task: Task[..., Any], job: ClaimedJob, known: CurrentJob, started_at: datetime, now: Callable[[], datetime]
) -> Outcome:
    """Run an asynchronous handler to its end."""
    running.set(known)
    try:
        arguments = _arguments(job)
        value = await task.function(**arguments)
        _check_that_it_ran(task, value)
        return succeeded(job, value, started_at, now())
    except BaseException as error:
        return failed(task, job, error, started_at, now())


def current(job: ClaimedJob, cancelled: threading.Event) -> CurrentJob:
    """What `current_job()` tells the handler."""
    return CurrentJob(
        id=job.id,
        task=job.task,
        queue=job.queue,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        run_at=job.run_at,
        granted_at=job.claimed_at,
        tick=job.tick,
        schedule_key=job.schedule_key,
        labels=tuple(job.labels),
        _cancelled=cancelled,
    )


def _arguments(job: ClaimedJob) -> dict[str, Any]:
    """The arguments of the call; SQL may have enqueued numbers and depths that Python does not read."""
    try:
        arguments: dict[str, Any] = json.loads(job.args)
    except (ValueError, RecursionError) as error:
        raise _Hopeless(
            type(error).__name__,
            f"its arguments cannot be read: {error}: pass large numbers as texts, and flatter data",
        ) from None
    return arguments


def _check_that_it_ran(task: Task[..., Any], value: object) -> None:
    """A coroutine or generator as the result means that the body of the function has not begun."""
    if not (inspect.isawaitable(value) or inspect.isgenerator(value) or inspect.isasyncgen(value)):
        return
    kind = type(value).__name__
    if inspect.iscoroutine(value) or inspect.isgenerator(value):
        value.close()
    if inspect.isawaitable(value):
        cure = "make the wrapper of its decorator `async def`, and await the function there"
    else:
        cure = "a function with `yield` is not run as a job yet: write it, and its decorator, as a plain function"
    raise _Hopeless("TypeError", f"task {task.name!r} returned a {kind}, so its body did not run: {cure}")


def succeeded(job: ClaimedJob, value: object, started_at: datetime, finished_at: datetime) -> Outcome:
    """The handler returned. A value that is no JSON is not kept, and said so: the work itself is done."""
    result, error = None, None
    if value is not None:
        try:
            result = check_value(value, f"the result of task {job.task!r}")
        except Exception as refusal:
            # Not only a refusal of ours: to look at the value runs code of its own, and other threads may change it.
            reason = str(refusal) if isinstance(refusal, ArgumentError) else _one_line(refusal)
            error = storable_text(f"succeeded, but the result is not kept: {reason}", ERROR_LIMIT)
    return Outcome(
        job.id, job.lease, "succeeded", "succeeded", result=result, error=error,
        started_at=started_at, finished_at=finished_at, gated=job.gated,
    )  # fmt: skip


def failed(
    task: Task[..., Any], job: ClaimedJob, error: BaseException, started_at: datetime, finished_at: datetime
) -> Outcome:
    """The handler raised: a signal is obeyed, anything else is tried again or is the end."""
    try:
        return _obeyed(job, error, started_at, finished_at) or _charged(task, job, error, started_at, finished_at)
    except Exception as trouble:
        words = f"{type(error).__qualname__}, which cannot be handled: {_one_line(trouble)}"
        return Outcome(
            job.id, job.lease, "failed", "failed", error_type=storable_text(type(error).__qualname__, 200),
            error=storable_text(words, ERROR_LIMIT), started_at=started_at, finished_at=finished_at, gated=job.gated,
        )  # fmt: skip


def _obeyed(job: ClaimedJob, error: BaseException, started_at: datetime, finished_at: datetime) -> Outcome | None:
    if isinstance(error, Snooze):
        return Outcome(
            job.id, job.lease, "scheduled", "snoozed", charged=False, delay=error.delay.total_seconds(),
            started_at=started_at, finished_at=finished_at, gated=job.gated,
        )  # fmt: skip
    if isinstance(error, Cooldown):
        seconds = error.delay.total_seconds()
        return Outcome(
            job.id, job.lease, "scheduled", "snoozed", charged=False, delay=seconds,
            error=storable_text(str(error), ERROR_LIMIT), started_at=started_at, finished_at=finished_at,
            gated=job.gated, cools=storable_text(str(error.key), 512), cools_for=seconds,
        )  # fmt: skip
    if isinstance(error, Cancel):
        return Outcome(
            job.id, job.lease, "cancelled", "cancelled", error=storable_text(str(error.reason), ERROR_LIMIT),
            started_at=started_at, finished_at=finished_at, gated=job.gated,
        )  # fmt: skip
    return None


def _charged(
    task: Task[..., Any], job: ClaimedJob, error: BaseException, started_at: datetime, finished_at: datetime
) -> Outcome:
    ours = isinstance(error, _Hopeless)
    again = job.attempt < job.max_attempts and not ours
    return Outcome(
        job.id,
        job.lease,
        "scheduled" if again else "failed",
        "failed",
        delay=(task.retry or Retry()).delay(job.attempt, job.id).total_seconds() if again else 0.0,
        error_type=storable_text(error.kind if isinstance(error, _Hopeless) else type(error).__qualname__, 200),
        error=storable_text(str(error) if ours else _one_line(error), ERROR_LIMIT),
        traceback=None if ours else storable_text("".join(_traceback(error)), TRACEBACK_LIMIT),
        started_at=started_at,
        finished_at=finished_at,
        gated=job.gated,
        error_names=_names(error) if job.fused else (),
    )


def _names(error: BaseException) -> tuple[str, ...]:
    """The names of the classes that the exception is of, for the filters of fuses."""
    own = (error.kind,) if isinstance(error, _Hopeless) else ()
    return (*own, *(storable_text(kind.__name__, 200) for kind in type(error).__mro__ if kind is not object))


def report(job: ClaimedJob, outcome: Outcome) -> None:
    """Log what is no plain success; for outcomes that are this worker's to tell."""
    if outcome.outcome == "succeeded" and outcome.error is not None:
        log.warning("job %s %s", job.id, outcome.error, extra={"job_id": job.id, "task": job.task})
    if outcome.outcome != "failed":
        return
    again = outcome.state == "scheduled"
    log.log(
        logging.WARNING if again else logging.ERROR,
        "job %s (%s) failed at attempt %s of %s: %s%s",
        job.id, job.task, job.attempt, job.max_attempts, outcome.error,
        f"; again in {outcome.delay:.1f} s" if again else "",
        extra={"job_id": job.id, "task": job.task, "attempt": job.attempt},
    )  # fmt: skip


def _one_line(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "(its message cannot be shown)"
    name = type(error).__qualname__
    return f"{name}: {text}" if text else name


def _traceback(error: BaseException) -> list[str]:
    """The traceback from the handler on: the frames of the worker say nothing to its author."""
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    try:
        return traceback.format_exception(type(error), error, frames)
    except Exception:
        return [_one_line(error)]
