"""Jobs that pass gates on their way in: their names, their lanes, and who hears of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pqclock.errors import ArgumentError
from pqclock.store import jobs
from pqclock.store.jobs import NewJob
from store.gated import claim, throttle
from store.samples import HOUR, MINUTE, NOW, SECOND

if TYPE_CHECKING:
    from conftest import Database

ARRIVALS = "SELECT queue, gates, units, priority FROM pqclock.arrival ORDER BY id"


def new(args: dict[str, object] | None = None, *, unique: dict[str, object] | None = None, **said: Any) -> NewJob:
    more = {n: said.pop(n) for n in ("run_at", "queue", "priority", "labels") if n in said}
    options = {**said, **({"unique": unique} if unique else {})}
    return NewJob("mail", json.dumps(args or {}), options=json.dumps(options), **more)


def enter(database: Database, *wanted: NewJob, now: Any = NOW) -> list[int]:
    return [job.id for job in jobs.enter(database.session, wanted, now=now)]


def test_gates_are_sorted_and_distinct_and_make_the_lane(database: Database) -> None:
    enter(database, new({"a": "x"}, throttle=["b:{a}", "a", "b:x"], fuse=["a"], units=2))
    assert database.rows("SELECT gates, units FROM pqclock.job") == [(["fuse:a", "throttle:a", "throttle:b:x"], 2)]
    assert database.rows(ARRIVALS) == [("default", ["fuse:a", "throttle:a", "throttle:b:x"], 2, 0)]
    assert database.value("SELECT count(*) FROM pqclock.job JOIN pqclock.arrival USING (lane)") == 1
    text = "default\nmail\n2\nfuse:a\nthrottle:a\nthrottle:b:x"
    assert database.value("SELECT lane = md5(%s)::uuid FROM pqclock.job", text) is True


def test_many_jobs_of_a_lane_arrive_as_one_with_the_best_priority(database: Database) -> None:
    enter(database, *(new({"n": n % 5}, throttle=["x:{n}"], priority=n) for n in range(100)))
    assert database.rows("SELECT gates[1], priority::int FROM pqclock.arrival ORDER BY 1") == [
        (f"throttle:x:{n}", n) for n in range(5)
    ]


def test_who_claims_gated_jobs_hears_of_them_and_nobody_else(database: Database) -> None:
    listener = database.connect()
    listener.conn.execute("LISTEN pqclock")
    enter(database, new(throttle=["x"], queue="a"), new(queue="b"), new(throttle=["x"], queue="c", run_at=NOW + HOUR))
    enter(database, new(throttle=["x"], queue="d", run_at=NOW + SECOND))
    heard = sorted(notice.payload for notice in listener.conn.notifies(timeout=0.5))
    assert heard == ["clock", "gated a", "ready b"]
    listener.close()


def test_promoted_jobs_arrive_too(database: Database) -> None:
    throttle(database.session, "x", concurrency=1)
    enter(database, *(new(throttle=["x"], run_at=NOW + MINUTE, priority=n) for n in (5, 3)))
    assert database.rows(ARRIVALS) == []
    listener = database.connect()
    listener.conn.execute("LISTEN pqclock")
    assert jobs.promote(database.session, 10, NOW + MINUTE).promoted == 2
    assert [notice.payload for notice in listener.conn.notifies(timeout=0.5)] == ["gated default"]
    listener.close()
    assert database.rows(ARRIVALS) == [("default", ["throttle:x"], 1, 3)]
    assert [job.priority for job in claim(database.session, now=NOW + MINUTE).jobs] == [3]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "throttle 'x:{a}' is filled to a key that is empty: pass a value that is not"),
        (None, "throttle 'x:{a}' needs the argument 'a', which is null: pass a value"),
        ("a\nthrottle:y", "throttle 'x:{a}' is filled with a control character"),
        ("é" * 256, "throttle 'x:{a}' is filled with 514 bytes, and 512 are the limit"),
    ],
)
def test_what_cannot_be_the_name_of_a_gate_is_refused(database: Database, value: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^task 'mail': {message}"):
        enter(database, new({"a": value}, throttle=["x:{a}"]))


def test_a_job_that_comes_while_its_task_or_label_is_paused_waits_for_that(database: Database) -> None:
    database.session.conn.execute(
        """INSERT INTO pqclock.pause (kind, name, paused_until, paused_at)
           VALUES ('task', 'mail', %(later)s, %(now)s), ('label', 'finance', NULL, %(now)s),
                  ('label', 'old', %(now)s, %(now)s)""",
        {"later": NOW + HOUR, "now": NOW},
    )
    jobs.insert(database.session, [NewJob("mail", "{}", labels='["finance", "old"]'), NewJob("other", "{}")], now=NOW)
    enter(database, new(throttle=["x"]), now=NOW + 2 * HOUR)
    assert database.rows("SELECT gates FROM pqclock.job ORDER BY id") == [
        (["pause:label:finance", "pause:task:mail"],),
        (None,),
        (["throttle:x"],),
    ]


def test_a_replaced_job_passes_the_gates_of_its_new_arguments(database: Database) -> None:
    terms: dict[str, object] = {"key": "k", "on_conflict": "replace"}
    enter(database, new({"a": 1}, unique=terms, throttle=["x:{a}"]))
    database.session.conn.execute("DELETE FROM pqclock.arrival")
    enter(database, new({"a": 2}, unique=terms, throttle=["x:{a}"], priority=4))
    assert database.rows("SELECT gates, lane = pqclock.lane_of(queue, task, gates, units) FROM pqclock.job") == [
        (["throttle:x:2"], True)
    ]
    assert database.rows(ARRIVALS) == [("default", ["throttle:x:2"], 1, 4)]
    enter(database, new({"a": 3}, unique={**terms, "replace": ["queue"]}, throttle=["x:{a}"], queue="mice"))
    assert database.rows(
        "SELECT gates, queue, lane = pqclock.lane_of('mice', task, gates, units) FROM pqclock.job"
    ) == [(["throttle:x:2"], "mice", True)]
    enter(database, new({"a": 3}, unique=terms, run_at=NOW + HOUR))
    assert database.rows("SELECT state::text, gates, units, lane FROM pqclock.job") == [("scheduled", None, None, None)]
