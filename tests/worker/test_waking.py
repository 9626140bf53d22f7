"""A worker hears of jobs at once, and a stop is safe wherever it comes from."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from pqclock.store import jobs
from pqclock.worker import hearing
from worker.bench import Bench, messages


def test_a_job_that_arrives_during_a_claim_is_not_left_for_the_poll(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    @bench.app.task("t")
    def handler() -> None:
        pass

    claim, late = jobs.claim, [0]

    def overtaken(session: Any, *args: Any, **options: Any) -> Any:
        """The claim finds the first job; the next one comes before its reply, which brings the notification along."""
        claimed = claim(session, *args, **options)
        if claimed and not late[0]:
            late[0] = bench.put("t")
            session.conn.execute("SELECT 1")
        return claimed

    monkeypatch.setattr(hearing, "POLL_EVERY", 60.0)
    monkeypatch.setattr(jobs, "claim", overtaken)
    bench.start("*:4")
    bench.comes_to(bench.put("t"), "succeeded")
    began = time.monotonic()
    bench.comes_to(late[0], "succeeded", within=3.0)
    assert time.monotonic() - began < 1.0


def test_a_stop_takes_no_lock_that_a_signal_may_have_interrupted(bench: Bench) -> None:
    worker = bench.start()
    locks = [value for value in vars(worker).values() if type(value).__module__ == "threading"]
    assert locks == []
    worker.stop()
    worker.stop()
    bench.end()


def test_the_time_of_a_slow_claim_is_not_moved_to_its_middle(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    @bench.app.task("t")
    def handler() -> None:
        pass

    claim = jobs.claim

    def slow(*args: Any, **options: Any) -> Any:
        claimed = claim(*args, **options)
        if claimed:
            time.sleep(1.0)
        return claimed

    monkeypatch.setattr(jobs, "claim", slow)
    bench.start()
    job_id = bench.put("t")
    bench.comes_to(job_id, "succeeded")
    waited = bench.database.value(
        "SELECT extract(epoch FROM h.started_at - a.at)::float FROM pqclock.job_history AS h,"
        " (SELECT created_at AS at FROM pqclock.job_history) AS a"
    )
    assert isinstance(waited, float)
    assert 0.95 < waited < 1.3


def test_what_anybody_says_on_the_channel_disturbs_no_worker(plain: Bench, caplog: pytest.LogCaptureFixture) -> None:
    worker = plain.start()
    channel = plain.database.session.schema
    me = worker._presence.process_id
    for payload in ("", "cancelled", "cancelled 1 2 3", f"cancelled {me}", f"cancelled {me} x", f"cancelled {me} 1 2"):
        plain.database.session.conn.execute("SELECT pg_notify(%s, %s)", [channel, payload])
    assert plain.comes_to(plain.put("t"), "succeeded")
    assert messages(caplog.records, logging.WARNING) == []
