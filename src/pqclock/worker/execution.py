"""Run one claimed job, and decide what it came to: deciding is here, writing is the store's."""

from __future__ import annotations

import logging
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
from pqclock.tasks.signals import Cancel, Snooze
from pqclock.tasks.task import Task

log = logging.getLogger("pqclock.worker")

ERROR_LIMIT = 1_000
TRACEBACK_LIMIT = 8_192


def run(task: Task[..., Any], job: ClaimedJob, started_at: datetime, now: Callable[[], datetime]) -> Outcome:
    """Run a synchronous handler to its end."""
    token = running.set(current(job))
    try:
        value = task.function(**job.args)
    except BaseException as error:
        return failed(task, job, error, started_at, now())
    finally:
        running.reset(token)
    return succeeded(job, value, started_at, now())


async def run_async(
    task: Task[..., Any], job: ClaimedJob, started_at: datetime, now: Callable[[], datetime]
) -> Outcome:
    """Run an asynchronous handler to its end."""
    running.set(current(job))
    try:
        value = await task.function(**job.args)
    except BaseException as error:
        return failed(task, job, error, started_at, now())
    return succeeded(job, value, started_at, now())


def current(job: ClaimedJob) -> CurrentJob:
    """What `current_job()` tells the handler."""
    return CurrentJob(
        id=job.id,
        task=job.task,
        queue=job.queue,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        run_at=job.run_at,
        tick=job.tick,
        schedule_key=job.schedule_key,
        labels=tuple(job.labels),
    )


def succeeded(job: ClaimedJob, value: object, started_at: datetime, finished_at: datetime) -> Outcome:
    """The handler returned. A value that is no JSON is not kept, and said so: the work itself is done."""
    result, error = None, None
    if value is not None:
        try:
            result = check_value(value, f"the result of task {job.task!r}")
        except ArgumentError as refusal:
            error = storable_text(f"succeeded, but the result is not kept: {refusal}", ERROR_LIMIT)
            log.warning("job %s %s", job.id, error)
    return Outcome(
        job.id, job.lease, "succeeded", "succeeded", result=result, error=error,
        started_at=started_at, finished_at=finished_at,
    )  # fmt: skip


def failed(
    task: Task[..., Any], job: ClaimedJob, error: BaseException, started_at: datetime, finished_at: datetime
) -> Outcome:
    """The handler raised: a signal is obeyed, anything else is tried again or is the end."""
    if isinstance(error, Snooze):
        return Outcome(
            job.id, job.lease, "scheduled", "snoozed", charged=False, delay=error.delay.total_seconds(),
            started_at=started_at, finished_at=finished_at,
        )  # fmt: skip
    if isinstance(error, Cancel):
        return Outcome(
            job.id, job.lease, "cancelled", "cancelled", error=storable_text(error.reason, ERROR_LIMIT),
            started_at=started_at, finished_at=finished_at,
        )  # fmt: skip
    again = job.attempt < job.max_attempts
    delay = (task.retry or Retry()).delay(job.attempt, job.id).total_seconds() if again else 0.0
    words = storable_text(_one_line(error), ERROR_LIMIT)
    log.log(
        logging.WARNING if again else logging.ERROR,
        "job %s (%s) failed at attempt %s of %s: %s%s",
        job.id, job.task, job.attempt, job.max_attempts, words, f"; again in {delay:.1f} s" if again else "",
        extra={"job_id": job.id, "task": job.task, "attempt": job.attempt},
    )  # fmt: skip
    return Outcome(
        job.id,
        job.lease,
        "scheduled" if again else "failed",
        "failed",
        delay=delay,
        error_type=storable_text(type(error).__qualname__, 200),
        error=words,
        traceback=storable_text("".join(_traceback(error)), TRACEBACK_LIMIT),
        started_at=started_at,
        finished_at=finished_at,
    )


def unknown_task(job: ClaimedJob, now: datetime) -> Outcome:
    """The registry lost the task since the claim asked for it: the job goes back."""
    return Outcome(job.id, job.lease, "ready", None, charged=False, finished_at=now)


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
