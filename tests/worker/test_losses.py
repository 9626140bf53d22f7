"""What a lost connection and an error of our own do to a worker and its jobs: nothing."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import psycopg
import pytest

from pqclock import alarms
from pqclock.store import finishing, jobs, leadership, processes
from pqclock.worker import hearing, presence
from processes.fleet import eventually
from worker.bench import Bench, messages, reply_lost


def test_jobs_of_a_claim_whose_reply_was_lost_run_after_the_reconnect(
    plain: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jobs, "claim", reply_lost(jobs.claim))
    plain.start()
    ids = [plain.put("t") for _ in range(3)]
    for job_id in ids:
        plain.comes_to(job_id, "succeeded")
    assert plain.database.rows("SELECT DISTINCT attempt FROM pqclock.jobs") == [(1,)]
    assert plain.database.value("SELECT count(*) FROM pqclock.attempt") == 3
    assert any("these jobs go back" in text for text in messages(caplog.records, logging.WARNING))


def test_what_runs_and_what_is_not_written_yet_is_not_given_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    runs: list[str] = []

    @bench.app.task("long")
    def long() -> None:
        runs.append("long")
        begun.set()
        go_on.wait(10)

    @bench.app.task("short")
    def short() -> None:
        runs.append("short")

    finish = finishing.finish

    def away(*args: Any, **options: Any) -> Any:
        if not go_on.is_set():
            raise psycopg.OperationalError("away")
        return finish(*args, **options)

    monkeypatch.setattr(finishing, "finish", away)
    bench.start("*:4")
    ids = [bench.put("long"), bench.put("short")]
    assert begun.wait(5)
    eventually(lambda: len(runs) == 2)
    eventually(lambda: bench.cut("worker"))
    other = bench.put("short")
    eventually(lambda: len(runs) == 3)
    assert [bench.state(job_id) for job_id in (*ids, other)] == ["running"] * 3
    go_on.set()
    for job_id in (*ids, other):
        bench.comes_to(job_id, "succeeded")
    assert sorted(runs) == ["long", "short", "short"]


def test_every_loss_is_reported_and_none_makes_the_next_wait_longer(
    plain: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pqclock")
    plain.start()
    for _ in range(8):
        plain.comes_to(plain.put("t"), "succeeded")
        lost = time.monotonic()
        eventually(lambda: plain.cut("worker"))
    plain.comes_to(plain.put("t"), "succeeded")
    assert time.monotonic() - lost < 1.5
    assert len([text for text in messages(caplog.records, logging.WARNING) if "lost the database" in text]) == 8
    assert len([text for text in messages(caplog.records, logging.INFO) if "has the database again" in text]) == 8


def test_a_worker_that_works_survives_any_error(
    plain: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain.start()
    plain.comes_to(plain.put("t"), "succeeded")
    claim, errors = jobs.claim, [RuntimeError("ours"), TypeError("ours as well")]

    def faulty(*args: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop()
        return claim(*args, **options)

    monkeypatch.setattr(jobs, "claim", faulty)
    plain.comes_to(plain.put("t"), "succeeded")
    assert len([record for record in caplog.records if record.exc_info and record.levelno == logging.ERROR]) == 2


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_job_for_which_no_thread_can_be_started_runs_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, colour: str
) -> None:
    @bench.app.task("sync")
    def handler() -> None:
        pass

    @bench.app.task("async")
    async def async_handler() -> None:
        pass

    bench.start("*:1")
    bench.comes_to(bench.put("async" if colour == "sync" else "sync"), "succeeded")
    failures = [RuntimeError("can't start new thread")]
    start = threading.Thread.start

    def out_of_threads(thread: threading.Thread) -> None:
        if failures:
            raise failures.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", out_of_threads)
    for job_id in (bench.put(colour), bench.put(colour)):
        assert bench.comes_to(job_id, "succeeded") == "succeeded"
    assert not failures
    assert bench.database.rows("SELECT DISTINCT attempt FROM pqclock.jobs") == [(1,)]


def test_a_worker_that_never_worked_says_why_and_ends(plain: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*_args: Any, **_options: Any) -> Any:
        raise RuntimeError("from the start")

    monkeypatch.setattr(jobs, "claim", faulty)
    plain.start(wait=False)
    eventually(plain.ended)
    assert isinstance(plain.raised, RuntimeError)


def test_a_beat_looks_for_strays_as_well(plain: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that the server ends only after the worker has its new connection is found too."""
    monkeypatch.setattr(presence, "BEAT_EVERY", 0.2)
    plain.start()
    plain.comes_to(plain.put("t"), "succeeded")
    me = plain.database.value("SELECT id FROM pqclock.process")
    with plain.database.session.transaction():
        stray = plain.put("t")
        plain.database.session.conn.execute(
            "UPDATE pqclock.job SET state = 'running', worker_id = %s, lease = 5, attempt = 1 WHERE id = %s",
            [me, stray],
        )
    plain.comes_to(stray, "succeeded")
    assert processes.beat(plain.database.session, int(str(me))) is not None


def test_a_worker_that_was_cut_off_watches_for_the_leader_anew(
    plain: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In an outage nobody could beat: only silence that was watched on one connection counts."""
    monkeypatch.setattr(hearing, "POLL_EVERY", 0.05)
    monkeypatch.setattr(alarms, "SILENCE", 1.0)
    caplog.set_level(logging.INFO)
    leadership.elect(plain.database.session, 1)

    def silences() -> list[str]:
        return [text for text in messages(caplog.records, logging.ERROR) if "no clock leads" in text]

    looks: list[float] = []
    look = alarms.DeadMansSwitch.look

    def noted(switch: alarms.DeadMansSwitch, pulse: leadership.Pulse, at: float) -> None:
        look(switch, pulse, at)
        looks.append(at)

    monkeypatch.setattr(alarms.DeadMansSwitch, "look", noted)
    plain.start()
    begun = time.monotonic()
    while time.monotonic() - begun < 2.5:
        seen = len(looks)
        eventually(lambda n=seen: len(looks) > n + 2)  # type: ignore[misc]
        eventually(lambda: plain.cut("worker"))
    assert silences() == []
    eventually(silences)
    leadership.elect(plain.database.session, 1)
    eventually(lambda: any(text.startswith("is over") for text in messages(caplog.records, logging.INFO)))
