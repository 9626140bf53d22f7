"""Jobs behind gates: who gets out, when, and what waits."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from store.gated import claim, end, enqueue_gated, fuse, throttle
from store.samples import MINUTE, NOW, SECOND

if TYPE_CHECKING:
    from conftest import Database

MILLISECOND = timedelta(milliseconds=1)


def rows(database: Database, text: str) -> list[tuple[Any, ...]]:
    return database.session.conn.execute(text.encode()).fetchall()


def test_a_rate_lets_its_burst_through_and_then_one_at_each_interval(database: Database) -> None:
    throttle(database.session, "stripe", rate=25, per="1 second")
    enqueue_gated(database.session, "throttle:stripe:acct_1", count=50)
    first = claim(database.session)
    assert len(first.jobs) == 2
    (opens_at,) = first.wakes
    assert NOW < opens_at < NOW + 42 * MILLISECOND
    assert claim(database.session, now=opens_at - timedelta(microseconds=1)).jobs == []
    assert len(claim(database.session, now=opens_at).jobs) == 1


def test_concurrency_counts_what_runs_and_a_finish_frees_the_place(database: Database) -> None:
    throttle(database.session, "db", concurrency=2)
    enqueue_gated(database.session, "throttle:db", count=5)
    first = claim(database.session)
    assert len(first.jobs) == 2
    assert claim(database.session).jobs == []
    assert end(database.session, first.jobs[0], "succeeded", NOW)
    assert len(claim(database.session).jobs) == 1
    assert rows(database, "SELECT count(*) FROM pqclock.slot") == [(2,)]


def test_a_fuse_blows_probes_and_heals(database: Database) -> None:
    fuse(database.session, "api")
    enqueue_gated(database.session, "fuse:api", count=20)
    running = claim(database.session, room=5).jobs
    for job in running[:3]:
        assert end(database.session, job, "failed", NOW, "ConnectionError", "OSError", state="ready")
    blown = claim(database.session)
    assert blown.jobs == []
    assert blown.wakes == [NOW + 5 * MINUTE]
    assert end(database.session, running[3], "succeeded", NOW)  # granted before the trip: it counts for nothing
    assert claim(database.session, now=NOW + 5 * MINUTE - MILLISECOND).jobs == []
    (probe,) = claim(database.session, now=NOW + 5 * MINUTE).jobs
    assert claim(database.session, now=NOW + 6 * MINUTE).jobs == []
    assert end(database.session, probe, "failed", NOW + 6 * MINUTE, "OSError", state="ready")
    assert claim(database.session, now=NOW + 15 * MINUTE).jobs == []
    (probe,) = claim(database.session, now=NOW + 16 * MINUTE).jobs
    assert end(database.session, probe, "succeeded", NOW + 16 * MINUTE)
    assert len(claim(database.session, now=NOW + 16 * MINUTE).jobs) == 17


def test_lanes_of_equal_priority_are_served_in_turn(database: Database) -> None:
    throttle(database.session, "free", concurrency=100)
    for key, count in (("a", 50), ("b", 3), ("c", 3)):
        enqueue_gated(database.session, f"throttle:free:{key}", count=count)
    first, second, third = (claim(database.session, room=1).jobs[0] for _ in range(3))
    gates = dict[int, str](rows(database, "SELECT id, gates[1] FROM pqclock.job WHERE state = 'running'"))
    assert {gates[first.id], gates[second.id], gates[third.id]} == {f"throttle:free:{key}" for key in "abc"}


def test_five_gates_three_of_them_closed(database: Database) -> None:
    for name in "abcde":
        throttle(database.session, name, concurrency=5)
    for number, name in enumerate("ace"):
        enqueue_gated(database.session, f"throttle:{name}")
        assert len(claim(database.session).jobs) == 1
        database.session.conn.execute(
            "UPDATE pqclock.gate SET closed_until = %s WHERE name = %s",
            [NOW + (number + 1) * SECOND, f"throttle:{name}"],
        )
    enqueue_gated(database.session, *(f"throttle:{name}" for name in "abcde"))
    closed = claim(database.session)
    assert closed.jobs == []
    assert closed.wakes == [NOW + 3 * SECOND]
    assert rows(database, "SELECT count(*) FROM pqclock.lane WHERE gate_id IS NOT NULL") == [(1,)]
    assert claim(database.session, now=NOW + 2.5 * SECOND).jobs == []
    assert len(claim(database.session, now=NOW + 3 * SECOND).jobs) == 1
    assert claim(database.session, now=NOW + 3 * SECOND).jobs == []
