"""The engine of gates where it is hard: what is lost, far away, in other hands, or in the way of others."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pqclock.clock import caretaker
from pqclock.errors import UniqueConflict
from pqclock.rules.job import Outcome
from pqclock.rules.pools import parse_pools
from pqclock.rules.rule import Rule
from pqclock.store import finishing, gates, gating, jobs, listings, pauses, rules
from pqclock.store.database import Session
from pqclock.store.jobs import NewJob
from processes.fleet import eventually
from store.gated import claim, end, enqueue_gated, throttle
from store.samples import NOW

if TYPE_CHECKING:
    from conftest import Database

FAR = datetime(2300, 1, 1, tzinfo=UTC)
REPLACING = '{"throttle": ["two"], "unique": {"key": "k", "on_conflict": "replace"}}'
BLOCKED = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"""
DOUBLED = "SELECT unique_key FROM pqclock.job WHERE unique_key IS NOT NULL GROUP BY 1 HAVING count(*) > 1"
LANES = """
INSERT INTO pqclock.lane (lane, queue, task, gates, units, priority, turn)
SELECT gen_random_uuid(), 'default', 'unworked', ARRAY['throttle:k:' || i], 1, 0, nextval('pqclock.lane_turn')
FROM generate_series(1, 20000) AS i"""


@contextmanager
def sessions(database: Database, count: int) -> Iterator[list[Session]]:
    made = [database.connect() for _ in range(count)]
    yield made
    for one in made:
        one.close()


def begun(errors: list[str], work: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        except Exception as error:
            errors.append(repr(error))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def left(database: Database) -> int:
    return len(database.rows("SELECT FROM pqclock.gate"))


def blocked(database: Database, count: int) -> None:
    eventually(lambda: database.value(BLOCKED) == count)


def test_strays_leave_their_places(database: Database) -> None:
    throttle(database.session, "two", concurrency=1)
    enqueue_gated(database.session, "throttle:two")
    (job,) = claim(database.session, now=None, lease=5, worker_id=1).jobs
    assert jobs.give_back(database.session, 1, [(job.id, 5)]) == []
    assert jobs.give_back(database.session, 1, []) == [job.id]
    assert database.value("SELECT count(*) FROM pqclock.slot") == 0
    assert [j.id for j in claim(database.session, now=None, lease=6, worker_id=2).jobs] == [job.id]


def test_a_place_that_was_left_behind_is_in_nobodys_way_for_long(database: Database) -> None:
    throttle(database.session, "two", concurrency=2)
    enqueue_gated(database.session, "throttle:two")
    claim(database.session, room=1, now=None, tasks=["none"])
    enqueue_gated(database.session, "throttle:two", args='{"n": 1}')
    (first,) = claim(database.session, room=1, now=None, lease=5).jobs
    database.session.conn.execute("UPDATE pqclock.slot SET lease = 99, job_id = job_id + 1")
    assert len(claim(database.session, now=None, lease=6).jobs) == 1
    assert database.rows("SELECT job_id, lease FROM pqclock.slot") == [(first.id + 1, 6)]


@pytest.mark.parametrize("until", [FAR, datetime(9999, 12, 31, tzinfo=UTC), timedelta.max])
def test_what_closes_for_centuries_keeps_nobody_else(database: Database, until: datetime | timedelta) -> None:
    throttle(database.session, "two", concurrency=2)
    enqueue_gated(database.session, "throttle:two")
    enqueue_gated(database.session, "throttle:two:other")
    gates.cool(database.session, "two", until)
    pauses.pause(database.session, "task", "paused", until)
    jobs.insert(database.session, [NewJob("paused", "{}")])
    assert len(claim(database.session, now=None, tasks=["mail", "paused"]).jobs) == 1
    assert database.value("SELECT closed_until = 'infinity' FROM pqclock.gate WHERE closed_until > now()") is (
        until != FAR
    )
    gates.reset(database.session, "two")
    assert len(claim(database.session, now=None, tasks=["mail", "paused"]).jobs) == 1


def test_a_gate_that_has_just_given_a_place_is_not_forgotten(database: Database) -> None:
    throttle(database.session, "one", concurrency=1)
    enqueue_gated(database.session, "throttle:one")
    (first,) = claim(database.session, now=None).jobs
    assert end(database.session, first, "succeeded", NOW)
    enqueue_gated(database.session, "throttle:one", count=2)
    with sessions(database, 1) as (other,):
        with database.session.transaction():
            assert len(claim(database.session, now=None, lease=2).jobs) == 1
            assert gating.forget_gates(other, 1000) == 0
        assert gating.forget_gates(other, 1000) == 0
        assert claim(other, now=None, lease=3).jobs == []


def test_gates_that_were_closed_by_hand_are_forgotten_and_open_when_they_are_reset(database: Database) -> None:
    throttle(database.session, "two", concurrency=2)
    gates.cool(database.session, "two:k", timedelta(hours=1))
    gates.reset(database.session, "two:k")
    with listings.reading(database.session):
        (row,) = gates.named(database.session, ["throttle:two:k"])
    assert (row.state, row.opens_at) == ("open", None)
    for number in range(20):
        gates.cool(database.session, f"two:{number}", timedelta(milliseconds=1))
    eventually(lambda: gating.forget_gates(database.session, 1000) + left(database) == 0)


def test_lanes_whose_jobs_cannot_be_taken_rest_and_hide_nobody(database: Database) -> None:
    throttle(database.session, "two", concurrency=100)
    for number in range(30):
        enqueue_gated(database.session, f"throttle:two:{number}", priority=-1)
    database.session.conn.execute("UPDATE pqclock.job SET expires_at = now()")
    enqueue_gated(database.session, "throttle:two:good")
    looks, found = 0, []
    while (claimed := claim(database.session, room=3, now=None)) and (claimed.again or claimed.jobs):
        found += claimed.jobs
        looks += 1
    assert len(found) == 1 and looks < 12
    turns = database.value("SELECT last_value FROM pqclock.lane_turn")
    assert not claim(database.session, now=None).again
    assert database.value("SELECT last_value FROM pqclock.lane_turn") == turns
    enqueue_gated(database.session, "throttle:two:5")
    assert len(claim(database.session, now=None).jobs) == 1
    assert gating.rouse(database.session) >= 29
    jobs.expire(database.session, 100)
    claim(database.session, now=None)
    assert database.value("SELECT count(*) FROM pqclock.lane") == 0


def test_what_a_transaction_holds_is_not_looked_at_without_end(database: Database) -> None:
    throttle(database.session, "two", concurrency=2)
    jobs.insert(database.session, [NewJob("mail", "{}", options=REPLACING)])
    with sessions(database, 1) as (other,):
        with other.transaction():
            jobs.insert(other, [NewJob("mail", '{"a": 1}', options=REPLACING)])
            assert [claim(database.session, now=None).again for _ in range(3)][-1] is False
        assert len(claim(database.session, now=None).jobs) == 1


def test_a_claim_passes_by_the_lanes_in_other_hands(database: Database) -> None:
    throttle(database.session, "k", concurrency=1)
    for number in range(25):
        enqueue_gated(database.session, f"throttle:k:{number}")
    claim(database.session, room=100, now=None, tasks=["none"])
    with sessions(database, 2) as (other, third), other.transaction(), third.transaction():
        assert len(claim(other, room=10, now=None).jobs) == 10
        assert len(claim(database.session, room=5, now=None, lease=2).jobs) == 5
        claim(third, room=10, now=None, lease=3)
        met = claim(database.session, room=10, now=None, lease=4)
        assert met.jobs == [] and min(met.wakes_in) < 0.1


def test_gates_of_other_tasks_hide_nobody(database: Database) -> None:
    throttle(database.session, "slow", rate=1, per="1 hour")
    for number in range(120):
        enqueue_gated(database.session, f"throttle:slow:{number}", count=2, task="unworked")
    claim(database.session, room=1000, tasks=["unworked"], now=None)
    enqueue_gated(database.session, "throttle:slow:mine", count=2)
    claim(database.session, now=None)
    database.session.conn.execute(
        "UPDATE pqclock.gate SET tat_ns = 0, opens_at = now() - CASE WHEN key <> 'mine' THEN interval '1 min' ELSE '0' END"
    )
    assert len(claim(database.session, now=None).jobs) == 1
    gating.tidy(database.session, 100)
    assert database.value("SELECT count(*) FROM pqclock.gate WHERE opens_at < now() - interval '5 s'") == 0


def test_open_lanes_of_other_tasks_cost_nothing(database: Database) -> None:
    def cost() -> float:
        costs = []
        for _ in range(15):
            begin = time.monotonic()
            claim(database.session, now=None)
            costs.append(time.monotonic() - begin)
        return min(costs)

    before = cost()
    database.session.conn.execute(LANES)
    database.session.conn.execute("ANALYZE pqclock.lane")
    assert cost() < 3 * before + 0.001


def test_free_jobs_that_are_expired_keep_nobody_out(database: Database) -> None:
    throttle(database.session, "wide", concurrency=100)
    jobs.insert(database.session, [NewJob("mail", "{}", priority=-1)] * 5)
    database.session.conn.execute("UPDATE pqclock.job SET expires_at = now()")
    enqueue_gated(database.session, "throttle:wide", count=3)
    assert len(claim(database.session, room=2, now=None).jobs) == 2


def test_what_is_left_to_free_jobs_is_told_and_turns_only_when_it_decides(database: Database) -> None:
    throttle(database.session, "wide", concurrency=100)
    jobs.insert(database.session, [NewJob("mail", "{}")] * 10)
    enqueue_gated(database.session, "throttle:wide", count=10)
    told = []
    for room, odd in ((1, False), (1, True), (4, True), (3, False)):
        found = claim(database.session, room=room, now=None, odd=odd, lease=room)
        told.append((len(found.jobs), found.cut, found.turned))
    assert told == [(0, True, True), (1, False, True), (2, True, False), (1, True, True)]


def test_a_lane_that_could_not_run_with_all_the_units_reserves_none(database: Database) -> None:
    throttle(database.session, "x", rate=10, per="10 hours", burst=1)
    enqueue_gated(database.session, "throttle:x")
    assert len(claim(database.session, now=None).jobs) == 1
    database.session.conn.execute("UPDATE pqclock.gate SET tat_ns = pqclock.to_ns(clock_timestamp())")
    enqueue_gated(database.session, "throttle:x", "throttle:undeclared", units=5)
    claim(database.session, now=None)
    enqueue_gated(database.session, "throttle:x", args='{"a": 1}')
    assert len(claim(database.session, now=None).jobs) == 1


@pytest.mark.parametrize("between", ["rate", "removed"])
def test_what_ran_before_a_rule_had_places_has_them(database: Database, between: str) -> None:
    fields = {"rate": "1000/1s", "burst": 100}
    first = Rule("throttle", "x", fields if between == "rate" else {"concurrency": 5})
    rules.put(database.session, [first])
    if between == "removed":
        rules.remove(database.session, "throttle.x")
    enqueue_gated(database.session, "throttle:x:k", count=10)
    found = claim(database.session, room=5, now=None).jobs
    assert len(found) == 5
    rules.put(database.session, [Rule("throttle", "x", {**fields, "concurrency": 5})])
    assert claim(database.session, now=None, lease=2).jobs == []
    assert end(database.session, found[0], "succeeded", NOW)
    assert len(claim(database.session, now=None, lease=3).jobs) == 1


def test_a_cooldown_and_a_claim_meet_a_new_key(database: Database) -> None:
    throttle(database.session, "x", concurrency=5)
    throttle(database.session, "stripe", concurrency=5)
    enqueue_gated(database.session, "throttle:x")
    (job,) = claim(database.session, now=None).jobs
    enqueue_gated(database.session, "throttle:stripe:new", "throttle:x")
    out = Outcome(
        job.id,
        job.lease,
        "scheduled",
        "snoozed",
        gated=True,
        delay=1.0,
        cools="stripe:new",
        cools_for=60.0,
        charged=False,
    )
    errors: list[str] = []
    with sessions(database, 3) as (holder, claimer, finisher):
        with holder.transaction():
            holder.conn.execute("SELECT FROM pqclock.gate WHERE name = 'throttle:x' FOR UPDATE")
            one = begun(errors, lambda: claim(claimer, now=None, lease=2))
            blocked(database, 1)
            two = begun(errors, lambda: finishing.finish(finisher, [out], 1))
            blocked(database, 2)
        one.join(20)
        two.join(20)
    assert errors == []


def test_many_gates_of_a_changed_rule_are_looked_through_in_slices(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "SLICE", 3)
    rules.put(database.session, [Rule("throttle", "k", {"concurrency": 1})])
    for number in range(10):
        enqueue_gated(database.session, f"throttle:k:{number}", count=4)

    def claimed(lease: int) -> int:
        return sum(len(claim(database.session, now=None, lease=lease).jobs) for _ in range(3))

    assert claimed(1) == 10
    rules.put(database.session, [Rule("throttle", "k", {"concurrency": 2})])
    assert claimed(2) == 10
    # Whoever changed it was cut off.
    monkeypatch.setattr(rules, "review", lambda *_: False)
    rules.put(database.session, [Rule("throttle", "k", {"concurrency": 3})])
    monkeypatch.undo()
    monkeypatch.setattr(rules, "SLICE", 3)
    assert claimed(3) == 3
    while rules.review(database.session, slices=1):
        pass
    assert claimed(4) == 7
    database.session.conn.execute("UPDATE pqclock.rule SET reviewed_to = 0")
    while caretaker.tidy(database.session, silent_too=False):
        pass
    assert database.value("SELECT count(*) FROM pqclock.rule WHERE reviewed_to IS NOT NULL") == 0


def test_a_job_that_was_claimed_meanwhile_is_not_kept_locked(database: Database) -> None:
    options = '{"unique": {"key": "k", "on_conflict": "replace"}}'
    jobs.insert(database.session, [NewJob("mail", "{}", options=options)])
    (pool,) = parse_pools("*")
    errors: list[str] = []
    with sessions(database, 2) as (user, finisher), user.transaction():
        with database.session.transaction():
            (job,) = jobs.claim(database.session, pool, ["mail"], 1, worker_id=1, lease=7)
            thread = begun(errors, lambda: jobs.insert(user, [NewJob("mail", '{"a": 1}', options=options)]))
            with sessions(database, 1) as (looker,):
                eventually(lambda: looker.conn.execute(BLOCKED.encode()).fetchone() == (1,))
        thread.join(20)
        finisher.conn.execute("SET lock_timeout = '2s'")
        assert finishing.finish(finisher, [Outcome(job.id, 7, "succeeded", "succeeded")], 1) == {job.id}
    assert errors == []


def test_enqueues_that_want_the_same_keys_end_well(database: Database) -> None:
    throttle(database.session, "two", concurrency=3)
    options = '{"throttle": ["two"], "unique": {"key": "k%s", "on_conflict": "%s"}}'
    over, errors = threading.Event(), list[str]()

    def enqueue(session: Session, chance: random.Random) -> None:
        while not over.is_set():
            some = [
                NewJob(
                    "mail", "{}", options=options % (chance.randrange(5), chance.choice(["skip", "replace", "raise"]))
                )
                for _ in range(chance.randint(1, 4))
            ]
            try:
                jobs.enter(session, some)
            except UniqueConflict:
                continue

    def work(session: Session, chance: random.Random) -> None:
        while not over.is_set():
            for job in claim(session, room=3, now=None, lease=chance.getrandbits(60)).jobs:
                state = chance.choice(["succeeded", "failed", "ready"])
                outcome = "succeeded" if state == "succeeded" else "failed"
                finishing.finish(session, [Outcome(job.id, job.lease, state, outcome, gated=True)], 1)

    with sessions(database, 6) as made:
        threads = [
            begun(errors, partial(enqueue if n < 4 else work, session, random.Random(n)))
            for n, session in enumerate(made)
        ]
        begin = time.monotonic()
        while time.monotonic() < begin + 3:
            assert database.rows(DOUBLED) == []
            assert int(str(database.value("SELECT count(*) FROM pqclock.slot"))) <= 3
        over.set()
        for thread in threads:
            thread.join(20)
    assert errors == []
