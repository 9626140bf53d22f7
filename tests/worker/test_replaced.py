"""A job that a later tick replaces while it runs: its handler is told, and what it comes to counts no more."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

from pqclock import current_job
from pqclock.clock.leader import Leader
from pqclock.rules.schedule import Schedule
from pqclock.store import leadership, processes, runtime
from processes.fleet import eventually
from worker.bench import Bench

SCHEDULE = Schedule("a", "long", every=timedelta(seconds=1), overlap="replace")


def a_leader(bench: Bench) -> Leader:
    session = bench.database.session
    process_id = processes.register(session, "clock", pid=1, host="box", code_version="1")
    return Leader(session, leadership.elect(session, process_id), process_id)


def test_the_handler_is_told_and_the_job_of_the_later_tick_runs(bench: Bench) -> None:
    seen: list[int] = []
    told = threading.Event()

    @bench.app.task("long")
    def long() -> None:
        job = current_job()
        seen.append(job.id)
        if len(seen) > 1:
            return
        eventually(lambda: job.cancelled, 10)
        told.set()

    leader = a_leader(bench)
    bench.start("*:2")
    runtime.put(bench.database.session, [SCHEDULE])
    eventually(lambda: leader.turn() >= 0 and told.is_set(), 10)
    eventually(
        lambda: leader.turn() >= 0 and bench.state(seen[1]) == "succeeded" if len(seen) > 1 else leader.turn() < 0
    )
    assert bench.state(seen[0]) == "cancelled"
    assert "replaced by the job of the tick" in bench.error(seen[0])
    assert bench.attempts(seen[0]) == ["cancelled"]


def test_a_replaced_job_that_waits_for_a_thread_is_not_begun(bench: Bench) -> None:
    begun: list[int] = []
    go_on = threading.Event()

    @bench.app.task("long")
    def long() -> None:
        begun.append(current_job().id)
        go_on.wait(10)

    bench.start("*:1")
    leader = a_leader(bench)
    runtime.put(bench.database.session, [replace(SCHEDULE, queue="q")])
    # The first job keeps the only thread, whatever becomes of it; those after it are replaced before they begin.
    count = "SELECT count(*) FROM pqclock.job_history WHERE state = 'cancelled'"
    eventually(lambda: leader.turn() >= 0 and int(str(bench.database.value(count))) >= 2, 15)
    runtime.remove(bench.database.session, "a")
    go_on.set()
    eventually(lambda: leader.turn() >= 0 and bench.database.value("SELECT count(*) FROM pqclock.job") == 0)
    assert len(begun) == 2
