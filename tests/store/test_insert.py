"""Enqueueing: where the fields of a job come from, in which order, and in which state it begins."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pqclock.store import jobs, tasks
from store.samples import DAY, HOUR, MINUTE, NOW, enqueue, new

if TYPE_CHECKING:
    from conftest import Database

FIELDS = "SELECT queue, priority, max_attempts, labels FROM pqclock.job"
CODE = {"mail": {"queue": "code", "priority": 3, "max_attempts": 3, "labels": ["code"]}}


def publish(database: Database, **options: Any) -> None:
    nothing = dict.fromkeys(("queue", "priority", "max_attempts", "labels"))
    task = {"name": "mail", **nothing, "arg_defaults": {}, "options": {}, "code_version": "1", **options}
    assert tasks.publish(database.session, [task]) == 1


def test_without_any_word_the_built_in_defaults_hold(database: Database) -> None:
    enqueue(database.session, new())
    assert database.rows(FIELDS) == [("default", 0, 1, [])]


def test_the_callers_code_speaks_for_a_task_that_nobody_published(database: Database) -> None:
    jobs.insert(database.session, [new()], CODE)
    assert database.rows(FIELDS) == [("code", 3, 3, ["code"])]


def test_the_published_task_goes_before_the_callers_code(database: Database) -> None:
    publish(database, queue="row", priority=2, max_attempts=2, labels=["row"])
    jobs.insert(database.session, [new()], CODE)
    assert database.rows(FIELDS) == [("row", 2, 2, ["row"])]


def test_the_call_goes_before_everything(database: Database) -> None:
    publish(database, queue="row", priority=2, max_attempts=2, labels=["row"])
    jobs.insert(database.session, [new(queue="call", priority=1, max_attempts=7, labels='["call"]')], CODE)
    assert database.rows(FIELDS) == [("call", 1, 7, ["call"])]


def test_no_labels_differ_from_labels_not_given(database: Database) -> None:
    jobs.insert(database.session, [new(labels="[]"), new(labels='["b", "a"]'), new()], CODE)
    assert database.rows("SELECT labels FROM pqclock.job ORDER BY id") == [([],), (["b", "a"],), (["code"],)]


@pytest.mark.parametrize(
    ("options", "state", "run_at"),
    [
        ({}, "ready", NOW),
        ({"run_at": NOW + HOUR}, "scheduled", NOW + HOUR),
        ({"run_at": NOW - HOUR}, "ready", NOW),
        ({"run_at": NOW}, "ready", NOW),
        ({"delay": MINUTE}, "scheduled", NOW + MINUTE),
        ({"delay": timedelta()}, "ready", NOW),
    ],
)
def test_a_job_waits_for_its_time(database: Database, options: dict[str, Any], state: str, run_at: datetime) -> None:
    ((job_id, first_state),) = jobs.insert(database.session, [new(**options)], now=NOW)
    assert first_state == state
    assert database.rows("SELECT id, run_at, ready_seq IS NULL FROM pqclock.job") == [
        (job_id, run_at, state == "scheduled")
    ]


def test_a_thousand_ids_come_in_input_order(database: Database) -> None:
    ids = enqueue(database.session, *(new(args=json.dumps({"n": n})) for n in range(1000)))
    assert ids == sorted(set(ids))
    rows = database.rows("SELECT id, (args ->> 'n')::int FROM pqclock.job ORDER BY ready_seq")
    assert rows == list(zip(ids, range(1000), strict=True))


def test_nothing_is_inserted_when_one_job_is_refused(database: Database) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="args_are_an_object"):
        enqueue(database.session, new(), new(args="[]"))
    assert database.value("SELECT count(*) FROM pqclock.job") == 0


def test_sql_has_the_same_verb_with_named_arguments(database: Database) -> None:
    job_id = database.value(
        """SELECT pqclock.enqueue('mail', '{"to": "a"}', queue => 'mice', run_at => %s, priority => 4,
                                  labels => ARRAY['x'], max_attempts => 2)""",
        NOW + 10_000 * DAY,
    )
    rows = database.rows("SELECT id, args, run_at, state::text, task FROM pqclock.job")
    assert rows == [(job_id, {"to": "a"}, NOW + 10_000 * DAY, "scheduled", "mail")]
    assert database.rows(FIELDS) == [("mice", 4, 2, ["x"])]


def test_sql_takes_the_published_defaults(database: Database) -> None:
    publish(database, queue="row", labels=["row"])
    database.value("SELECT pqclock.enqueue('mail')")
    database.value("SELECT pqclock.enqueue('mail', delay => '1 hour', labels => '{}')")
    assert database.rows("SELECT queue, labels, state::text FROM pqclock.job ORDER BY id") == [
        ("row", ["row"], "ready"),
        ("row", [], "scheduled"),
    ]


def test_hostile_texts_stay_texts(database: Database) -> None:
    hostile = "'; DROP TABLE pqclock.job; --{schema}%(now)s"
    enqueue(database.session, new(args=json.dumps({hostile: hostile}), labels=json.dumps([hostile])))
    assert database.rows("SELECT args, labels FROM pqclock.job") == [({hostile: hostile}, [hostile])]


@pytest.mark.parametrize(
    ("arguments", "constraint"),
    [
        ("'t', queue => repeat('q', 101)", "queue_is_a_name"),
        ("'t', queue => E'two\nlines'", "queue_is_a_name"),
        ("repeat('t', 201)", "task name"),
        ("'two words'", "task name 'two words' cannot be used"),
        ("'t', run_at => 'infinity'", "run_at_is_in_the_calendar"),
        ("'t', run_at => '10000-01-01'", "run_at_is_in_the_calendar"),
        ("'t', '[]'", "args_are_an_object"),
        ("'t', jsonb_build_object('x', repeat(md5('x'), 9000))", "args_are_not_too_large"),
    ],
)
def test_what_the_clock_and_the_workers_could_not_carry_stays_out(
    database: Database, arguments: str, constraint: str
) -> None:
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.InvalidParameterValue), match=constraint):
        database.session.conn.execute(f"SELECT pqclock.enqueue({arguments})".encode())
