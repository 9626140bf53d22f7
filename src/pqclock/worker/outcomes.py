"""What a run came to: decided here, written by the store. Nothing here raises."""

from __future__ import annotations

import logging
import traceback
from datetime import timedelta
from typing import Any

from pqclock.errors import ArgumentError
from pqclock.rules.job import Outcome
from pqclock.rules.json_values import check_value, storable_text
from pqclock.rules.retry import Retry, class_names
from pqclock.store.jobs import ClaimedJob
from pqclock.tasks.hooks import Failure
from pqclock.tasks.signals import Cancel, Cancelled, Cooldown, Snooze, Timeout
from pqclock.worker.run import GiveBack, Hopeless, Run

log = logging.getLogger("pqclock.worker")

ERROR_LIMIT = 1_000
TRACEBACK_LIMIT = 8_192
# A handler that was interrupted, and goes on, is waited for no longer.
WRITE_OFF_AFTER = 10.0
# Its process, if it has one of its own, is killed.
KILL_AFTER = 2.0


_UNKEPT = tuple(Outcome(0, 0, "succeeded", "succeeded", kept=False))[2:]


def succeeded(run: Run, value: object) -> Outcome:
    """The handler returned: it is done, or it ended early because it was told that it is cancelled."""
    if run.dialogue.cancelled and run.dialogue.heard:
        return _ended(run, "cancelled", "cancelled")
    if value is None:
        return _done(run)
    result, error = None, None
    try:
        result = check_value(value, f"the result of task {run.job.task!r}")
    except Exception as refusal:
        # Not only a refusal of ours: to look at the value runs code of its own, and other threads may change it.
        reason = str(refusal) if isinstance(refusal, ArgumentError) else one_line(refusal)
        error = storable_text(f"succeeded, but the result is not kept: {reason}", ERROR_LIMIT)
    return _ended(run, "succeeded", "succeeded", result=result, error=error)


def _done(run: Run) -> Outcome:
    """As `_ended` would have it; most jobs end like this."""
    job, kept = run.job, run.history == "all"
    if not kept and not job.gated and not run.has_moved:
        return Outcome._make((job.id, job.lease, *_UNKEPT))
    return Outcome(
        job.id, job.lease, "succeeded", "succeeded", started_at=run.started_at, finished_at=run.now(),
        gated=job.gated, checkpoint=run.checkpoint(), kept=kept,
    )  # fmt: skip


def failed(run: Run, error: BaseException) -> Outcome:
    """The handler raised: a signal is obeyed, anything else is tried again or is the end."""
    try:
        return _obeyed(run, error) or _charged(run, error)
    except BaseException as trouble:
        # Its own code runs when it is looked at, and may raise anything.
        words = f"{type(error).__qualname__}, which cannot be handled: {one_line(trouble)}"
        kind = storable_text(type(error).__qualname__, 200)
        return _ended(run, "failed", "failed", error_type=kind, error=storable_text(words, ERROR_LIMIT))


def put_off(job: ClaimedJob, error: BaseException, delay: float) -> Outcome:
    """It could not be begun, through no fault of its own: it is tried again later, and no attempt counts."""
    words = storable_text(f"it could not be begun: {one_line(error)}", ERROR_LIMIT)
    return Outcome(job.id, job.lease, "scheduled", None, charged=False, delay=delay, error=words, gated=job.gated)


def crash(run: Run, outcome: Outcome) -> Failure:
    """What reports hear of a job whose process died."""
    retry_in = timedelta(0) if outcome.state == "ready" else None
    job = run.job
    return Failure(job.id, job.task, "crashed", outcome.error or "", job.attempt, job=run.known, retry_in=retry_in)


def interrupted(run: Run) -> BaseException:
    """What a handler should have raised that went on when it was interrupted."""
    kind = run.interruption or Timeout
    if run.kill is not None:
        return kind(f"its handler went on for {KILL_AFTER:g} s after it was interrupted, and its process was killed")
    return kind(f"its handler went on for {WRITE_OFF_AFTER:g} s after it was interrupted: nobody waits for it any more")


def tell_of_written_off(run: Run, *, killed: bool) -> None:
    """Log that a handler did not end when it was interrupted."""
    known = {"job_id": run.job.id, "task": run.job.task}
    if killed:
        log.warning(
            "the process of job %s (%s) was killed: it did not end when interrupted", *known.values(), extra=known
        )
    else:
        log.error(
            "job %s (%s) does not end although it was interrupted: its executor is taken until it does",
            *known.values(), extra=known,
        )  # fmt: skip


def _ended(run: Run, state: str, outcome: str, **more: Any) -> Outcome:
    history, job = run.history, run.job
    kept = history == "all" or (history == "failures" and state not in ("succeeded", "ready"))
    return Outcome(
        job.id, job.lease, state, outcome, started_at=run.started_at, finished_at=run.now(), gated=job.gated,
        checkpoint=run.checkpoint(), kept=kept, **more,
    )  # fmt: skip


def _obeyed(run: Run, error: BaseException) -> Outcome | None:
    if isinstance(error, GiveBack):
        return _ended(run, "ready", "interrupted", charged=False, keeps_place=run.dialogue.wanted_back)
    if isinstance(error, Cancel):
        return _ended(run, "cancelled", "cancelled", error=storable_text(str(error.reason), ERROR_LIMIT))
    if isinstance(error, Cancelled) or run.dialogue.cancelled:
        # Whatever a handler raises that is to end, it is not tried again.
        words = None if isinstance(error, Cancelled) else one_line(error)
        return _ended(run, "cancelled", "cancelled", error=words and storable_text(words, ERROR_LIMIT))
    if isinstance(error, Snooze):
        return _ended(run, "scheduled", "snoozed", charged=False, delay=error.delay.total_seconds())
    if isinstance(error, Cooldown):
        seconds = error.delay.total_seconds()
        return _ended(
            run, "scheduled", "snoozed", charged=False, delay=seconds, error=storable_text(str(error), ERROR_LIMIT),
            cools=storable_text(str(error.key), 512) if seconds > 0 else None, cools_for=seconds,
        )  # fmt: skip
    return None


def _charged(run: Run, error: BaseException) -> Outcome:
    job, names = run.job, _names(error)
    ours = isinstance(error, Hopeless)
    retry = run.task.retry or Retry()
    verdict = "failed" if ours else retry.verdict(names, job.attempt, job.max_attempts)
    again = verdict == "again"
    return _ended(
        run, "scheduled" if again else verdict, "failed",
        delay=retry.policy(names).delay(job.attempt, job.id).total_seconds() if again else 0.0,
        error_type=storable_text(error.kind if isinstance(error, Hopeless) else type(error).__qualname__, 200),
        error=storable_text(_words(run, error), ERROR_LIMIT),
        traceback=None if ours else storable_text("".join(_traceback(error)), TRACEBACK_LIMIT),
        error_names=names if job.fused else (),
    )  # fmt: skip


def _words(run: Run, error: BaseException) -> str:
    if isinstance(error, Hopeless):
        return str(error)
    if isinstance(error, Timeout) and not str(error):
        return f"Timeout: it ran longer than its timeout of {run.timeout:g} s"
    return one_line(error)


def _names(error: BaseException) -> tuple[str, ...]:
    """The names of the classes that the exception is of, for the filters of fuses and policies."""
    own = (error.kind,) if isinstance(error, Hopeless) else ()
    return (*own, *(storable_text(name, 200) for name in class_names(type(error))))


def failure(run: Run, outcome: Outcome, error: BaseException) -> Failure | None:
    """What reports hear of it; None for what is no failure."""
    if outcome.outcome != "failed":
        return None
    retry_in = outcome.delay if outcome.state == "scheduled" else None
    if isinstance(error, Timeout):
        reason = "timed out"
    elif outcome.state == "discarded":
        reason = "discarded"
    else:
        reason = "retries used up" if retry_in is None else "retried"
    return Failure(
        run.job.id, run.job.task, reason, outcome.error or "", run.job.attempt, error, run.known,
        None if retry_in is None else timedelta(seconds=retry_in),
    )  # fmt: skip


def report(run: Run, outcome: Outcome) -> None:
    """Log what is no plain success; for outcomes that are this worker's to tell."""
    job = run.job
    if outcome.outcome == "succeeded" and outcome.error is not None:
        log.warning("job %s %s", job.id, outcome.error, extra={"job_id": job.id, "task": job.task})
    if outcome.outcome != "failed":
        return
    ends = {
        "scheduled": (logging.WARNING, f"; again in {outcome.delay:.1f} s"),
        "discarded": (logging.INFO, "; discarded"),
    }
    level, end = ends.get(outcome.state, (logging.ERROR, ""))
    log.log(
        level, "job %s (%s) failed at attempt %s of %s: %s%s",
        job.id, job.task, job.attempt, job.max_attempts, outcome.error, end,
        extra={"job_id": job.id, "task": job.task, "attempt": job.attempt},
    )  # fmt: skip


def one_line(error: BaseException) -> str:
    """The exception in one line, whatever its author made of it."""
    try:
        text = " ".join(str(error).split())
    except BaseException:
        text = "(its message cannot be shown)"
    name = type(error).__qualname__
    return f"{name}: {text}" if text else name


def _traceback(error: BaseException) -> list[str]:
    """The traceback from the handler on: the frames of the worker say nothing to its author."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith("pqclock.worker"):
        frames = frames.tb_next
    try:
        return traceback.format_exception(type(error), error, frames)
    except BaseException:
        return [one_line(error)]
