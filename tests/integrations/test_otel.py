"""The real OpenTelemetry SDK around enqueues and the runs of a real worker; its spans are kept in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, context, propagate
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from conftest import Database
from pqclock import Cancel, Checkpoint, Retry, Snooze, current_job
from pqclock.integrations.otel import otel
from pqclock.store import listings
from processes.fleet import eventually
from worker.bench import Bench


class Kept:
    """What a provider of spans has ended so far."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    def named(self, name: str, number: int = 1) -> list[ReadableSpan]:
        """At least so many of a name."""
        found: list[ReadableSpan] = []

        def enough() -> bool:
            found[:] = [span for span in self._exporter.get_finished_spans() if span.name == name]
            return len(found) >= number

        eventually(enough)
        return found


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Spans of one test."""
    kept = Kept()
    yield kept
    kept.provider.shutdown()


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.trace_id
    return found


def linked(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]


def test_a_run_is_linked_to_its_enqueue(bench: Bench, kept: Kept, database: Database) -> None:
    otel(bench.app, tracer_provider=kept.provider)

    @bench.app.task("pay", queue="mice")
    def pay(card: str) -> dict[str, str]:
        return dict(current_job().trace)

    with kept.tracer.start_as_current_span("request") as request:
        handle = pay.enqueue(card="4242")
    bench.start("*:1")
    assert handle.wait("5s") == "succeeded"
    (sent,), (run,) = kept.named("enqueue pay"), kept.named("run pay")
    assert sent.parent is not None and sent.parent.span_id == request.get_span_context().span_id
    assert sent.context is not None
    assert (sent.kind, run.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert linked(run) == [sent.context.span_id] and run.parent is None and trace_of(run) != trace_of(sent)
    assert run.attributes is not None
    wanted = {"messaging.destination.name": "mice", "messaging.message.id": str(handle.id), "pqclock.attempt": 1}
    assert wanted.items() <= dict(run.attributes).items()
    carried = bench.app.job_result(handle.id)
    assert carried is not None and format(trace_of(sent), "032x") in carried.result["traceparent"]
    assert listings.trace_id(database.session, handle.id) == format(trace_of(sent), "032x")


def test_a_run_continues_the_trace_where_that_is_wanted(bench: Bench, kept: Kept) -> None:
    otel(bench.app, continues=True, tracer_provider=kept.provider)

    @bench.app.task("first")
    def first() -> None:
        second.enqueue()

    @bench.app.task("second")
    async def second() -> None:
        pass

    first.enqueue()
    bench.start("*:2")
    spans = [kept.named(name)[0] for name in ("enqueue first", "run first", "enqueue second", "run second")]
    assert len({trace_of(span) for span in spans}) == 1
    for before, after in pairwise(spans):
        assert before.context is not None and after.parent is not None
        assert after.parent.span_id == before.context.span_id


def test_every_job_of_a_call_carries_it_through_retries(bench: Bench, kept: Kept) -> None:
    otel(bench.app, tracer_provider=kept.provider)

    @bench.app.task("often", retry=Retry(max_attempts=2, base="0s"))
    def often(n: int) -> None:
        if current_job().attempt == 1:
            raise ConnectionError("away")

    @bench.app.task("split")
    def split(items: list[int]) -> None: ...

    bench.app.enqueue_many([often.job(n=n) for n in range(3)] + [split.job(items=[1])])
    bench.app.fan_out("split", range(4), chunk=2, then=often.job(n=9))
    bench.start("*:4")
    runs = kept.named("run often", 8)
    (sent,), (fanned,) = kept.named("enqueue often, split"), kept.named("enqueue split")
    assert sent.context is not None and fanned.context is not None
    ids = [linked(run)[0] for run in runs]
    assert ids.count(sent.context.span_id) == 6 and ids.count(fanned.context.span_id) == 2
    assert sorted(linked(run)[0] for run in kept.named("run split", 3)) == sorted(
        [sent.context.span_id] + [fanned.context.span_id] * 2
    )
    failed = [run for run in runs if run.status.status_code is StatusCode.ERROR]
    assert len(failed) == 4 and {run.attributes["error.type"] for run in failed if run.attributes} == {
        "ConnectionError"
    }
    assert {event.name for run in failed for event in run.events} == {"exception"}


def test_what_is_no_failure_is_no_error(bench: Bench, kept: Kept) -> None:
    otel(bench.app, tracer_provider=kept.provider)

    @bench.app.task("sleepy")
    def sleepy() -> None:
        if current_job().attempt == 1 and not seen:
            seen.append(1)
            raise Snooze("1ms")
        raise Cancel("enough")

    @bench.app.task("steps", slice="1ms")
    def steps(cursor: Any = None) -> Any:
        for n in range(cursor or 0, 3):
            yield Checkpoint(n + 1)

    seen: list[int] = []
    handles = [sleepy.enqueue(), steps.enqueue()]
    bench.start("*:2")
    assert [handle.wait("10s") for handle in handles] == ["cancelled", "succeeded"]
    for span in kept.named("run sleepy", 2) + kept.named("run steps"):
        assert span.status.status_code is StatusCode.UNSET and not span.events


def test_baggage_travels_and_what_is_too_long_stays(bench: Bench, kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    otel(bench.app, tracer_provider=kept.provider)

    @bench.app.task("note")
    def note() -> list[object]:
        return [baggage.get_baggage("tenant"), sorted(current_job().trace)]

    handles = []
    for value in ("acme", "x" * 3_000):
        token = context.attach(baggage.set_baggage("tenant", value))
        handles.append(note.enqueue())
        context.detach(token)
    bench.start("*:1")
    assert [handle.wait("5s") for handle in handles] == ["succeeded", "succeeded"]
    results = [bench.app.job_result(handle.id) for handle in handles]
    assert [found.result for found in results if found] == [
        ["acme", ["baggage", "traceparent"]],
        [None, ["traceparent"]],
    ]
    assert "'baggage' is too long" in caplog.text


def test_hostile_contexts_run_all_the_same(bench: Bench, kept: Kept, database: Database) -> None:
    otel(bench.app, tracer_provider=kept.provider)

    @bench.app.task("note")
    def note() -> None: ...

    handles = note.app.enqueue_many([note.job() for _ in range(5)])
    values: list[object] = [7, [], {"traceparent": 3}, {"traceparent": "00-zz-1-x"}, {"tracestate": "\u0001" * 99}]
    for handle, value in zip(handles, values, strict=True):
        database.session.conn.execute(
            f"UPDATE {database.session.schema}.job SET run_options = %s WHERE id = %s",
            [json.dumps({"trace": value}), handle.id],
        )
        listings.trace_id(database.session, handle.id)
    bench.start("*:1")
    assert {handle.wait("5s") for handle in handles} == {"succeeded"}


def test_a_broken_api_fails_no_job(
    bench: Bench, kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = otel(bench.app, tracer_provider=kept.provider)

    class Broken:
        def start_as_current_span(self, *args: object, **kwargs: object) -> None:
            raise RuntimeError("no spans today")

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no context today")

    monkeypatch.setattr(made, "_tracer", Broken())
    monkeypatch.setattr(propagate, "inject", broken)
    monkeypatch.setattr(propagate, "extract", broken)

    @bench.app.task("note")
    def note() -> None: ...

    handle = note.enqueue()
    bench.start("*:1")
    assert handle.wait("5s") == "succeeded"
    assert "OpenTelemetry failed" in caplog.text


PROGRAM = """
import json, os, time
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))

from pqclock import App
from pqclock.exporting import Exported
from pqclock.pulse import Reading
from pqclock.store.database import connect
from web.seed import fill

url, schema = os.environ["PQCLOCK_DATABASE_URL"], "pqclock"
app = App()


@app.task("note", queue="whales")
def note(fails=False):
    if fails:
        raise ValueError("no")


def told():
    data = reader.get_metrics_data()
    found = {}
    for resource in data.resource_metrics if data else []:
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            for point in metric.data.data_points:
                found.setdefault(metric.name, []).append([dict(point.attributes), getattr(point, "value", None)])
    return found


session = connect(url, schema, "test")
fill(session)
session.close()
app.schedules.put("often", every="1s", task="note")
exported = Exported(url, schema, lambda: {"clock": Reading(0.0, ready=True, state="leading")})
with app.worker("whales:2"), app.clock():
    for handle in [note.enqueue(), note.using(max_attempts=1).enqueue(fails=True)]:
        handle.wait("10s")
    end = time.monotonic() + 20
    while "pqclock.ticks" not in (found := told()) and time.monotonic() < end:
        time.sleep(0.1)
exported.stop()
app.close()
print(json.dumps([found, sorted(told())]))
"""


def test_metrics_come_through_the_sdk(database: Database, tmp_path: Path) -> None:
    tests = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False,
        env={"PQCLOCK_DATABASE_URL": database.url, "PYTHONPATH": str(tests), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found, left = json.loads(done.stdout.splitlines()[-1])
    ended = {(a["task"], a["outcome"]): value for a, value in found["pqclock.attempts"]}
    assert ended["note", "failed"] == 1 and ended["note", "succeeded"] >= 1
    assert {"pqclock.jobs.claimed", "pqclock.lateness", "pqclock.run.duration", "pqclock.ticks"} <= set(found)
    assert found["pqclock.database_up"] == [[{}, 1.0]] and found["pqclock.leads"] == [[{"process": "clock"}, 1.0]]
    assert {a["queue"] for a, _ in found["pqclock.oldest_ready"]} and found["pqclock.xmin_age"]
    # Once it is stopped nobody looks at the database.
    assert not {"pqclock.database_up", "pqclock.alive"} & set(left)
