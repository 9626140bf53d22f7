"""The real Sentry SDK around the runs of a real worker; its envelopes are collected, and sent nowhere."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.transport import Transport

from conftest import Database
from integrations.child_app import app as child_app
from pqclock import ArgumentError, Retry, Snooze, current_job
from pqclock.integrations.sentry import sentry
from pqclock.testing import drain
from processes.fleet import eventually
from worker.bench import Bench


class Collected(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []
        self.transactions: list[Any] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Sort it."""
        for item in envelope.items:
            found: Any = item.get_event() or item.get_transaction_event()
            (self.transactions if item.type == "transaction" else self.events).append(found)


@pytest.fixture
def sent() -> Iterator[Collected]:
    """What the SDK sends during a test."""
    transport = Collected()
    init(transport, traces_sample_rate=1.0)
    yield transport
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


def init(transport: Transport, **options: Any) -> None:
    sentry_sdk.init(
        "https://key@sentry.invalid/1", transport=transport, default_integrations=False,
        integrations=[LoggingIntegration(), DedupeIntegration()], **options,
    )  # fmt: skip


def tags(event: Any) -> dict[str, str]:
    return {key.removeprefix("pqclock."): value for key, value in event["tags"].items()}


def test_a_failure_becomes_one_event_when_it_matters(bench: Bench, sent: Collected) -> None:
    sentry(bench.app)

    @bench.app.task("pay", queue="mice", labels=["finance"], retry=Retry(max_attempts=2, base="0s"))
    def pay(card: str) -> None:
        sentry_sdk.add_breadcrumb(message=f"attempt {current_job().attempt}")
        sentry_sdk.set_tag("shop", "north")
        raise ValueError("declined")

    bench.start("*:1")
    handle = pay.enqueue(card="4242")
    assert handle.wait("5s") == "failed"
    (event,) = eventually(lambda: sent.events)
    assert tags(event) == {
        "task": "pay", "queue": "mice", "job_id": str(handle.id), "attempt": "2", "reason": "retries used up",
        "shop": "north",
    }  # fmt: skip
    assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == ["attempt 2"]
    assert (event["level"], event["transaction"]) == ("error", "pay")
    (error,) = event["exception"]["values"]
    assert (error["type"], error["value"], error["mechanism"]) == (
        "ValueError", "declined", {"type": "pqclock", "handled": False},
    )  # fmt: skip
    assert [frame["function"] for frame in error["stacktrace"]["frames"]] == ["pay"]
    context = event["contexts"]["pqclock"]
    assert (context["job_id"], context["max_attempts"], context["labels"]) == (handle.id, 2, ["finance"])
    # The values of variables are the SDK's own affair: `include_local_variables`.
    del error["stacktrace"]
    assert "4242" not in json.dumps(event, default=str)
    assert len(sent.transactions) == 2
    assert event["contexts"]["trace"]["trace_id"] == sent.transactions[1]["contexts"]["trace"]["trace_id"]
    assert "fingerprint" not in event


def test_what_to_report_and_whether_arguments_travel_is_said(bench: Bench, sent: Collected) -> None:
    sentry(bench.app, reasons=["retried", "discarded"], arguments=True)

    @bench.app.task("t", retry=Retry(max_attempts=2, base="0s", discard=[LookupError]))
    def handler(n: int) -> None:
        raise ValueError if n == 1 else LookupError

    bench.start("*:1")
    assert handler.enqueue(n=1).wait("5s") == "failed"
    assert handler.enqueue(n=2).wait("5s") == "discarded"
    eventually(lambda: len(sent.events) == 2)
    assert [(tags(event)["reason"], event["level"]) for event in sent.events] == [
        ("retried", "warning"), ("discarded", "error"),
    ]  # fmt: skip
    assert [event["contexts"]["pqclock"]["arguments"] for event in sent.events] == [{"n": 1}, {"n": 2}]


def test_failures_without_an_exception_are_messages(bench: Bench, sent: Collected) -> None:
    sentry(bench.app)
    bench.app.task("t")(lambda: None)
    bench.start("*:1")
    row = "INSERT INTO pqclock.unreported (job_id, task, attempt, reason, message, retried, noted_at) VALUES "
    row += "(7, 't', 1, 'crashed', 'crashed: it died', true, now()), (8, 't', 0, 'expired', 'not begun', false, now())"
    bench.database.session.conn.execute(row.encode())
    eventually(lambda: len(sent.events) == 2)
    found = sorted((event["message"], event["level"], event["fingerprint"]) for event in sent.events)
    assert found == [
        ("t: crashed: it died", "warning", ["pqclock", "t", "crashed"]),
        ("t: not begun", "error", ["pqclock", "t", "expired"]),
    ]
    assert tags(sent.events[0])["job_id"] in ("7", "8")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_timeouts_of_a_task_belong_together(bench: Bench, sent: Collected, kind: str) -> None:
    sentry(bench.app)

    @bench.app.task("sync", timeout="100ms")
    def plain() -> None:
        while True:
            time.sleep(0.01)

    @bench.app.task("async", timeout="100ms")
    async def asynchronous() -> None:
        await asyncio.sleep(60)

    bench.start("*:1")
    bench.comes_to(bench.put(kind), "failed")
    (event,) = eventually(lambda: sent.events)
    assert event["fingerprint"] == ["pqclock", kind, "timed out"]
    assert event["exception"]["values"][-1]["type"] == "Timeout"
    status = sent.transactions[0]["contexts"]["trace"]["status"]
    assert status == ("deadline_exceeded" if kind == "sync" else "cancelled")


def test_a_run_is_a_transaction(bench: Bench, sent: Collected) -> None:
    sentry(bench.app)

    @bench.app.task("t")
    def handler(kind: str) -> None:
        if kind == "snooze":
            raise Snooze("1h")
        if kind == "fail":
            raise ValueError
        with sentry_sdk.start_span(op="work", name="step"):
            pass

    bench.start("*:1")
    for kind in ("fine", "snooze", "fail"):
        job_id = handler.enqueue(kind=kind).id
        bench.comes_to(job_id, "succeeded", "scheduled", "failed")
    eventually(lambda: len(sent.transactions) == 3)
    traces = [transaction["contexts"]["trace"] for transaction in sent.transactions]
    assert [(trace["op"], trace["status"]) for trace in traces] == [
        ("queue.task.pqclock", "ok"), ("queue.task.pqclock", "ok"), ("queue.task.pqclock", "internal_error"),
    ]  # fmt: skip
    assert len({trace["trace_id"] for trace in traces}) == 3
    first = sent.transactions[0]
    assert (first["transaction"], first["transaction_info"]) == ("t", {"source": "task"})
    assert [span["op"] for span in first["spans"]] == ["work"]
    assert tags(first)["queue"] == "default"


def test_jobs_know_nothing_of_each_other(bench: Bench, sent: Collected) -> None:
    sentry(bench.app)
    meeting = asyncio.Barrier(2)

    @bench.app.task("t")
    async def handler(name: str) -> None:
        sentry_sdk.set_tag(name, "yes")
        await meeting.wait()
        sentry_sdk.capture_message(f"from {name}")
        raise ValueError(name)

    bench.start("*:2")
    for name in ("a", "b"):
        handler.enqueue(name=name)
    eventually(lambda: len(sent.events) == 4)
    for event in sent.events:
        name = event["message"][-1] if "message" in event else event["exception"]["values"][0]["value"]
        assert sorted(event["tags"].keys() & {"a", "b"}) == [name]
    assert {tags(event)["task"] for event in sent.events} == {"t"}


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("the SDK is broken")


def test_the_sdk_breaks_no_job(bench: Bench, sent: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    sentry(bench.app)

    @bench.app.task("t")
    def handler(fails: bool) -> int:
        if fails:
            raise ValueError("own")
        return 1

    bench.start("*:1")
    for place, name in (
        (sentry_sdk, "continue_trace"), (sentry_sdk, "isolation_scope"), (sentry_sdk.tracing.Transaction, "__exit__"),
        (sentry_sdk.tracing.Transaction, "set_status"), (sentry_sdk, "capture_event"), (Collected, "capture_envelope"),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(place, name, broken)
            assert handler.enqueue(fails=False).wait("5s") == "succeeded"
            job = handler.enqueue(fails=True)
            assert job.wait("5s") == "failed"
            assert bench.error(job.id) == "ValueError: own"


def test_without_a_client_nothing_is_done(bench: Bench) -> None:
    sentry(bench.app)

    @bench.app.task("t")
    def handler() -> None:
        raise ValueError

    bench.start("*:1")
    assert handler.enqueue().wait("5s") == "failed"


def test_log_lines_of_the_handler_are_events_still(bench: Bench, sent: Collected) -> None:
    sentry(bench.app)

    @bench.app.task("t")
    def handler() -> None:
        current_job().log("look at this", level=logging.ERROR)

    assert handler.enqueue().state == "ready"
    drain(bench.app, raise_errors=True)
    (event,) = sent.events
    assert event["logger"] == "pqclock.job"
    assert tags(event)["task"] == "t"


def test_in_a_child_process(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("SHOP_DATABASE_URL", database.url)
    bench = Bench(database, child_app, "integrations.child_app:app")
    try:
        bench.start("*:1")
        job_id = bench.put("fail")
        bench.comes_to(job_id, "failed", within=15)
        eventually(lambda: (tmp_path / "events").exists() and (tmp_path / "events").read_text())
    finally:
        bench.end()
    (line,) = (tmp_path / "events").read_text().splitlines()
    assert tags(json.loads(line))["job_id"] == str(job_id)


@pytest.mark.parametrize("reasons", ["never", ["crashed", "bored"], [3]])
def test_unknown_reasons_are_refused(bench: Bench, reasons: Any) -> None:
    with pytest.raises(ArgumentError, match="reasons are retried, retries used up"):
        sentry(bench.app, reasons=reasons)
