"""Outcomes are written once, whatever refuses them, and starts beside them."""

from __future__ import annotations

import logging
import threading
from typing import Any

import psycopg
import pytest

from pqclock.store import finishing, running
from pqclock.store.database import Session
from pqclock.worker import finisher
from processes.fleet import eventually
from worker.bench import Bench, messages, reply_lost


def test_an_outcome_waits_while_the_database_is_read_only(plain: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = threading.Event()
    finish = finishing.finish

    def read_only(session: Session, *args: Any, **options: Any) -> Any:
        if not refused.is_set():
            refused.set()
            session.conn.execute("SET default_transaction_read_only = on")
        return finish(session, *args, **options)

    monkeypatch.setattr(finishing, "finish", read_only)
    plain.start()
    plain.comes_to(plain.put("t"), "succeeded")
    assert refused.is_set()
    assert plain.error(1) == "None"


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        ("ALTER TABLE pqclock.attempt RENAME TO attempt_away", "ALTER TABLE pqclock.attempt_away RENAME TO attempt"),
        (
            "ALTER TABLE pqclock.attempt ADD CONSTRAINT no CHECK (false) NOT VALID",
            "ALTER TABLE pqclock.attempt DROP CONSTRAINT no",
        ),
    ],
)
def test_outcomes_are_written_when_what_refused_them_is_gone(
    plain: Bench, monkeypatch: pytest.MonkeyPatch, spoil: str, mend: str
) -> None:
    monkeypatch.setattr(finisher, "ASIDE_FOR", 0.3)
    refusals: list[object] = []
    finish = finishing.finish

    def counting(*args: Any, **options: Any) -> Any:
        try:
            return finish(*args, **options)
        except psycopg.Error as error:
            refusals.append(error)
            raise

    monkeypatch.setattr(finishing, "finish", counting)
    plain.start()
    # A worker that has not begun yet would need the table to begin.
    plain.comes_to(plain.put("t"), "succeeded")
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
    finish = finishing.finish

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
    monkeypatch.setattr(finishing, "finish", lossy)
    gate.set()
    for job_id in ids:
        bench.comes_to(job_id, "succeeded")
    results = [bench.database.value("SELECT result FROM pqclock.jobs WHERE id = %s", job_id) for job_id in ids]
    assert results == [None, 6, 8, 9]


def test_an_error_of_our_own_does_not_end_the_finisher(plain: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    finish, errors = finishing.finish, [RuntimeError("a"), KeyError("b"), RuntimeError("c")]

    def faulty(*args: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop()
        return finish(*args, **options)

    monkeypatch.setattr(finishing, "finish", faulty)
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
    monkeypatch.setattr(finishing, "finish", fatal)
    plain.put("t")
    eventually(plain.ended)


def test_an_outcome_that_was_written_without_a_reply_is_not_called_lost(
    plain: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(finishing, "finish", reply_lost(finishing.finish))
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

    finish, failures = finishing.finish, [psycopg.OperationalError("away")]

    def away_once(*args: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return finish(*args, **options)

    bench.start("*:1")
    job_id = bench.put("t")
    bench.comes_to(job_id, "running")
    bench.database.session.conn.execute("UPDATE pqclock.job SET lease = 1, worker_id = 77")
    monkeypatch.setattr(finishing, "finish", away_once)
    gate.set()
    eventually(lambda: any("lease was lost" in text for text in messages(caplog.records, logging.WARNING)))
    assert bench.state(job_id) == "running"


def test_a_start_whose_note_was_lost_is_noted_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    @bench.app.task("t")
    def handler() -> None:
        gate.wait(10)

    note, failures = running.note_starts, [psycopg.OperationalError("away")]

    def away_once(*args: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return note(*args, **options)

    monkeypatch.setattr(running, "note_starts", away_once)
    bench.start()
    job_id = bench.put("t")
    eventually(lambda: bench.database.value("SELECT started_at FROM pqclock.job WHERE id = %s", job_id), within=5)
    assert not failures
    gate.set()


def test_a_stop_does_not_sleep_through_the_end_of_an_outage(plain: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real, away = finishing.finish, threading.Event()

    def finish(*args: Any, **options: Any) -> Any:
        if not away.is_set():
            monkeypatch.setattr(finisher, "backoff", lambda *_: 60.0)
            away.set()
            raise psycopg.OperationalError("the database is away")
        return real(*args, **options)

    monkeypatch.setattr(finishing, "finish", finish)
    worker = plain.start()
    job_id = plain.put("t")
    assert away.wait(5)
    worker.stop()
    plain.comes_to(job_id, "succeeded")
    eventually(plain.ended)
