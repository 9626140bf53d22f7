"""OpenTelemetry: a span for each enqueue and for each run, the one linked to the other through the job.

    otel(app)

The API never fails a job: what goes wrong in it is logged, and the job runs as if it were not there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from pqclock.integrations.needing import needing
from pqclock.tasks.app import App
from pqclock.tasks.context import CurrentJob
from pqclock.tasks.signals import Cancelled, Signal
from pqclock.worker.run import GiveBack

with needing("opentelemetry", "otel"):
    from opentelemetry import context, propagate, trace
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider

log = logging.getLogger("pqclock.integrations.otel")

# A job carries its context wherever it is copied to: what a propagator adds beyond so many characters stays behind.
MOST_CARRIED = 2_048
# A long name says nothing more.
_MOST_TASKS = 3


def otel(app: App, *, continues: bool = False, tracer_provider: TracerProvider | None = None) -> OpenTelemetry:
    """Have every enqueue and every run of the app traced; call it once, before the other `around_job`.

    A run begins a trace of its own that is linked to the enqueue, however much later it is; with `continues=True` it is
    a part of the enqueue's trace. Without a provider it is the global one, set before or after.
    """
    made = OpenTelemetry(continues=continues, tracer_provider=tracer_provider)
    app.hooks.tracing = made.enqueueing
    app.around_job(made.running)
    return made


class OpenTelemetry:
    """The two hooks that `otel(app)` registers: `enqueueing` around what is sent, `running` for around_job."""

    def __init__(self, *, continues: bool = False, tracer_provider: TracerProvider | None = None) -> None:
        self._continues = continues
        self._tracer = trace.get_tracer("pqclock", tracer_provider=tracer_provider)

    @contextmanager
    def enqueueing(self, tasks: Sequence[str]) -> Iterator[Mapping[str, str]]:
        """A span `enqueue TASK` of the kind producer; gives the context that its jobs carry."""
        carried: dict[str, str] = {}
        with ExitStack() as stack:
            span = self._begin(stack, f"enqueue {_named(tasks)}", SpanKind.PRODUCER, _sent(tasks))
            if span is not None:
                with _harmless():
                    carried = _carried()
            try:
                yield carried
            except BaseException as error:
                _note(span, error)
                raise

    @contextmanager
    def running(self, job: CurrentJob) -> Iterator[None]:
        """A span `run TASK` of the kind consumer, for one attempt."""
        with ExitStack() as stack:
            span = None
            with _harmless():
                came_from = propagate.extract(job.trace, context=context.Context())
                origin = trace.get_current_span(came_from).get_span_context()
                links = [Link(origin)] if origin.is_valid and not self._continues else []
                if not self._continues:
                    # Baggage travels on.
                    came_from = trace.set_span_in_context(trace.INVALID_SPAN, came_from)
                # Of a thread that ran something else before.
                stack.callback(_detached, context.attach(came_from))
                span = self._begin(stack, f"run {job.task}", SpanKind.CONSUMER, _of_job(job), links)
            try:
                yield
            except BaseException as error:
                if not isinstance(error, Signal | GiveBack):
                    _note(span, error)
                raise

    def _begin(
        self, stack: ExitStack, name: str, kind: SpanKind, attributes: Mapping[str, Any], links: Sequence[Link] = ()
    ) -> Span | None:
        with _harmless(), ExitStack() as begun:
            span = begun.enter_context(
                self._tracer.start_as_current_span(
                    name,
                    kind=kind,
                    attributes=attributes,
                    links=links,
                    record_exception=False,
                    set_status_on_exception=False,
                )
            )
            stack.push(_without_exception(begun.pop_all()))
            return span
        return None


def _carried() -> dict[str, str]:
    """The current context as the global propagator writes it, the trace first, cut where it is too long."""
    written: dict[str, str] = {}
    propagate.inject(written)
    carried: dict[str, str] = {}
    left = MOST_CARRIED
    for name in sorted(written, key=lambda name: (name != "traceparent", name != "tracestate")):
        left -= len(name) + len(written[name])
        if left < 0:
            log.warning("the trace context %r is too long for a job, and stays behind", name)
            break
        carried[name] = written[name]
    return carried


def _note(span: Span | None, error: BaseException) -> None:
    if span is None:
        return
    with _harmless():
        if isinstance(error, Cancelled | asyncio.CancelledError):
            span.set_attribute("pqclock.cancelled", True)
            return
        span.record_exception(error)
        span.set_attribute("error.type", type(error).__qualname__)
        span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"[:200]))


def _named(tasks: Sequence[str]) -> str:
    names = ", ".join(tasks[:_MOST_TASKS])
    return f"{names}, ..." if len(tasks) > _MOST_TASKS else names


def _sent(tasks: Sequence[str]) -> dict[str, Any]:
    alone = {"pqclock.task": tasks[0]} if len(tasks) == 1 else {}
    return {"messaging.system": "pqclock", "messaging.operation.type": "send", **alone}


def _of_job(job: CurrentJob) -> dict[str, Any]:
    ticked = {} if job.schedule_key is None else {"pqclock.schedule": job.schedule_key}
    at = {} if job.tick is None else {"pqclock.tick": job.tick.isoformat()}
    return {
        "messaging.system": "pqclock", "messaging.operation.type": "process", "messaging.destination.name": job.queue,
        "messaging.message.id": str(job.id), "pqclock.task": job.task, "pqclock.attempt": job.attempt,
        "pqclock.max_attempts": job.max_attempts,
        "pqclock.waited_seconds": max(0.0, (job.granted_at - job.run_at).total_seconds()), **ticked, **at,
    }  # fmt: skip


@contextmanager
def _harmless() -> Iterator[None]:
    try:
        yield
    except Exception:
        log.exception("OpenTelemetry failed; the job goes on without it")


def _detached(token: Any) -> None:
    with _harmless():
        context.detach(token)


def _without_exception(begun: ExitStack) -> Any:
    def end(*_: object) -> None:
        with _harmless():
            begun.close()

    return end
