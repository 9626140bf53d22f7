"""What a lost connection, a refusal of the database and an error of our own do to jobs: nothing."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import psycopg
import pytest

from pqclock.store import jobs, processes
from pqclock.store.database import Session
from pqclock.worker import finisher, presence
from processes.fleet import eventually
from worker.bench import Bench, messages, reply_lost


@pytest.fixture
def plain(bench: Bench) -> Bench:
    """A bench with a task that is done at once."""

    @bench.app.task("t")
    def handler() -> int:
        return 1

    return bench


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

    finish = jobs.finish

    def away(*args: Any, **options: Any) -> Any:
        if not go_on.is_set():
            raise psycopg.OperationalError("away")
        return finish(*args, **options)

    monkeypatch.setattr(jobs, "finish", away)
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


def test_an_outcome_waits_while_the_database_is_read_only(plain: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = threading.Event()
    finish = jobs.finish

    def read_only(session: Session, *args: Any, **options: Any) -> Any:
        if not refused.is_set():
            refused.set()
            session.conn.execute("SET default_transaction_read_only = on")
        return finish(session, *args, **options)

    monkeypatch.setattr(jobs, "finish", read_only)
    plain.start()
    plain.comes_to(plain.put("t"), "succeeded")
    assert refused.is_set()
    assert plain.error(1) == "None"


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        ("ALTER TABLE pqclock.attempt RENAME TO attempt_away", "ALTER TABLE pqclock.attempt_away RENAME TO attempt"),
        (
            "ALTER TABLE pqclock.attempt ADD CONSTRAINT no CHECK (false)",
            "ALTER TABLE pqclock.attempt DROP CONSTRAINT no",
        ),
    ],
)
def test_outcomes_are_written_when_what_refused_them_is_gone(
    plain: Bench, monkeypatch: pytest.MonkeyPatch, spoil: str, mend: str
) -> None:
    monkeypatch.setattr(finisher, "ASIDE_FOR", 0.3)
    refusals: list[object] = []
    finish = jobs.finish

    def counting(*args: Any, **options: Any) -> Any:
        try:
            return finish(*args, **options)
        except psycopg.Error as error:
            refusals.append(error)
            raise

    monkeypatch.setattr(jobs, "finish", counting)
    plain.start()
    plain.database.session.conn.execute(spoil.encode())
    job_id = plain.put("t")
    eventually(lambda: len(refusals) >= 2)
    assert plain.database.value("SELECT state::text FROM pqclock.job WHERE id = %s", job_id) == "running"
    plain.database.session.conn.execute(mend.encode())
    plain.comes_to(job_id, "succeeded")
    assert plain.attempts(job_id) == ["succeeded"]


SELECTIVE = "ALTER TABLE pqclock.job_history ADD CONSTRAINT no_seven CHECK (result IS DISTINCT FROM '7')"


def test_one_refused_outcome_does_not_keep_the_others(bench: Bench) -> None:
    gate = threading.Event()

    @bench.app.task("t")
    def handler(n: int) -> int:
        gate.wait(10)
        return n

    bench.database.session.conn.execute(SELECTIVE.encode())
    bench.start("*:4")
    ids = [bench.put("t", f'{{"n": {n}}}') for n in (6, 7, 8)]
    eventually(lambda: bench.database.value("SELECT count(*) FROM pqclock.job WHERE state = 'running'") == 3)
    gate.set()
    for job_id in ids:
        bench.comes_to(job_id, "succeeded")
    assert [bench.error(job_id) for job_id in ids] == ["None", "its outcome could not be stored", "None"]


def test_a_loss_while_outcomes_are_written_one_by_one_loses_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    @bench.app.task("t")
    def handler(n: int) -> int:
        gate.wait(10)
        return n

    singles: list[int] = []
    finish = jobs.finish

    def lossy(session: Session, outcomes: Any, *args: Any, **options: Any) -> Any:
        if len(outcomes) == 1:
            singles.append(outcomes[0].job_id)
            if len(singles) == 2:
                session.close()
        return finish(session, outcomes, *args, **options)

    bench.database.session.conn.execute(SELECTIVE.encode())
    bench.start("*:4")
    ids = [bench.put("t", f'{{"n": {n}}}') for n in (7, 6, 8, 9)]
    eventually(lambda: bench.database.value("SELECT count(*) FROM pqclock.job WHERE state = 'running'") == 4)
    monkeypatch.setattr(jobs, "finish", lossy)
    gate.set()
    for job_id in ids:
        bench.comes_to(job_id, "succeeded")
    results = [bench.database.value("SELECT result FROM pqclock.jobs WHERE id = %s", job_id) for job_id in ids]
    assert results == [None, 6, 8, 9]


def test_an_error_of_our_own_does_not_end_the_finisher(plain: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    finish, errors = jobs.finish, [RuntimeError("a"), KeyError("b"), RuntimeError("c")]

    def faulty(*args: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop()
        return finish(*args, **options)

    monkeypatch.setattr(jobs, "finish", faulty)
    monkeypatch.setattr(finisher, "ASIDE_FOR", 0.3)
    plain.start()
    ids = [plain.put("t"), plain.put("t")]
    for job_id in ids:
        plain.comes_to(job_id, "succeeded")
    assert not errors


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_without_its_finisher_ends(plain: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fatal(*_args: Any, **_options: Any) -> Any:
        raise SystemExit

    plain.start()
    monkeypatch.setattr(jobs, "finish", fatal)
    plain.put("t")
    eventually(plain.ended)


def test_an_outcome_that_was_written_without_a_reply_is_not_called_lost(
    plain: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jobs, "finish", reply_lost(jobs.finish))
    plain.start()
    job_id = plain.put("t")
    plain.comes_to(job_id, "succeeded")
    later = plain.put("t")
    plain.comes_to(later, "succeeded")
    assert not [text for text in messages(caplog.records, logging.WARNING) if "lease was lost" in text]
    assert plain.attempts(job_id) == ["succeeded"]


def test_an_outcome_whose_job_went_to_another_is_called_lost(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    @bench.app.task("t")
    def handler() -> None:
        gate.wait(10)

    finish, failures = jobs.finish, [psycopg.OperationalError("away")]

    def away_once(*args: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return finish(*args, **options)

    bench.start("*:1")
    job_id = bench.put("t")
    bench.comes_to(job_id, "running")
    bench.database.session.conn.execute("UPDATE pqclock.job SET lease = 1, worker_id = 77")
    monkeypatch.setattr(jobs, "finish", away_once)
    gate.set()
    eventually(lambda: any("lease was lost" in text for text in messages(caplog.records, logging.WARNING)))
    assert bench.state(job_id) == "running"


def test_a_start_whose_note_was_lost_is_noted_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    @bench.app.task("t")
    def handler() -> None:
        gate.wait(10)

    note, failures = jobs.note_starts, [psycopg.OperationalError("away")]

    def away_once(*args: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return note(*args, **options)

    monkeypatch.setattr(jobs, "note_starts", away_once)
    bench.start()
    job_id = bench.put("t")
    eventually(lambda: bench.database.value("SELECT started_at FROM pqclock.job WHERE id = %s", job_id), within=5)
    assert not failures
    gate.set()


def test_every_loss_is_reported_and_none_makes_the_next_wait_longer(
    plain: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    plain.start()
    for _ in range(8):
        plain.comes_to(plain.put("t"), "succeeded")
        lost = time.monotonic()
        eventually(lambda: plain.cut("worker"))
    plain.comes_to(plain.put("t"), "succeeded")
    assert time.monotonic() - lost < 1.5
    assert len([text for text in messages(caplog.records, logging.WARNING) if "lost the database" in text]) == 8


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
