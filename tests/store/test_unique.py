"""Unique jobs on a real server: who gets in, whom the others meet, and when a key is free again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pqclock.errors import ArgumentError, UniqueConflict
from pqclock.store import jobs
from pqclock.store.database import Session
from pqclock.store.jobs import Entered, NewJob
from store.samples import HOUR, MINUTE, NOW, SECOND, a_worker, claim, finish

if TYPE_CHECKING:
    from conftest import Database

KEYS = "SELECT task, key, job_id FROM pqclock.unique_key ORDER BY 1, 2"
TERMS = {"key": "k:{n}"}


def new(n: object = 1, *, task: str = "mail", now: Any = None, **terms: Any) -> NewJob:
    more = {name: terms.pop(name) for name in ("run_at", "delay", "priority", "queue", "max_attempts") if name in terms}
    return NewJob(
        task, json.dumps({"n": n, **terms.pop("args", {})}), options=json.dumps({"unique": {**TERMS, **terms}}), **more
    )


def enter(session: Session, *wanted: NewJob, now: Any = NOW) -> list[Entered]:
    return jobs.enter(session, wanted, now=now)


@pytest.fixture
def other(database: Database) -> Iterator[Session]:
    """A second session."""
    session = database.connect()
    yield session
    session.close()


def test_the_first_job_gets_in_and_the_second_meets_it(database: Database) -> None:
    (first,) = enter(database.session, new())
    (second,) = enter(database.session, new())
    assert first.inserted
    assert second == Entered(first.id, "ready", inserted=False)
    assert database.rows(KEYS) == [("mail", "k:1", first.id)]
    assert database.rows("SELECT unique_key, unique_until FROM pqclock.job") == [("k:1", "finished")]


def test_keys_are_scoped_to_their_task(database: Database) -> None:
    assert all(job.inserted for job in enter(database.session, new(), new(task="other")))


def test_of_many_with_the_same_key_the_first_gets_in(database: Database) -> None:
    came = enter(database.session, *(new(n % 10) for n in range(1000)), NewJob("mail", "{}"))
    assert [job.inserted for job in came] == [True] * 10 + [False] * 990 + [True]
    assert [job.id for job in came[10:20]] == [job.id for job in came[:10]]
    assert database.value("SELECT count(*) FROM pqclock.job") == 11


@pytest.mark.parametrize("commits", [True, False])
def test_who_comes_second_waits_for_the_transaction_of_the_first(
    database: Database, other: Session, commits: bool
) -> None:
    came: list[Entered] = []
    thread = threading.Thread(target=lambda: came.extend(enter(other, new(2), new(1), new(3))))
    with database.session.conn.transaction(force_rollback=not commits):
        (first,) = enter(database.session, new(1))
        thread.start()
        thread.join(timeout=0.3)
        assert thread.is_alive()
    thread.join(timeout=10)
    assert [job.inserted for job in came] == [True, not commits, True]
    if commits:
        assert came[1].id == first.id
    assert database.value("SELECT count(*) FROM pqclock.job") == 3
    assert database.value("SELECT count(*) FROM pqclock.unique_key AS u JOIN pqclock.job AS j ON j.id = u.job_id") == 3


def test_two_who_enqueue_the_same_keys_at_once_get_each_in_once(database: Database, other: Session) -> None:
    came: list[list[Entered]] = []

    def rush(session: Session, numbers: list[int]) -> None:
        came.extend(enter(session, *(new(n) for n in numbers)) for _ in range(20))

    numbers = list(range(50))
    threads = [
        threading.Thread(target=rush, args=(database.session, numbers)),
        threading.Thread(target=rush, args=(other, numbers[::-1])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(came) == 40
    assert sum(job.inserted for one in came for job in one) == 50
    assert database.value("SELECT count(*) FROM pqclock.job") == 50


def test_a_key_is_free_when_its_job_has_finished(database: Database) -> None:
    a_worker(database.session)
    (first,) = enter(database.session, new())
    (job,) = claim(database.session)
    assert enter(database.session, new()) == [Entered(first.id, "running", inserted=False)]
    finish(database.session, job, "scheduled", "failed", delay=60.0)
    assert enter(database.session, new()) == [Entered(first.id, "scheduled", inserted=False)]
    jobs.promote(database.session, 10, NOW + HOUR)
    (job,) = claim(database.session, now=NOW + HOUR)
    finish(database.session, job, "succeeded", "succeeded")
    assert enter(database.session, new())[0].inserted
    assert database.rows("SELECT unique_key FROM pqclock.job_history") == [("k:1",)]


def test_until_started_a_key_is_given_up_at_the_first_start_and_never_taken_again(database: Database) -> None:
    a_worker(database.session)
    enter(database.session, new(until="started"))
    (job,) = claim(database.session)
    finish(database.session, job, "ready", None)
    (second,) = enter(database.session, new(until="started"))
    assert second.inserted
    assert enter(database.session, new(until="started")) == [Entered(second.id, "ready", inserted=False)]


def test_a_duration_outlives_the_job_and_then_the_key_is_taken_over(database: Database) -> None:
    a_worker(database.session)
    (first,) = enter(database.session, new(until="1h30m"))
    (job,) = claim(database.session)
    finish(database.session, job, "succeeded", "succeeded")
    late = NOW + timedelta(minutes=90)
    assert enter(database.session, new(until="1h30m"), now=late - SECOND) == [Entered(first.id, "succeeded", False)]
    (second,) = enter(database.session, new(until="1h30m"), now=late)
    assert second.inserted
    assert database.rows(KEYS) == [("mail", "k:1", second.id)]
    assert jobs.drop_expired_keys(database.session, 10, late) == 0
    assert jobs.drop_expired_keys(database.session, 10, late + 2 * HOUR) == 1


@pytest.mark.parametrize("text", ["1s", "5m", "1h30m", "2d", "1w", "1w2d3h4m5s"])
def test_every_duration_is_the_same_in_the_database(database: Database, text: str) -> None:
    from pqclock.rules.durations import parse_duration

    enter(database.session, new(until=text))
    assert database.value("SELECT expires_at FROM pqclock.unique_key") == NOW + parse_duration(text)


def test_what_ends_without_running_frees_its_key(database: Database) -> None:
    for until in ("started", "finished"):
        enter(database.session, new(until=until))
        database.session.conn.execute("UPDATE pqclock.job SET expires_at = %s", [NOW])
        assert jobs.expire(database.session, 10, NOW)
        enter(database.session, new(until=until))
        assert jobs.cancel_tasks(database.session, ["mail"], "no more") == 1
        assert database.rows(KEYS) == []
    assert database.rows("SELECT DISTINCT unique_key FROM pqclock.job_history") == [("k:1",)]


def test_replace_changes_the_waiting_job_in_its_place(database: Database) -> None:
    (first,) = enter(database.session, new(args={"text": "old"}, run_at=NOW + HOUR))
    (second,) = enter(
        database.session,
        new(on_conflict="replace", args={"text": "new"}, run_at=NOW + 2 * HOUR, priority=5, queue="mice"),
    )
    assert second == Entered(first.id, "scheduled", inserted=False)
    row = "SELECT args ->> 'text', run_at, priority, queue, state::text, ready_seq FROM pqclock.job"
    assert database.rows(row) == [("new", NOW + 2 * HOUR, 5, "default", "scheduled", None)]
    assert enter(database.session, new(on_conflict="replace")) == [Entered(first.id, "ready", inserted=False)]
    assert database.value("SELECT ready_seq IS NOT NULL FROM pqclock.job") is True
    enter(database.session, new(on_conflict="replace", delay=MINUTE))
    assert database.rows("SELECT state::text, run_at FROM pqclock.job") == [("scheduled", NOW + MINUTE)]


def test_debounce_keeps_the_time_and_takes_the_last_arguments(database: Database) -> None:
    for n in range(3):
        enter(
            database.session,
            new(on_conflict="replace", replace=["args"], args={"try": n}, delay=MINUTE),
            now=NOW + n * SECOND,
        )
    assert database.rows("SELECT args -> 'try', run_at FROM pqclock.job") == [(2, NOW + MINUTE)]


def test_within_one_enqueue_the_last_one_replaces(database: Database) -> None:
    came = enter(database.session, *(new(on_conflict="replace", args={"try": n}) for n in range(3)))
    assert [job.inserted for job in came] == [True, False, False]
    assert database.rows("SELECT args -> 'try' FROM pqclock.job") == [(2,)]


def test_a_running_job_is_not_replaced(database: Database) -> None:
    a_worker(database.session)
    (first,) = enter(database.session, new(args={"text": "old"}))
    claim(database.session)
    assert enter(database.session, new(on_conflict="replace")) == [Entered(first.id, "running", inserted=False)]
    assert database.value("SELECT args ->> 'text' FROM pqclock.job") == "old"


def test_raise_inserts_nothing_and_leaves_the_transaction_as_it_was(database: Database) -> None:
    (first,) = enter(database.session, new(1))
    with database.session.transaction():
        with pytest.raises(
            UniqueConflict, match=f"task 'mail': the unique key 'k:1' is taken by job {first.id}"
        ) as error:
            enter(database.session, new(5), NewJob("mail", "{}"), new(1, on_conflict="raise"))
        assert (error.value.job_id, error.value.state) == (first.id, "ready")
        assert enter(database.session, new(7))[0].inserted
    assert database.rows("SELECT key FROM pqclock.unique_key ORDER BY 1") == [("k:1",), ("k:7",)]
    assert database.value("SELECT count(*) FROM pqclock.job") == 2
    with pytest.raises(UniqueConflict, match="another job of the same enqueue") as error:
        enter(database.session, new(8), new(8, on_conflict="raise"))
    assert error.value.job_id is None
    assert database.value("SELECT count(*) FROM pqclock.job") == 2


def test_an_open_transaction_that_met_a_key_does_not_hold_up_its_job(database: Database, other: Session) -> None:
    a_worker(database.session)
    enter(database.session, new())
    (job,) = claim(database.session)
    other.conn.execute("SET lock_timeout = '1s'")
    with database.session.transaction():
        assert not enter(database.session, new())[0].inserted
        assert finish(other, job, "succeeded", "succeeded")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "unique key 'k:{a.b}' needs the argument 'a.b', which is missing: pass it"),
        ({"a": 1}, "'a.b', which is missing"),
        ({"a": {"b": None}}, "'a.b', which is null"),
        ({"a": {"b": [1]}}, "'a.b', which is an array"),
        ({"a": {"b": {}}}, "'a.b', which is an object"),
        ({"a": {"b": "x" * 511}}, "must have 1 to 512 bytes, not 513"),
    ],
)
def test_what_cannot_be_filled_is_told_with_task_and_template(
    database: Database, args: dict[str, object], message: str
) -> None:
    with database.session.transaction():
        with pytest.raises(ArgumentError, match=f"^task 'mail': .*{message}"):
            enter(database.session, new(key="k:{a.b}", args=args), new())
        assert enter(database.session, new())[0].inserted
    assert database.value("SELECT count(*) FROM pqclock.job") == 1


def test_numbers_truth_and_braces_in_keys(database: Database) -> None:
    enter(database.session, new(key="{{{n}}}:{a.b}:{c}", args={"a": {"b": True}, "c": 1.50}))
    assert database.value("SELECT unique_key FROM pqclock.job") == "{1}:true:1.5"


def test_sql_has_unique_keys_too(database: Database) -> None:
    call = "SELECT pqclock.enqueue('mail', unique_key => 'x {n}', on_conflict => %s, unique_until => %s)"
    first = database.value(call, None, "1 hour")
    assert database.value(call, None, None) == first
    assert database.value("SELECT key FROM pqclock.unique_key") == "x {n}"
    with pytest.raises(psycopg.errors.UniqueViolation, match=f"is taken by job {first}, which is ready"):
        database.value(call, "raise", None)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="on_conflict 'drop' must be skip, replace or raise"):
        database.value(call, "drop", None)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=r"throttle 'x:\{y\}' needs the argument 'y'"):
        database.value("SELECT pqclock.enqueue('mail', throttle => ARRAY['x:{y}'])")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("''", "task name '' cannot be used: write up to 200 letters"),
        ("NULL", "task name NULL cannot be used"),
        ("'mail', throttle => '{a b}'", "task 'mail': throttle 'a b' must be the name of a rule, or NAME:KEY such as"),
        ("'mail', fuse => '{x:}'", "fuse 'x:' must be the name of a rule"),
        ("'mail', fuse => '{NULL}'", "fuse NULL must be a printable text"),
        ("'mail', throttle => '{throttle.api}'", "throttle 'throttle.api' begins with the kind of a rule"),
        (
            "'mail', unique_key => 'a', unique_until => '0 s'",
            "unique_until '0 s' must be started, finished, or an interval",
        ),
        ("'mail', unique_key => 'a', unique_until => 'bogus'", "unique_until 'bogus' must be started, finished, or an"),
        ("'mail', unique_key => E'a\\n'", "must be a printable text of 1 to 512 bytes"),
        ("'mail', unique_key => ''", "must have 1 to 512 bytes"),
        (
            "'mail', on_conflict => 'raise'",
            "on_conflict says something of a unique key, and there is none: give unique_key",
        ),
        ("'mail', unique_until => '1 h'", "unique_until says something of a unique key, and there is none"),
        ("'mail', delay => '-1 s'", "delay '-00:00:01' must not be negative"),
        ("'mail', units => 0", "units 0 must be a whole number from 1 to 1000000"),
    ],
)
def test_sql_refuses_what_python_refuses(database: Database, call: str, message: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        database.session.conn.execute(f"SELECT pqclock.enqueue({call})".encode())
    said = caught.value.diag.message_primary or ""
    assert message in said and "\n" not in said
    assert database.value("SELECT count(*) FROM pqclock.job") == 0


def test_terms_of_a_call_in_sql_change_those_of_a_unique_task(database: Database) -> None:
    database.session.conn.execute(
        """INSERT INTO pqclock.task (name, arg_defaults, options, code_version, published_at)
           VALUES ('mail', '{}', '{"unique": {"key": "a"}}', '1', now())"""
    )
    for until in ("1h30m", "1 hour", "started"):
        assert database.value("SELECT pqclock.enqueue('mail', unique_until => %s, on_conflict => 'skip')", until)
