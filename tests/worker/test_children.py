"""Jobs in child processes: those that want one, and those under suspicion of killing their process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Database
from pqclock import ArgumentError
from pqclock.worker import outcomes, run
from processes.fleet import eventually
from worker.bench import Bench
from worker.child_app import app

HERE = str(Path(__file__).parents[1])


@pytest.fixture
def bench(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", HERE)
    monkeypatch.setattr(outcomes, "KILL_AFTER", 0.3)
    bench = Bench(database, app, "worker.child_app:app")
    yield bench
    bench.end()


def result(bench: Bench, job_id: int, within: float = 15.0) -> Any:
    bench.comes_to(job_id, "succeeded", within=within)
    return bench.database.value("SELECT result FROM pqclock.job_history WHERE id = %s", job_id)


def test_a_job_runs_in_a_process_of_its_own_which_is_used_again(bench: Bench) -> None:
    bench.start("*:1")
    first, second = (bench.put("where", '{"text": "ä\\n"}') for _ in range(2))
    found = [result(bench, job_id) for job_id in (first, second)]
    assert found[0]["text"] == "ä\n"
    assert [one["job"] for one in found] == [first, second]
    assert found[0]["pid"] == found[1]["pid"] != os.getpid()
    assert bench.attempts(first) == ["succeeded"]


def test_its_failures_are_those_of_any_job(bench: Bench) -> None:
    bench.start("*:1")
    job_id = bench.put("fail", max_attempts=2)
    bench.comes_to(job_id, "failed", within=15)
    assert bench.error(job_id) == "ValueError: bad"
    assert bench.attempts(job_id) == ["failed", "failed"]
    traceback = str(bench.database.value("SELECT traceback FROM pqclock.attempt LIMIT 1"))
    assert 'raise ValueError("bad")' in traceback
    assert "pqclock/worker" not in traceback


def test_what_no_exception_ends_is_killed_after_its_timeout(bench: Bench) -> None:
    bench.start("*:1")
    job_id = bench.put("stuck")
    bench.comes_to(job_id, "failed", within=15)
    assert bench.database.value("SELECT error_type FROM pqclock.attempt") == "Timeout"
    assert result(bench, bench.put("where"))


def test_one_that_kills_its_process_is_quarantined_and_nothing_else_is_touched(bench: Bench) -> None:
    bench.start("*:2")
    job_id = bench.put("die")
    beside = [bench.put("where") for _ in range(3)]
    for other in beside:
        result(bench, other)
    bench.comes_to(job_id, "failed", within=15)
    assert bench.attempts(job_id) == ["crashed"] * 3
    assert "signal 9" in bench.error(job_id)
    assert bench.database.value("SELECT count(*) FROM pqclock.attempt WHERE job_id <> %s", job_id) == 3


def test_one_that_dies_in_doubt_is_held(bench: Bench) -> None:
    bench.start("*:1")
    job_id = bench.put("die_in_doubt")
    eventually(lambda: bench.attempts(job_id) == ["crashed"], 15)
    assert bench.state(job_id) == "scheduled"
    assert "a person" in bench.error(job_id)
    assert "exit code 3" in bench.error(job_id)


def test_an_iteration_saves_and_goes_back_at_a_stop(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SAVE_EVERY", 0.05)
    worker = bench.start("*:1", stop_timeout=10)
    job_id = bench.put("steps")
    eventually(lambda: bench.database.value("SELECT started_at IS NOT NULL FROM pqclock.job") is True, 15)
    worker.stop()
    eventually(lambda: bench.state(job_id) == "ready", 15)
    assert bench.attempts(job_id) == ["interrupted"]
    cursor = bench.database.value("SELECT checkpoint ->> 'cursor' FROM pqclock.job")
    assert int(str(cursor)) >= 1
    Path("enough").touch()
    bench.start("*:1", wait=False)
    bench.comes_to(job_id, "succeeded", within=15)


def test_one_that_is_cancelled_hears_of_it(bench: Bench) -> None:
    worker = bench.start("*:1")
    job_id = bench.put("ask")
    eventually(lambda: bench.database.value("SELECT started_at IS NOT NULL FROM pqclock.job") is True, 15)
    worker._runs.cancel(job_id)
    bench.comes_to(job_id, "cancelled", within=15)


@pytest.mark.parametrize("task", ["plain", "plain_async"])
def test_what_was_there_when_a_process_died_runs_alone_from_then_on(bench: Bench, task: str) -> None:
    suspect, other = bench.put(task), bench.put(task)
    bench.database.session.conn.execute("UPDATE pqclock.job SET crashes = 1 WHERE id = %s", [suspect])
    bench.start("*:1")
    assert result(bench, suspect) != os.getpid()
    assert result(bench, other) == os.getpid()


def test_a_suspect_is_taken_out_of_its_batch(bench: Bench) -> None:
    suspect, *others = (bench.put("batch") for _ in range(3))
    bench.database.session.conn.execute("UPDATE pqclock.job SET crashes = 1 WHERE id = %s", [suspect])
    bench.start("*:1")
    for job_id in (suspect, *others):
        bench.comes_to(job_id, "succeeded", within=15)
    alone, together = Path("together").read_text().splitlines()
    assert alone.endswith(f"[{suspect}]")
    assert together == f"{os.getpid()} {others}"
    assert not alone.startswith(f"{os.getpid()} ")


def test_children_end_with_their_worker(bench: Bench) -> None:
    worker = bench.start("*:1")
    pid = result(bench, bench.put("where"))["pid"]
    worker.stop()
    bench.end()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("options", [{"executor": "gpu"}, {"executor": "process", "batch": 3}])
def test_an_executor_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="executor"):
        decorator: Any = app.task("never", **options)
        decorator(lambda jobs: None)
