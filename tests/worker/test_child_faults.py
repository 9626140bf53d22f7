"""Child processes that do what nobody expects, and words that reach them at a bad moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pqclock.store.jobs import ClaimedJob
from pqclock.worker import children, outcomes, pipes, run, runs
from pqclock.worker.child import ChildProcess
from pqclock.worker.recycling import Limits
from processes.fleet import eventually
from worker.bench import Bench
from worker.child_app import app
from worker.test_children import bench, result

__all__ = ["bench"]


def claimed(bench: Bench, task: str) -> ClaimedJob:
    from pqclock.rules.pools import parse_pools
    from pqclock.store import jobs, processes

    bench.put(task)
    worker_id = processes.register(
        bench.database.session, "worker", pid=1, host="h", code_version="1", doing="", token=None
    )
    (job,) = jobs.claim(bench.database.session, parse_pools("*")[0], [task], 1, worker_id=worker_id, lease=7)
    return job


def test_what_is_said_before_the_handler_begins_is_heard(bench: Bench) -> None:
    from pqclock.loop import DatabaseClock, now

    job = claimed(bench, "steps")
    clock = DatabaseClock()
    clock.read(now(), 0.0, 0.0)
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as heard, os.fdopen(theirs, "wb") as said:
        child = ChildProcess(app, heard, said)
        child._take({"job": pipes.job_message(job), "now": now().isoformat(), "ran": 0.0})
        child._take({"word": "want back", "for": job.lease})
        child._answer(child._jobs.pop(0))
        answer = pipes.receive(heard)
    assert answer is not None
    assert answer["outcome"]["state"] == "ready"


def test_a_job_whose_process_cannot_begin_runs_later_and_is_not_blamed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "AGAIN_AFTER", 0.1)
    real, left = subprocess.Popen, [None] * 4

    def popen(command: Any, *args: Any, **options: Any) -> Any:
        if len(left) > 2:
            left.pop()
            raise OSError(11, "no more processes")
        if left:
            left.pop()
            command = ["false"]
        return real(command, *args, **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    bench.start("*:1")
    job_id = bench.put("where")
    assert result(bench, job_id)
    assert not left
    assert bench.attempts(job_id) == ["succeeded"]


@pytest.mark.parametrize("task", ["leaves_a_command", "leaves_a_fork"])
def test_what_a_dead_child_leaves_behind_does_not_hide_its_death(bench: Bench, task: str) -> None:
    bench.start("*:1")
    job_id = bench.put(task)
    try:
        eventually(lambda: "crashed" in bench.attempts(job_id), 10)
    finally:
        for pid in Path("left").read_text().split():
            os.kill(int(pid), signal.SIGKILL)


def test_a_signal_for_all_processes_does_not_end_a_job(bench: Bench) -> None:
    bench.start("*:1", stop_timeout=10)
    job_id = bench.put("slow")
    eventually(lambda: Path("slow").exists(), 15)
    pid = int(Path("slow").read_text())
    os.kill(pid, signal.SIGTERM)
    assert result(bench, job_id) == "not ended"


def test_a_coroutine_apart_that_ends_the_program_has_failed(bench: Bench) -> None:
    job_id = bench.put("exits_async", max_attempts=1)
    bench.database.session.conn.execute("UPDATE pqclock.job SET crashes = 1 WHERE id = %s", [job_id])
    bench.start("*:1")
    bench.comes_to(job_id, "failed", within=15)
    assert bench.error(job_id) == "SystemExit: 3"


@pytest.mark.parametrize("end", ["a stop", "a limit"])
def test_a_child_tells_its_reports_before_it_ends(bench: Bench, end: str) -> None:
    worker = bench.start("*:1", limits=Limits(jobs=1) if end == "a limit" else Limits())
    bench.put("fail", max_attempts=1)
    if end == "a stop":
        eventually(lambda: bench.database.value("SELECT count(*) FROM pqclock.job") == 0, 15)
        worker.stop()
    eventually(lambda: Path("reported").exists(), 15)


def test_a_checkpoint_in_its_own_transaction_counts_crashes_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PQCLOCK_DATABASE_URL", bench.database.url)
    job_id = bench.put("steps_and_dies", f'{{"url": {bench.database.url!r}}}'.replace("'", '"'))
    bench.start("*:1")
    bench.comes_to(job_id, "succeeded", within=30)
    assert bench.attempts(job_id) == ["crashed"] * 4 + ["succeeded"]


def test_progress_alone_does_not(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAVE_EVERY", "0")
    monkeypatch.setattr(run, "SAVE_EVERY", 0.0)
    job_id = bench.put("progresses_and_dies")
    bench.start("*:1")
    bench.comes_to(job_id, "failed", within=30)
    assert bench.attempts(job_id) == ["crashed"] * 3


def test_the_last_checkpoint_of_a_dead_child_is_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from pqclock.worker.finisher import Finisher

    monkeypatch.setenv("SAVE_EVERY", "0")
    # The database is slow: what was said is not written when the child dies.
    monkeypatch.setattr(Finisher, "save", lambda *_: None)
    job_id = bench.put("goes_on_and_dies")
    bench.start("*:1")
    bench.comes_to(job_id, "succeeded", within=30)
    assert result(bench, job_id) == 5


def test_one_that_is_written_off_is_not_counted_as_crashed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "KILL_AFTER", 0.1)
    real = children.Child.kill

    def kill(child: children.Child) -> None:
        real(child)
        time.sleep(0.2)

    monkeypatch.setattr(children.Child, "kill", kill)
    bench.start("*:1")
    job_id = bench.put("stuck", max_attempts=1)
    bench.comes_to(job_id, "failed", within=15)
    assert bench.attempts(job_id) == ["failed"]


def test_what_asks_a_person_hears_that_nobody_is_there(bench: Bench) -> None:
    job_id = bench.put("reads")
    bench.database.session.conn.execute("UPDATE pqclock.job SET crashes = 1 WHERE id = %s", [job_id])
    # As under a supervisor, which never writes into this pipe.
    silent, ours = os.pipe()
    before = os.dup(0)
    os.dup2(silent, 0)
    try:
        bench.start("*:1")
        assert result(bench, job_id) == "nobody"
    finally:
        os.dup2(before, 0)
        for descriptor in (silent, ours, before):
            os.close(descriptor)


def test_a_fork_of_the_worker_does_not_keep_a_child_alive(bench: Bench) -> None:
    started = """
from datetime import timedelta
from pqclock.rules.pools import parse_pools
from pqclock.worker.worker import Worker
from worker.child_app import app
import sys
Worker(app, sys.argv[1], "pqclock", parse_pools("*:2"), timedelta(seconds=1), "worker.child_app:app").run()
"""
    worker = subprocess.Popen([sys.executable, "-c", started, bench.database.url])
    left: list[int] = []
    try:
        bench.put("waits")
        eventually(lambda: Path("waits").exists() and Path("waits").read_text(), 15)
        child = int(Path("waits").read_text())
        left.append(result(bench, bench.put("forks")))
        worker.kill()
        worker.wait()
        eventually(lambda: not Path(f"/proc/{child}").exists() or is_zombie(child), 5)
    finally:
        worker.kill()
        worker.wait()
        for pid in left:
            os.kill(pid, signal.SIGKILL)


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
