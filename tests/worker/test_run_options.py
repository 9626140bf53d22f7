"""What a call or a schedule says of a run, where the task says other or nothing."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from pqclock import ArgumentError
from pqclock.rules.schedule import Schedule
from pqclock.store import runtime
from processes.fleet import eventually
from worker.bench import Bench
from worker.test_replaced import a_leader

OPTIONS = "SELECT run_options FROM pqclock.job"


def test_a_call_has_its_own_timeout_and_history(bench: Bench) -> None:
    @bench.app.task("t", timeout="1h", history="all")
    def handler() -> None:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            pass

    bench.start("*:1")
    handle = handler.using(timeout="50ms", history="failures").enqueue()
    assert handle.wait("5s") == "failed"
    assert bench.error(handle.id) == "Timeout: it ran longer than its timeout of 0.05 s"


def test_a_schedule_has_its_own_too(bench: Bench) -> None:
    @bench.app.task("t", timeout="1h")
    def handler() -> None: ...

    session = bench.database.session
    schedule = Schedule("a", "t", every=timedelta(hours=1), timeout=timedelta(seconds=90), history="none")
    runtime.put(session, [schedule])
    runtime.trigger(session, "a")
    assert bench.database.value(OPTIONS) == {"timeout": 90, "history": "none"}
    session.conn.execute("DELETE FROM pqclock.job")
    ticking = Schedule("b", "t", every=timedelta(seconds=1), timeout=timedelta(seconds=90), history="none")
    runtime.put(session, [ticking])
    leader = a_leader(bench)
    eventually(lambda: leader.turn() >= 0 and bench.database.value("SELECT count(*) > 0 FROM pqclock.job") is True, 10)
    assert bench.database.value(OPTIONS) == {"timeout": 90, "history": "none"}
    runtime.remove(session, "b")
    runtime.trigger(session, "a")
    bench.start("*:1")
    eventually(lambda: bench.database.value("SELECT count(*) FROM pqclock.job") == 0)
    assert bench.database.value("SELECT count(*) FROM pqclock.job_history") == 0


@pytest.mark.parametrize("options", [{"timeout": "soon"}, {"history": "some"}])
def test_what_cannot_be_is_refused(bench: Bench, options: dict[str, str]) -> None:
    task = bench.app.task("t")(lambda: None)
    with pytest.raises(ArgumentError, match=r"task 't': (timeout|history)"):
        task.using(**options)  # type: ignore[arg-type]
