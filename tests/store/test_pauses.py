"""Pauses of queues, tasks and labels: what waits is held in slices, and nothing is lost when they end."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pqclock.clock import caretaker
from pqclock.errors import ArgumentError
from pqclock.store import pauses
from store import gated
from store.samples import HOUR, MINUTE, NOW, claim, enqueue, new

if TYPE_CHECKING:
    from conftest import Database

FINANCE = "pause:label:finance"


def some(database: Database, count: int = 1, **options: Any) -> list[int]:
    return enqueue(database.session, *[new(**options) for _ in range(count)])


def held(database: Database, gate: str) -> object:
    return database.value("SELECT count(*) FROM pqclock.job WHERE %s = ANY(gates)", gate)


def both(database: Database, now: Any = None, **more: Any) -> list[int]:
    """What a worker would claim: free jobs and gated ones."""
    free = claim(database.session, now=now, **more)
    found = gated.claim(database.session, now=now, **more).jobs
    return sorted(job.id for job in [*free, *found])


def test_a_paused_label_holds_what_waits_and_what_gets_in_later(database: Database) -> None:
    waiting = some(database, 2, labels='["finance"]')
    others = some(database, labels='["sales"]')
    pauses.pause(database.session, "label", "other")
    later = some(database, labels='["finance", "x"]', run_at=NOW + HOUR * 24 * 365 * 50)
    pauses.pause(database.session, "label", "finance", note="books are closed")
    assert held(database, FINANCE) == 3
    assert both(database) == others
    assert database.rows("SELECT DISTINCT units, lane IS NULL FROM pqclock.job WHERE id = %s", later[0]) == [(1, False)]
    assert pauses.resume(database.session, "label", "finance") is True
    assert pauses.resume(database.session, "label", "finance") is False
    assert both(database) == waiting
    # They keep the gate's name, and the next pause holds them with it.
    some(database, labels='["finance"]')
    pauses.pause(database.session, "label", "finance")
    assert both(database) == []


@pytest.mark.parametrize(("kind", "name"), [("task", "mail"), ("label", "finance")])
def test_a_pause_with_an_end_ends_by_itself(kind: Any, name: str, database: Database) -> None:
    ids = some(database, 3, labels='["finance"]')
    pauses.pause(database.session, kind, name, timedelta(hours=1))
    end: Any = database.value("SELECT paused_until FROM pqclock.pause")
    assert both(database) == both(database, end - timedelta(microseconds=1)) == []
    assert both(database, end) == ids


def test_a_pause_that_is_shortened_is_looked_at_again(database: Database) -> None:
    (job,) = some(database, labels='["finance"]')
    pauses.pause(database.session, "label", "finance")
    assert both(database) == []
    pauses.pause(database.session, "label", "finance", HOUR)
    assert both(database) == []
    end = database.value("SELECT paused_until FROM pqclock.pause")
    assert database.value("SELECT opens_at FROM pqclock.gate") == end
    assert both(database, end) == [job]


@pytest.mark.parametrize(("kind", "name"), [("queue", "mice"), ("task", "mail"), ("label", "finance")])
def test_the_end_of_a_pause_wakes_workers(kind: Any, name: str, database: Database) -> None:
    some(database, queue="mice", labels='["finance"]')
    pauses.pause(database.session, kind, name)
    both(database)
    listener = database.connect()
    listener.conn.execute("LISTEN pqclock")
    pauses.resume(database.session, kind, name)
    heard = {told.payload for told in listener.conn.notifies(timeout=0.2)}
    assert heard & {"gated mice", "ready mice"}
    listener.close()


def test_the_gates_that_jobs_have_are_kept(database: Database) -> None:
    gated.throttle(database.session, "stripe", concurrency=1)
    gated.enqueue_gated(database.session, "throttle:stripe", count=2, units=3)
    pauses.pause(database.session, "task", "mail")
    found = database.rows(
        "SELECT DISTINCT gates, units, lane = pqclock.lane_of(queue, task, gates, units) FROM pqclock.job"
    )
    assert found == [(["pause:task:mail", "throttle:stripe"], 3, True)]
    assert both(database) == []
    pauses.resume(database.session, "task", "mail")
    assert len(both(database)) == 1


def test_what_was_in_other_hands_is_held_by_claims_and_by_the_next_walk(database: Database) -> None:
    (job,) = some(database)
    (run,) = claim(database.session)
    pauses.pause(database.session, "task", "mail")
    assert held(database, "pause:task:mail") == 0
    database.session.conn.execute(
        "UPDATE pqclock.job SET state = 'ready', ready_seq = 9, lease = NULL, worker_id = NULL WHERE id = %s", (run.id,)
    )
    assert both(database) == []
    assert pauses.tidy(database.session) is False
    assert held(database, "pause:task:mail") == 0
    now = database.value("SELECT clock_timestamp() + interval '2 minutes'")
    assert pauses.tidy(database.session, now) is True  # type: ignore[arg-type]
    assert held(database, "pause:task:mail") == 1
    pauses.resume(database.session, "task", "mail")
    assert both(database) == [job]


def test_slices_go_over_all_jobs(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SEEN_AT_ONCE": 7, "HELD_AT_ONCE": 3, "SLICES_AT_ONCE": 2}.items():
        monkeypatch.setattr(pauses, name, value)
    some(database, 40, labels='["finance"]')
    some(database, 20)
    pauses.pause(database.session, "label", "finance")
    assert held(database, FINANCE) == 6
    turns = 1
    while caretaker.tidy(database.session, silent_too=False):
        turns += 1
    assert held(database, FINANCE) == 40
    assert turns < 25
    assert database.rows("SELECT seen_to, walked_at IS NULL FROM pqclock.pause") == [(None, False)]


def test_a_job_that_is_locked_is_passed_over(database: Database) -> None:
    ids = some(database, 3, labels='["finance"]')
    other = database.connect()
    with other.transaction():
        other.conn.execute("SELECT FROM pqclock.job WHERE id = %s FOR UPDATE", (ids[1],))
        pauses.pause(database.session, "label", "finance")
        assert held(database, FINANCE) == 2
    assert both(database) == []
    other.close()


def test_a_paused_queue_holds_free_and_gated_jobs(database: Database) -> None:
    gated.throttle(database.session, "stripe", concurrency=5)
    gated.enqueue_gated(database.session, "throttle:stripe", queue="mice")
    some(database, queue="mice")
    pauses.pause(database.session, "queue", "mice", note="moved")
    for pool in ("*", "mice"):
        assert both(database, pool=pool) == []
    assert database.rows("SELECT queue, paused_until, note FROM (SELECT queue, paused_until = 'infinity' AS paused_until,"
                         " note FROM pqclock.queues) AS q") == [("mice", True, "moved")]  # fmt: skip
    assert pauses.resume(database.session, "queue", "mice") is True
    assert pauses.resume(database.session, "queue", "mice") is False
    assert len(both(database)) == 2


def test_pauses_that_are_over_are_forgotten(database: Database) -> None:
    for kind, name in (("queue", "mice"), ("task", "mail"), ("label", "x")):
        pauses.pause(database.session, kind, name, MINUTE)  # type: ignore[arg-type]
    pauses.pause(database.session, "queue", "whales")
    pauses.tidy(database.session)
    assert database.value("SELECT count(*) FROM pqclock.pause") == 2
    later = database.value("SELECT clock_timestamp() + interval '1 minute'")
    pauses.tidy(database.session, later)  # type: ignore[arg-type]
    assert database.value("SELECT count(*) FROM pqclock.pause") == 0
    assert database.rows("SELECT name FROM pqclock.queue") == [("whales",)]


@pytest.mark.parametrize(
    ("kind", "name", "more", "words"),
    [
        ("queue", "a b", {}, 'is not the name of a queue: use up to 100 of A-Z'),
        ("task", "", {}, "is not the name of a task"),
        ("label", "x" * 65, {}, "is not the name of a label: use up to 64 characters"),
        ("label", "\ud800", {}, "is not the name of a label"),
        ("queue", "mice", {"until": NOW - HOUR * 24 * 365}, "is over already"),
        ("queue", "mice", {"until": NOW.replace(tzinfo=None)}, "add tzinfo"),
        ("queue", "mice", {"note": ""}, "1 to 1,000 characters"),
    ],
)  # fmt: skip
def test_bad_pauses_are_refused(kind: Any, name: str, more: dict[str, Any], words: str, database: Database) -> None:
    with pytest.raises(ArgumentError, match=words):
        pauses.pause(database.session, kind, name, **more)
