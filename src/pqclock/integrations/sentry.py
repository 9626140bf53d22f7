"""Sentry: a scope and a transaction around each run, and an event of each failure that matters.

    sentry_sdk.init(...)
    sentry(app)

The SDK never fails a job: what goes wrong in it is logged, and the job runs as if it were not there.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any

from pqclock.errors import ArgumentError
from pqclock.integrations.checkins import checked_in
from pqclock.integrations.needing import needing
from pqclock.integrations.sentry_monitors import Monitors
from pqclock.tasks.app import App
from pqclock.tasks.context import CurrentJob
from pqclock.tasks.hooks import REASONS, Failure
from pqclock.tasks.signals import Cancelled, Signal, Timeout
from pqclock.worker.run import GiveBack, Hopeless

with needing("sentry_sdk", "sentry"):
    import sentry_sdk
    from sentry_sdk.scope import Scope, use_isolation_scope
    from sentry_sdk.utils import event_from_exception

log = logging.getLogger("pqclock.integrations.sentry")

# Not what is tried again, and not the exceptions that the task says are to be discarded.
REPORTED = ("retries used up", "timed out", "crashed", "expired")
# Of runs that have failed, until the report comes, which is at once; some are never reported.
_KEPT = 256


def sentry(
    app: App, *, reasons: Iterable[str] = REPORTED, arguments: bool = False, monitors: Iterable[str] = ()
) -> Sentry:
    """Have every run of the app isolated, and its failures reported; call it once, before the other `around_job`.

    `reasons` are those of `Failure.reason` that become events. Arguments of jobs are sent with `arguments=True` alone.
    `monitors` are patterns of schedules' keys, such as `billing-*`: their runs are checked in, each schedule with a monitor
    of its own. The SDK may be set up before or after. Raises ArgumentError for an unknown reason.
    """
    made = Sentry(reasons=reasons, arguments=arguments)
    app.around_job(made.isolated)
    app.on_error(made.report)
    if monitors:
        checked_in(app, Monitors(), monitors)
    return made


class Sentry:
    """The two hooks that `sentry(app)` registers: `isolated` for around_job, `report` for on_error."""

    def __init__(self, *, reasons: Iterable[str] = REPORTED, arguments: bool = False) -> None:
        self._reasons = (reasons,) if isinstance(reasons, str) else tuple(reasons)
        for reason in self._reasons:
            if reason not in REASONS:
                raise ArgumentError(f"sentry(reasons={reason!r:.60}): reasons are {', '.join(REASONS)}")
        self._arguments = arguments
        self._kept = _Kept()
        _leave_out_what_is_reported()

    @contextmanager
    def isolated(self, job: CurrentJob) -> Iterator[None]:
        """A scope of its own for a run, and a transaction `queue.task.pqclock` when tracing is on."""
        with ExitStack() as stack:
            opened = self._open(stack, job)
            try:
                yield
            except BaseException as error:
                if opened is not None:
                    self._note(opened, job, error)
                raise

    def report(self, failure: Failure) -> None:
        """Capture a failure: its exception, or a message where there is none."""
        scope = None if failure.job is None else self._kept.pop(failure.job)
        if failure.reason not in self._reasons or not sentry_sdk.is_initialized():
            return
        with _using(scope), sentry_sdk.new_scope() as here:
            self._describe(here, failure)
            _capture(failure)

    def _open(self, stack: ExitStack, job: CurrentJob) -> tuple[Scope, Any] | None:
        if not sentry_sdk.is_initialized():
            return None
        with _harmless(), ExitStack() as begun:
            scope = begun.enter_context(sentry_sdk.isolation_scope())
            scope.clear_breadcrumbs()
            _mark(scope, job.task, job.id, job.attempt)
            self._add_job(scope, job)
            transaction = sentry_sdk.continue_trace(
                {}, op="queue.task.pqclock", name=job.task, source="task", origin="auto.queue.pqclock"
            )
            sampling = {"pqclock_job": {"id": job.id, "task": job.task, "queue": job.queue, "attempt": job.attempt}}
            begun.enter_context(sentry_sdk.start_transaction(transaction, custom_sampling_context=sampling))
            transaction.set_status("ok")
            # By itself the SDK would take every exception for a failure, also Snooze.
            stack.push(_without_exception(begun.pop_all()))
            return scope, transaction
        return None

    def _note(self, opened: tuple[Scope, Any], job: CurrentJob, error: BaseException) -> None:
        """How the run ended; its scope is kept for the report, which comes when what follows from it is known."""
        scope, transaction = opened
        if isinstance(error, Signal | GiveBack):
            return
        with _harmless():
            transaction.set_status(_status(error))
            self._kept.put(job, scope)

    def _add_job(self, scope: Scope, job: CurrentJob) -> None:
        scope.set_tag("pqclock.queue", job.queue)
        if job.schedule_key is not None:
            scope.set_tag("pqclock.schedule", job.schedule_key)
        scope.set_context("pqclock", self._context(job))

    def _context(self, job: CurrentJob) -> dict[str, Any]:
        found: dict[str, Any] = {
            "job_id": job.id, "task": job.task, "queue": job.queue, "attempt": job.attempt,
            "max_attempts": job.max_attempts, "run_at": _text(job.run_at), "granted_at": _text(job.granted_at),
            "tick": _text(job.tick), "schedule": job.schedule_key, "labels": list(job.labels),
        }  # fmt: skip
        if self._arguments:
            try:
                found["arguments"] = job.args
            except (ValueError, RecursionError) as error:
                found["arguments"] = f"cannot be read: {error}"
        return found

    def _describe(self, scope: Scope, failure: Failure) -> None:
        _mark(scope, failure.task, failure.job_id, failure.attempt)
        scope.set_tag("pqclock.reason", failure.reason)
        if failure.job is not None:
            self._add_job(scope, failure.job)
        scope.set_level("error" if failure.retry_in is None else "warning")
        if failure.reason in ("timed out", "crashed", "expired"):
            # Wherever it was interrupted, and whatever took the process down: of one task these belong together.
            scope.fingerprint = ["pqclock", failure.task, failure.reason]


def _capture(failure: Failure) -> None:
    error = failure.error
    if error is None or isinstance(error, Hopeless):
        sentry_sdk.capture_event({"message": f"{failure.task}: {failure.message}"})
        return
    handled = failure.reason in ("retried", "discarded")
    event, hint = event_from_exception(
        (type(error), error, _from_handler_on(error.__traceback__)),
        client_options=sentry_sdk.get_client().options,
        mechanism={"type": "pqclock", "handled": handled},
    )
    sentry_sdk.capture_event(event, hint=hint)


def _mark(scope: Scope, task: str, job_id: int, attempt: int) -> None:
    scope.set_transaction_name(task, source="task")
    scope.set_tag("pqclock.task", task)
    scope.set_tag("pqclock.job_id", str(job_id))
    scope.set_tag("pqclock.attempt", str(attempt))


@contextmanager
def _using(scope: Scope | None) -> Iterator[None]:
    """The scope of the run, with what was noted in it on the way; else one that holds nothing of others."""
    if scope is not None:
        with use_isolation_scope(scope):
            yield
        return
    with sentry_sdk.isolation_scope() as fresh:
        fresh.clear_breadcrumbs()
        yield


@contextmanager
def _harmless() -> Iterator[None]:
    try:
        yield
    except Exception:
        log.exception("the Sentry SDK failed; the job goes on without it")


def _without_exception(begun: ExitStack) -> Any:
    def end(*_: object) -> None:
        with _harmless():
            begun.close()

    return end


def _status(error: BaseException) -> str:
    if isinstance(error, Timeout):
        return "deadline_exceeded"
    return "cancelled" if isinstance(error, Cancelled | asyncio.CancelledError) else "internal_error"


def _from_handler_on(frames: TracebackType | None) -> TracebackType | None:
    """The frames of the worker say nothing, and would part one failure from another by the way it was run."""
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith("pqclock."):
        frames = frames.tb_next
    return frames


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


class _Kept:
    """Scopes of runs that have failed, by job; the oldest are forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scopes: OrderedDict[tuple[int, int], Scope] = OrderedDict()

    def put(self, job: CurrentJob, scope: Scope) -> None:
        with self._lock:
            self._scopes[job.id, job.lease] = scope
            while len(self._scopes) > _KEPT:
                self._scopes.popitem(last=False)

    def pop(self, job: CurrentJob) -> Scope | None:
        with self._lock:
            return self._scopes.pop((job.id, job.lease), None)


_once = threading.Lock()
_left_out = False


def _leave_out_what_is_reported() -> None:
    """The worker logs a job's failure as an error, of which the SDK would make a second event."""
    global _left_out  # noqa: PLW0603
    with _once:
        if not _left_out:
            sentry_sdk.get_global_scope().add_event_processor(_unless_logged_by_worker)
            _left_out = True


def _unless_logged_by_worker(event: Any, hint: dict[str, Any]) -> Any:
    record = hint.get("log_record")
    told = (
        record is not None and record.name == "pqclock.worker" and hasattr(record, "job_id") and hasattr(record, "task")
    )
    return None if told else event
