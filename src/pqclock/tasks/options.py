"""The options of tasks and of single enqueues, checked when they are given."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches

from pqclock.errors import ArgumentError, DurationError
from pqclock.rules.durations import parse_duration
from pqclock.rules.retry import MAX_ATTEMPTS, Retry

_TASK_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}", re.ASCII)
_QUEUE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
MAX_LABELS = 16
HISTORIES = ("all", "failures", "none")
MAX_LABEL = 64
MAX_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """The checked options of a task; None where the task says nothing."""

    queue: str | None
    priority: int | None
    labels: tuple[str, ...] | None
    retry: Retry | None
    timeout: float | None = None
    slice: float | None = None
    history: str | None = None
    batch: int | None = None
    batch_wait: float = 0.0
    on_crash: str | None = None
    executor: str | None = None


# What other queues call the same: Celery, procrastinate, APScheduler, Dramatiq.
_ELSEWHERE = {
    "countdown": "delay", "schedule_in": "delay", "eta": "run_at", "schedule_at": "run_at", "run_date": "run_at",
    "max_retries": "max_attempts", "retry_backoff": "retry", "autoretry_for": "retry", "time_limit": "timeout",
    "soft_time_limit": "timeout", "rate_limit": "throttle", "queueing_lock": "unique_key", "lock": "throttle",
    "queue_name": "queue", "acks_late": "on_crash",
}  # fmt: skip


def refuse_unknown(what: str, given: Collection[str], known: Collection[str]) -> None:
    """Raise TypeError for options that there are not, with the nearest one that there is."""
    for name in given:
        if name not in known:
            meant = _ELSEWHERE.get(name)
            near = [meant] if meant in known else get_close_matches(name, known, 1)
            raise TypeError(f"{what} has no option {name!r}" + (f": did you mean {near[0]!r}?" if near else ""))


def check_task_name(name: str) -> str:
    """The name, or ArgumentError."""
    if not isinstance(name, str) or not _TASK_NAME.fullmatch(name):
        raise ArgumentError(
            f"task name {name!r:.60} cannot be used: write up to 200 letters, digits and '_', '.', ':', '-', "
            f"for example 'reports.nightly'"
        )
    return name


def check_queue(queue: str | None, what: str) -> str | None:
    """The queue's name, or ArgumentError."""
    if queue is not None and (not isinstance(queue, str) or not _QUEUE_NAME.fullmatch(queue)):
        raise ArgumentError(
            f"{what}: queue {queue!r:.60} is no name for a queue: use up to 100 letters, digits, '_', '.' and '-'"
        )
    return queue


def check_priority(priority: int | None, what: str) -> int | None:
    """The priority, or ArgumentError; it is a smallint in the database."""
    if priority is not None and (type(priority) is not int or not -32768 <= priority <= 32767):
        raise ArgumentError(
            f"{what}: priority {priority!r:.40} must be a whole number from -32768 to 32767 (lower runs first)"
        )
    return priority


def check_labels(labels: Sequence[str] | None, what: str) -> tuple[str, ...] | None:
    """The labels, or ArgumentError."""
    if labels is None:
        return None
    if isinstance(labels, str) or not isinstance(labels, Collection) or len(labels) > MAX_LABELS:
        raise ArgumentError(f"{what}: labels {labels!r:.60} must be a list of at most {MAX_LABELS} texts")
    for label in labels:
        if not isinstance(label, str) or not 1 <= len(label) <= MAX_LABEL or not label.isprintable():
            raise ArgumentError(f"{what}: label {label!r:.80} must be a printable text of 1 to {MAX_LABEL} characters")
    return tuple(dict.fromkeys(labels))


def check_max_attempts(max_attempts: int | None, what: str) -> int | None:
    """The number of attempts, or ArgumentError."""
    if max_attempts is not None and (type(max_attempts) is not int or not 1 <= max_attempts <= MAX_ATTEMPTS):
        raise ArgumentError(
            f"{what}: max_attempts {max_attempts!r:.40} must be a whole number from 1 to {MAX_ATTEMPTS}"
        )
    return max_attempts


def check_retry(retry: Retry | None, max_attempts: int | None, what: str) -> Retry | None:
    """The policy: `max_attempts=3` is short for Retry(max_attempts=3)."""
    check_max_attempts(max_attempts, what)
    if retry is not None and not isinstance(retry, Retry):
        raise ArgumentError(f"{what}: retry {retry!r:.60} must be a pqclock.Retry")
    if retry is not None and max_attempts is not None:
        raise ArgumentError(
            f"{what}: give either retry=Retry(max_attempts=...) or max_attempts={max_attempts}, not both"
        )
    return Retry(max_attempts=max_attempts) if max_attempts is not None else retry


def check_seconds(name: str, given: str | timedelta | None, what: str) -> float | None:
    """A duration of at least a millisecond, in seconds; or ArgumentError."""
    if given is None:
        return None
    try:
        seconds = parse_duration(given).total_seconds()
    except (DurationError, TypeError) as error:
        raise ArgumentError(f"{what}: {name} {given!r:.60} is no duration: {error}") from None
    if seconds < 0.001:
        raise ArgumentError(f"{what}: {name} {given!r:.60} must be a millisecond or longer")
    return seconds


def check_history(history: str | None, what: str) -> str | None:
    """Which ended jobs are kept, or ArgumentError."""
    if history is not None and history not in HISTORIES:
        raise ArgumentError(f"{what}: history {history!r:.60} must be one of {', '.join(HISTORIES)}")
    return history


def run_words(timeout: str | timedelta | None, history: str | None, what: str) -> dict[str, object]:
    """What a call says of its run, as JSON values; or ArgumentError."""
    words = {"timeout": check_seconds("timeout", timeout, what), "history": check_history(history, what)}
    return {name: value for name, value in words.items() if value is not None}


def check_executor(executor: str | None, is_async: bool, what: str) -> str | None:
    """Where the handler runs, or ArgumentError."""
    if executor not in (None, "thread", "process"):
        raise ArgumentError(f"{what}: executor {executor!r:.60} must be thread or process")
    if executor == "process" and is_async:
        raise ArgumentError(
            f"{what}: executor 'process' is for plain functions: async ones run on the event loop, batches on threads"
        )
    return executor


def check_on_crash(on_crash: str | None, what: str) -> str | None:
    """What becomes of a job whose worker died, or ArgumentError."""
    if on_crash not in (None, "retry", "hold"):
        raise ArgumentError(
            f"{what}: on_crash {on_crash!r:.60} must be retry, or hold: until a person has looked at it"
        )
    return on_crash


def check_batch(batch: int | None, wait: str | timedelta | None, what: str) -> tuple[int | None, float]:
    """How many jobs a call gets at most, and how many seconds it waits for them; or ArgumentError."""
    if batch is not None and (type(batch) is not int or not 1 <= batch <= MAX_BATCH):
        raise ArgumentError(f"{what}: batch {batch!r:.40} must be a whole number from 1 to {MAX_BATCH}")
    if batch is None and wait is not None:
        raise ArgumentError(f"{what}: batch_wait is for tasks that take many jobs at once: give batch=... too")
    return batch, check_seconds("batch_wait", wait, what) or 0.0


def check_run_at(
    run_at: datetime | None, delay: str | timedelta | None, what: str
) -> tuple[datetime | None, timedelta | None]:
    """When the job is due: at an aware instant, or after a delay from now; not both."""
    if run_at is not None and delay is not None:
        raise ArgumentError(f"{what}: give either run_at or delay, not both")
    if run_at is not None and (not isinstance(run_at, datetime) or run_at.utcoffset() is None):
        raise ArgumentError(f"{what}: run_at {run_at!r:.60} must be a datetime with a timezone: add tzinfo")
    return run_at, None if delay is None else parse_duration(delay)
