"""What a task and a call may say of jobs: the words of `app.task(...)` and `using(...)`, and their checks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from inspect import Signature
from typing import Any, TypedDict

from pqclock.rules.retry import Retry
from pqclock.rules.unique import Unique
from pqclock.tasks.entrance import entrance_options
from pqclock.tasks.following import Awaitable, Parent, check_after, relation_words
from pqclock.tasks.options import (
    TaskOptions,
    check_batch,
    check_history,
    check_labels,
    check_max_attempts,
    check_on_crash,
    check_priority,
    check_queue,
    check_retry,
    check_run_at,
    check_seconds,
    refuse_unknown,
    run_words,
)


class TaskWords(TypedDict, total=False):
    """The options of a task. What is None is as if it was left out."""

    queue: str | None
    priority: int | None
    labels: Sequence[str] | None
    retry: Retry | None
    max_attempts: int | None
    unique: Unique | None
    throttle: str | Sequence[str] | None
    fuse: str | Sequence[str] | None
    units: int | None
    timeout: str | timedelta | None
    slice: str | timedelta | None
    history: str | None
    on_crash: str | None
    executor: str | None


class BatchWords(TaskWords, total=False):
    """The options of a batch task."""

    batch_wait: str | timedelta | None


def checked_options(what: str, words: dict[str, Any]) -> tuple[TaskOptions, dict[str, Any]]:
    """The options of a task, and what its jobs carry when they get in; raises ArgumentError and TypeError."""
    known = {*BatchWords.__annotations__, *TaskWords.__annotations__, "batch"}
    refuse_unknown(what, words, known)
    said = words.get
    options = TaskOptions(
        check_queue(said("queue"), what),
        check_priority(said("priority"), what),
        check_labels(said("labels"), what),
        check_retry(said("retry"), said("max_attempts"), what),
        check_seconds("timeout", said("timeout"), what),
        check_seconds("slice", said("slice"), what),
        check_history(said("history"), what),
        *check_batch(said("batch"), said("batch_wait"), what),
        check_on_crash(said("on_crash"), what),
        said("executor"),
    )
    return options, {name: said(name) for name in ("unique", "throttle", "fuse", "units")}


class CallWords(TypedDict, total=False):
    """The options of one enqueue."""

    run_at: datetime | None
    delay: str | timedelta | None
    queue: str | None
    priority: int | None
    labels: Sequence[str] | None
    max_attempts: int | None
    unique: Unique | None
    unique_key: str | None
    throttle: str | Sequence[str] | None
    fuse: str | Sequence[str] | None
    units: int | None
    timeout: str | timedelta | None
    history: str | None
    after: Awaitable | Sequence[Awaitable] | None
    parent: Parent | None
    conn: Any


def checked_call(what: str, signature: Signature, words: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The options of a new job, and the connection; raises ArgumentError and TypeError."""
    refuse_unknown(what, words, CallWords.__annotations__)
    said = words.get
    run_at, wait = check_run_at(said("run_at"), said("delay"), what)
    labels = check_labels(said("labels"), what)
    carried = {name: said(name) for name in ("unique", "unique_key", "throttle", "fuse", "units")}
    carries = entrance_options(what, signature, **carried) | run_words(said("timeout"), said("history"), what)
    ids, beside = check_after(said("after"), what)
    carries |= relation_words(ids, said("parent"), what)
    options = {
        "run_at": run_at,
        "delay": wait,
        "queue": check_queue(said("queue"), what),
        "priority": check_priority(said("priority"), what),
        "labels": None if labels is None else json.dumps(labels),
        "max_attempts": check_max_attempts(said("max_attempts"), what),
        "options": json.dumps(carries) if carries else None,
        "after": beside,
    }
    return options, said("conn")
