"""Jobs behind gates: who gets out, when, and what waits."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pqclock.store import gating, jobs
from store.gated import claim, end, enqueue_gated, fuse, throttle
from store.samples import MINUTE, NOW, SECOND, enqueue, new

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


def test_a_job_of_several_units_takes_them_at_once_and_its_turn_is_kept(database: Database) -> None:
    throttle(database.session, "quota", rate=10, per="10 seconds", burst=3)
    enqueue_gated(database.session, "throttle:quota", count=3, units=3, task="large")
    enqueue_gated(database.session, "throttle:quota", count=30)
    granted: list[tuple[str, float]] = []
    for tenth in range(0, 400):
        now = NOW + tenth * SECOND / 10
        found = claim(database.session, now=now, tasks=("mail", "large"))
        granted += [(job.task, tenth / 10) for job in found.jobs]
    assert [task for task, _ in granted].count("large") == 3
    units = [at for task, at in granted for _ in range(3 if task == "large" else 1)]
    assert max(sum(1 for at in units if start <= at < start + 10) for start in units) <= 10
    assert [at for task, at in granted if task == "large"][-1] < 30


def test_a_rule_that_nobody_declared_closes_its_gates_and_a_removed_one_opens_them(database: Database) -> None:
    enqueue_gated(database.session, "throttle:unknown")
    assert claim(database.session).jobs == []
    throttle(database.session, "unknown", concurrency=1)
    database.session.conn.execute("UPDATE pqclock.gate SET opens_at = %s", [NOW])
    assert len(claim(database.session).jobs) == 1
    enqueue_gated(database.session, "throttle:unknown", count=3)
    assert claim(database.session).jobs == []
    database.session.conn.execute("UPDATE pqclock.rule SET state = 'removed'")
    database.session.conn.execute("UPDATE pqclock.gate SET opens_at = %s", [NOW])
    assert len(claim(database.session).jobs) == 3


def test_free_jobs_and_gated_ones_of_the_same_priority_share_the_room(database: Database) -> None:
    throttle(database.session, "all", concurrency=100)
    enqueue(database.session, *[new() for _ in range(50)])
    enqueue_gated(database.session, "throttle:all", count=50)
    assert len(claim(database.session, room=10).jobs) == 5
    assert len(claim(database.session, room=1, odd=True).jobs) == 1
    assert claim(database.session, room=1, odd=False).jobs == []
    enqueue_gated(database.session, "throttle:all", count=4, task="urgent", priority=-1)
    assert len(claim(database.session, room=3, tasks=("mail", "urgent")).jobs) == 3
    enqueue(database.session, *[new(priority=-5) for _ in range(50)])
    assert claim(database.session, room=10).jobs == []


def test_a_better_head_brings_its_lane_forward(database: Database) -> None:
    throttle(database.session, "all", concurrency=100)
    for key in "ab":
        enqueue_gated(database.session, f"throttle:all:{key}", count=5)
    claim(database.session, room=2)
    enqueue_gated(database.session, "throttle:all:b", priority=-1)
    (first,) = claim(database.session, room=1).jobs
    assert first.priority == -1


def test_a_closed_gate_is_written_once_for_each_lane_and_no_job_behind_it_is(database: Database) -> None:
    throttle(database.session, "all", concurrency=1)
    enqueue_gated(database.session, "throttle:all", count=1000)
    assert len(claim(database.session).jobs) == 1
    before = database.rows("SELECT ctid, xmin, xmax FROM pqclock.job WHERE state = 'ready' ORDER BY id")
    places = database.rows("SELECT ctid, xmin FROM pqclock.lane UNION ALL SELECT ctid, xmin FROM pqclock.gate")
    for _ in range(20):
        assert claim(database.session).jobs == []
    assert database.rows("SELECT ctid, xmin, xmax FROM pqclock.job WHERE state = 'ready' ORDER BY id") == before
    assert database.rows("SELECT ctid, xmin FROM pqclock.lane UNION ALL SELECT ctid, xmin FROM pqclock.gate") == places


def test_what_is_paused_stays_where_it_is(database: Database) -> None:
    throttle(database.session, "all", concurrency=100)
    enqueue_gated(database.session, "throttle:all", queue="q1")
    database.session.conn.execute("INSERT INTO pqclock.queue (name, paused_until) VALUES ('q1', 'infinity')")
    assert claim(database.session).jobs == []
    assert claim(database.session, pool="q1:5").jobs == []
    database.session.conn.execute("DELETE FROM pqclock.queue")
    database.session.conn.execute("INSERT INTO pqclock.pause VALUES ('label', 'slow', NULL, NULL, %s)", [NOW])
    enqueue_gated(database.session, "throttle:all", labels=["slow"])
    enqueue_gated(database.session, "pause:label:slow", labels=["slow"])
    assert len(claim(database.session).jobs) == 1
    database.session.conn.execute("UPDATE pqclock.pause SET paused_until = %s", [NOW + SECOND])
    database.session.conn.execute("UPDATE pqclock.gate SET opens_at = %s WHERE kind = 'pause'", [NOW])
    claim(database.session)
    assert gating.rouse(database.session) == 1
    assert len(claim(database.session, now=NOW + SECOND).jobs) == 2


def test_a_cooldown_closes_the_gates_of_its_key_for_everybody(database: Database) -> None:
    throttle(database.session, "stripe", concurrency=5)
    fuse(database.session, "stripe")
    for key in ("a", "b"):
        enqueue_gated(database.session, f"throttle:stripe:{key}", f"fuse:stripe:{key}", count=5)
    (job,) = claim(database.session, room=1).jobs
    assert end(database.session, job, "snoozed", NOW, state="scheduled", delay=60.0, cools="stripe:a", cools_for=60.0)
    found = claim(database.session)
    assert len(found.jobs) == 5
    assert found.wakes == [NOW + MINUTE]
    assert database.value("SELECT count(*) FROM pqclock.gate WHERE closed_until = %s", NOW + MINUTE) == 2
    assert database.rows("SELECT passed, epoch, blown_until FROM pqclock.gate WHERE name = 'fuse:stripe:a'") == [
        (0, 0, None)
    ]
    assert len(claim(database.session, now=NOW + MINUTE).jobs) == 4


def test_a_run_that_has_lost_its_lease_frees_nobody_elses_place(database: Database) -> None:
    throttle(database.session, "one", concurrency=1)
    enqueue_gated(database.session, "throttle:one", count=3)
    (lost,) = claim(database.session, worker_id=77, lease=1).jobs
    assert jobs.rescue(database.session, 10, NOW) == [(lost.id, "ready")]
    assert len(claim(database.session, lease=2).jobs) == 1
    assert not end(database.session, lost, "succeeded", NOW)
    assert database.value("SELECT count(*) FROM pqclock.slot") == 1
    assert claim(database.session, lease=3).jobs == []


def test_a_place_whose_run_is_gone_without_a_word_is_freed(database: Database) -> None:
    throttle(database.session, "one", concurrency=1)
    enqueue_gated(database.session, "throttle:one", count=3)
    (gone,) = claim(database.session).jobs
    assert claim(database.session).jobs == []
    database.session.conn.execute("DELETE FROM pqclock.job WHERE id = %s", [gone.id])
    gating.tidy(database.session, 100)
    assert len(claim(database.session, now=None).jobs) == 1


def test_lanes_of_tasks_that_nobody_works_hold_up_nobody(database: Database) -> None:
    throttle(database.session, "one", concurrency=1)
    enqueue_gated(database.session, "throttle:one", count=2, task="orphaned")
    enqueue_gated(database.session, "throttle:one", count=2)
    tasks = ("mail", "orphaned")
    (first,) = claim(database.session, room=1, tasks=tasks).jobs
    claim(database.session, tasks=tasks)
    end(database.session, first, "succeeded", NOW)
    assert len(claim(database.session).jobs) == 1


def test_many_claims_at_once_grant_no_more_than_the_rules_allow(database: Database) -> None:
    throttle(database.session, "rate", rate=100, per="1 second")
    throttle(database.session, "place", concurrency=3)
    for key in "abcd":
        enqueue_gated(database.session, "throttle:rate", f"throttle:place:{key}", count=200)
    grants: list[tuple[datetime, int]] = []

    def work(number: int) -> None:
        session = database.connect()
        until, turn = time.monotonic() + 2.5, 0
        while time.monotonic() < until:
            turn += 1
            found = claim(session, room=4, now=None, lease=number * 100_000 + turn)
            grants.extend((job.claimed_at, job.id) for job in found.jobs)
            running = session.conn.execute(
                "SELECT max(n) FROM (SELECT count(*) AS n FROM pqclock.slot GROUP BY gate_id) AS s"
            ).fetchone()
            assert running is not None and (running[0] or 0) <= 3
            for job in found.jobs:
                assert end(session, job, "succeeded", job.claimed_at)
        session.close()

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(work, number) for number in range(6)]:
            done.result()
    instants = sorted(at for at, _ in grants)
    assert len({job_id for _, job_id in grants}) == len(grants) > 100
    for first, last in zip(instants, instants[100:], strict=False):
        assert last - first >= SECOND


def test_more_units_than_the_rate_never_start_and_hold_up_nobody(database: Database) -> None:
    throttle(database.session, "quota", rate=5, per="1 second")
    enqueue_gated(database.session, "throttle:quota", units=6, task="large", priority=-1)
    enqueue_gated(database.session, "throttle:quota", count=3)
    started = [
        job.task
        for n in range(20)
        for job in claim(database.session, now=NOW + n * MINUTE, tasks=("mail", "large")).jobs
    ]
    assert started == ["mail"] * 3


def test_lanes_of_a_paused_task_are_parked_on_its_pause(database: Database) -> None:
    enqueue_gated(database.session, "pause:task:mail", count=3)
    database.session.conn.execute(
        "INSERT INTO pqclock.pause VALUES ('task', 'mail', %s, NULL, %s)", [NOW + SECOND, NOW]
    )
    assert claim(database.session).wakes == [NOW + SECOND]
    assert database.value("SELECT count(*) FROM pqclock.lane WHERE gate_id IS NOT NULL") == 1
    assert len(claim(database.session, now=NOW + SECOND).jobs) == 3
