"""A worker and gates: it wakes when they open, tells fuses what happened, and closes gates for a handler."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from pqclock import Cancel, Cooldown, Snooze
from pqclock.worker import hearing
from processes.fleet import eventually
from store.gated import enqueue_gated, fuse, throttle
from worker.bench import Bench

LIVE = "SELECT count(*) FROM pqclock.job"


def test_it_starts_what_waits_at_the_instant_at_which_the_gate_opens(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    @bench.app.task("t")
    def handler() -> None:
        begun.append(time.monotonic())

    monkeypatch.setattr(hearing, "POLL_EVERY", 60.0)
    throttle(bench.database.session, "slow", rate=4, per="1 second")
    enqueue_gated(bench.database.session, "throttle:slow", count=5, task="t")
    bench.start("*:2")
    eventually(lambda: len(begun) == 5)
    waits = [later - earlier for earlier, later in pairwise(begun)]
    assert 0.9 < sum(waits) < 2.5
    eventually(lambda: bench.database.value("SELECT count(*) FROM pqclock.attempt") == 5)


def test_a_fuse_hears_of_the_classes_of_an_exception(bench: Bench) -> None:
    @bench.app.task("t", max_attempts=1)
    def handler() -> None:
        raise ConnectionRefusedError("no")

    fuse(bench.database.session, "api", only=["ConnectionError"])
    enqueue_gated(bench.database.session, "fuse:api", count=3, task="t")
    bench.start("*:1")
    eventually(lambda: bench.database.value("SELECT count(*) FROM pqclock.gate WHERE blown_until IS NOT NULL") == 1)
    assert bench.database.rows("SELECT DISTINCT error_type, error FROM pqclock.fuse_failure") == [
        ("ConnectionRefusedError", "ConnectionRefusedError: no")
    ]


@pytest.mark.parametrize("signal", [Snooze("1h"), Cancel("enough")])
def test_a_signal_says_nothing_to_a_fuse_and_frees_the_place(bench: Bench, signal: Exception) -> None:
    @bench.app.task("t")
    def handler() -> None:
        raise signal

    fuse(bench.database.session, "api", failures=1)
    throttle(bench.database.session, "one", concurrency=1)
    enqueue_gated(bench.database.session, "fuse:api", "throttle:one", count=2, task="t")
    bench.start("*:4")
    eventually(lambda: bench.database.value("SELECT count(*) FROM pqclock.attempt") == 2)
    eventually(lambda: bench.database.value("SELECT count(*) FROM pqclock.slot") == 0)
    assert bench.database.value("SELECT count(*) FROM pqclock.gate WHERE blown_until IS NOT NULL") == 0


def test_a_cooldown_closes_its_key_for_all_spends_no_attempt_and_leaves_others_alone(bench: Bench) -> None:
    @bench.app.task("t", max_attempts=1)
    def handler() -> None:
        raise Cooldown("stripe:a", "1h")

    @bench.app.task("other")
    def other() -> None:
        pass

    throttle(bench.database.session, "stripe", concurrency=1)
    enqueue_gated(bench.database.session, "throttle:stripe:a", task="t", count=3)
    enqueue_gated(bench.database.session, "throttle:stripe:b", task="other", count=3)
    bench.start("*:4")
    eventually(lambda: bench.database.value(LIVE) == 3)
    closed = (
        "SELECT key FROM pqclock.gate WHERE closed_until BETWEEN now() + interval '59 min' AND now() + interval '1 h'"
    )
    eventually(lambda: bench.database.rows(closed) == [("a",)])
    assert bench.database.rows("SELECT outcome, error FROM pqclock.attempt WHERE outcome <> 'succeeded'") == [
        ("snoozed", "stripe:a cools down for 1h")
    ]
    assert bench.database.rows("SELECT state, attempt FROM pqclock.job WHERE task = 't' ORDER BY id") == [
        ("scheduled", 0),
        ("ready", 0),
        ("ready", 0),
    ]


def test_a_cooldown_of_a_key_that_the_job_does_not_pass_closes_it_too(bench: Bench) -> None:
    @bench.app.task("t")
    def handler() -> None:
        raise Cooldown("stripe", "1h")

    throttle(bench.database.session, "stripe", concurrency=1)
    job_id = bench.put("t")
    bench.start("*:1")
    bench.comes_to(job_id, "scheduled")
    assert bench.database.value("SELECT count(*) FROM pqclock.gate WHERE closed_until > now()") == 1


def test_a_cooldown_of_what_nobody_declared_is_warned_of(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    @bench.app.task("t")
    def handler(key: str, delay: int) -> None:
        raise Cooldown(key, delay)

    throttle(bench.database.session, "stripe", concurrency=1)
    nobody = bench.put("t", '{"key": "strip:a", "delay": 3600}')
    known = bench.put("t", '{"key": "stripe:a", "delay": 3600}')
    bench.start("*:1")
    bench.comes_to(nobody, "scheduled")
    bench.comes_to(known, "scheduled")
    eventually(lambda: "raised Cooldown" in caplog.text)
    assert f"job {nobody} raised Cooldown('strip:a'), but no throttle or fuse of that name is declared" in caplog.text
    assert caplog.text.count("raised Cooldown") == 1


def test_a_cooldown_of_nothing_closes_nothing(bench: Bench) -> None:
    told = []

    @bench.app.task("t")
    def handler() -> None:
        told.append(1)
        if len(told) == 1:
            raise Cooldown("stripe:a", "0")

    throttle(bench.database.session, "stripe", concurrency=1)
    enqueue_gated(bench.database.session, "throttle:stripe:a", task="t")
    bench.start("*:1")
    eventually(lambda: bench.database.value(LIVE) == 0)
    assert len(told) == 2
    assert bench.database.value("SELECT count(*) FROM pqclock.gate WHERE closed_until IS NOT NULL") == 0


def test_a_stop_gives_places_back(bench: Bench) -> None:
    @bench.app.task("t")
    def handler() -> None:
        time.sleep(0.5)

    throttle(bench.database.session, "one", concurrency=1)
    enqueue_gated(bench.database.session, "throttle:one", count=3, task="t")
    worker = bench.start("*:4", stop_timeout=0.0)
    eventually(lambda: bench.database.value("SELECT count(*) FROM pqclock.slot") == 1)
    worker.stop()
    eventually(bench.ended)
    assert bench.database.value("SELECT count(*) FROM pqclock.slot") == 0
    assert bench.database.value("SELECT count(*) FROM pqclock.job WHERE state = 'ready' AND attempt = 0") == 3
