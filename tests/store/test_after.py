"""Jobs that wait until others have succeeded: what the database does."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pqclock.errors import ArgumentError
from pqclock.rules.job import Outcome
from pqclock.store import after, finishing, job_verbs, jobs
from pqclock.store.database import Session
from pqclock.store.insertion import insertion
from pqclock.store.job_verbs import VERBS, How
from pqclock.store.jobs import NewJob
from pqclock.store.standing_in import stand_in
from store.samples import MINUTE, NOW, SECOND, a_worker, claim, enqueue, finish, new

if TYPE_CHECKING:
    from conftest import Database

LATER = NOW + MINUTE
ENQUEUE = "SELECT pqclock.enqueue('mail', after => %s::bigint[])"


def waiting_for(*ids: int, **more: Any) -> NewJob:
    options = more.pop("options", {})
    return new(options=json.dumps({"after": list(ids), **options}), **more)


def states(database: Database) -> dict[Any, tuple[Any, Any]]:
    return {i: (s, e) for i, s, e in database.rows("SELECT id, state, error FROM pqclock.jobs")}


def settle(session: Session, now: Any = LATER) -> None:
    """What the leader does, until nothing is left to look at."""
    while after.resolve(session, 1000, now).more:
        pass
    jobs.promote(session, 1000, now)


def end(database: Database, state: str, **more: Any) -> int:
    """Run the first job to this end; gives its id."""
    (job,) = claim(database.session, limit=1)
    assert finish(database.session, job, state, "succeeded" if state == "succeeded" else "failed", **more)
    return job.id


def traces(database: Database) -> object:
    return database.value(
        "SELECT (SELECT count(*) FROM pqclock.job_after) + (SELECT count(*) FROM pqclock.after_note WHERE look_at IS NULL)"
    )


def test_a_job_waits_until_all_have_succeeded(database: Database) -> None:
    a_worker(database.session)
    a, b = enqueue(database.session, new(), new())
    (c,) = enqueue(database.session, waiting_for(a, b))
    settle(database.session)
    assert states(database)[c][0] == "scheduled"
    end(database, "succeeded")
    settle(database.session)
    assert states(database)[c][0] == "scheduled"
    end(database, "succeeded")
    settle(database.session)
    assert states(database)[c][0] == "ready"
    assert traces(database) == 0
    (job,) = claim(database.session, now=LATER)
    assert (job.id, job.run_at) == (c, LATER)


def test_an_end_tells_whoever_leads_only_where_somebody_waits(database: Database) -> None:
    a_worker(database.session)
    (a,) = enqueue(database.session, new())
    (job,) = claim(database.session)
    enqueue(database.session, waiting_for(a))
    enqueue(database.session, new())
    listener = database.connect()
    listener.conn.execute("LISTEN pqclock")
    (other,) = claim(database.session)
    assert finish(database.session, other, "succeeded", "succeeded")
    database.session.conn.execute("NOTIFY pqclock, 'between'")
    assert finish(database.session, job, "succeeded", "succeeded")
    assert [n.payload for n in listener.conn.notifies(timeout=5, stop_after=2)] == ["between", "after"]
    listener.close()


def test_what_has_succeeded_counts_at_once(database: Database) -> None:
    a_worker(database.session)
    (a,) = enqueue(database.session, new())
    end(database, "succeeded")
    ((b, state),) = jobs.insert(database.session, [waiting_for(a)], now=NOW)
    assert state == "ready"
    assert traces(database) == 0
    assert database.value("SELECT held OR awaits FROM pqclock.job WHERE id = %s", b) is False


@pytest.mark.parametrize(
    ("way", "reason"), [("failed", "failed"), ("cancel", "was cancelled"), ("discard", "was discarded")]
)
@pytest.mark.parametrize("early", [True, False])
def test_what_ends_otherwise_takes_those_behind_it_along(
    database: Database, way: str, reason: str, early: bool
) -> None:
    a_worker(database.session)
    (a,) = enqueue(database.session, new())

    def ends() -> None:
        if way == "failed":
            end(database, "failed", error="no")
        else:
            (done,) = job_verbs.change(database.session, VERBS[way], [a], How(reason="why"))
            assert done.done

    if early:
        ends()
    (b,) = enqueue(database.session, waiting_for(a, options={"unique_key": "k"}))
    (c,) = enqueue(database.session, waiting_for(b))
    if not early:
        ends()
    settle(database.session)
    assert states(database)[b] == ("cancelled", f"job {a} {reason}")
    assert states(database)[c] == ("cancelled", f"job {b} was cancelled")
    assert traces(database) == 0
    assert database.value("SELECT count(*) FROM pqclock.unique_key") == 0
    # A retry of the first one does not bring them back.
    job_verbs.change(database.session, VERBS["retry"], [a], How())
    settle(database.session)
    assert [states(database)[n][0] for n in (a, b, c)] == ["ready", "cancelled", "cancelled"]


def test_a_crash_for_the_third_time_counts_as_failed(database: Database) -> None:
    (a,) = enqueue(database.session, new())
    (b,) = enqueue(database.session, waiting_for(a))
    for _ in range(3):
        settle(database.session)
        assert states(database)[b][0] == "scheduled"
        (job,) = claim(database.session, worker_id=77)
        assert job.id == a
        jobs.rescue(database.session, 10, NOW)
    settle(database.session)
    assert states(database)[b] == ("cancelled", f"job {a} failed")


def test_expiry_counts_as_discarded(database: Database) -> None:
    (a,) = enqueue(database.session, new())
    database.session.conn.execute("UPDATE pqclock.job SET expires_at = %s", (NOW,))
    (b,) = enqueue(database.session, waiting_for(a))
    assert jobs.expire(database.session, 10, LATER) == [a]
    settle(database.session)
    assert states(database)[b] == ("cancelled", f"job {a} was discarded")


@pytest.mark.parametrize(("ids", "fault"), [("{4711}", "names job 4711, which the database does not have"),
                                            ("{NULL}", "has a NULL among its ids"), ("{-1}", "names job -1")])  # fmt: skip
def test_unknown_ids_are_refused_in_one_sentence(database: Database, ids: str, fault: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=fault):
        database.value(ENQUEUE, ids)
    assert database.value("SELECT count(*) FROM pqclock.job") == 0


def test_an_unknown_parent_is_refused(database: Database) -> None:
    with pytest.raises(ArgumentError, match="the parent 5 is no job and no fan-out"):
        enqueue(database.session, new(options='{"parent": 5}'))
    (a,) = enqueue(database.session, new())
    (b,) = enqueue(database.session, new(options=json.dumps({"parent": a})))
    assert after.parents(database.session, [a, b]) == {b: a}
    assert after.progress(database.session, a) == (0, 0, 1)
    assert after.progress(database.session, b) is None


def test_ends_that_are_not_kept_are_noted(database: Database) -> None:
    a_worker(database.session)
    a, b = enqueue(database.session, new(), new())
    behind = enqueue(database.session, waiting_for(a), waiting_for(b))
    end(database, "succeeded", kept=False)
    end(database, "failed", kept=False)
    settle(database.session)
    assert states(database)[behind[0]][0] == "ready"
    assert states(database)[behind[1]] == ("cancelled", f"job {b} failed")
    with pytest.raises(ArgumentError, match=f"names job {a}, which the database does not have"):
        enqueue(database.session, waiting_for(a))


@pytest.mark.parametrize("state", ["succeeded", "failed"])
@pytest.mark.parametrize("commits", [True, False])
def test_a_job_may_end_while_the_enqueue_is_not_committed(database: Database, state: str, commits: bool) -> None:
    a_worker(database.session)
    (a,) = enqueue(database.session, new())
    other = database.connect()
    with other.conn.transaction(force_rollback=not commits):
        (b,) = enqueue(other, waiting_for(a))
        # Nobody waits for the open transaction.
        database.session.conn.execute("SET lock_timeout = '1s'")
        end(database, state)
        settle(database.session)
        assert b not in states(database)
    settle(database.session)
    assert states(database).get(b, (None,))[0] == (
        None if not commits else "ready" if state == "succeeded" else "cancelled"
    )
    assert traces(database) == 0
    other.close()


def test_an_end_that_had_begun_before_is_looked_at_again(database: Database) -> None:
    """Its statement saw nobody who waits, and is committed after the leader has looked."""
    a_worker(database.session)
    (a,) = enqueue(database.session, new())
    (job,) = claim(database.session)
    ending = database.connect()
    ending.conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    ending.conn.execute("SELECT 1 FROM pqclock.job")
    (b,) = enqueue(database.session, waiting_for(a))
    assert finishing.finish(ending, [Outcome(a, job.lease, "succeeded", "succeeded")], 1, NOW) == {a}
    settle(database.session, NOW)
    ending.conn.execute("COMMIT")
    settle(database.session, NOW)
    assert states(database)[b][0] == "scheduled"
    settle(database.session, NOW + 4 * SECOND)
    assert states(database)[b][0] == "ready"
    ending.close()


def test_the_walk_finds_what_nobody_has_noted(database: Database) -> None:
    first = enqueue(database.session, *[new() for _ in range(25)])
    behind = enqueue(database.session, *[waiting_for(n) for n in first])
    settle(database.session)
    database.session.conn.execute("DELETE FROM pqclock.after_note")
    database.session.conn.execute("DELETE FROM pqclock.job WHERE id = ANY(%s)", (first,))
    beyond: int | None = 0
    looks = 0
    while beyond is not None:
        beyond, looks = after.walk(database.session, beyond, 10), looks + 1
    assert looks == 3
    settle(database.session)
    assert [states(database)[n] for n in behind] == [
        ("cancelled", f"job {n} is gone: it has left no history") for n in first
    ]


def test_two_that_look_at_once_release_a_job_once(database: Database) -> None:
    a_worker(database.session)
    two = enqueue(database.session, new(), new())
    (c,) = enqueue(database.session, waiting_for(*two))
    end(database, "succeeded")
    settle(database.session)
    other = database.connect()
    with other.conn.transaction():
        other.conn.execute("SELECT FROM pqclock.job WHERE id = %s FOR UPDATE", (c,))
        end(database, "succeeded")
        settle(database.session)
        assert states(database)[c][0] == "scheduled"
    other.close()
    settle(database.session, LATER + SECOND)
    assert states(database)[c][0] == "ready"


def test_a_worker_stands_in_where_no_clock_leads(database: Database) -> None:
    a_worker(database.session)
    (a,) = enqueue(database.session, new())
    (b,) = enqueue(database.session, waiting_for(a))
    end(database, "succeeded")
    assert stand_in(database.session, 100, LATER) == 1
    assert states(database)[b][0] == "ready"


def test_promotion_and_run_leave_alone_what_waits(database: Database) -> None:
    (a,) = enqueue(database.session, new())
    (b,) = enqueue(database.session, waiting_for(a))
    (done,) = job_verbs.change(database.session, VERBS["run"], [b], How())
    assert done.outcome == "held"
    jobs.promote(database.session, 10, NOW + timedelta(days=1))
    assert states(database)[b][0] == "scheduled"
    (done,) = job_verbs.change(database.session, VERBS["cancel"], [b], How(reason="no"))
    assert done.done
    job_verbs.change(database.session, VERBS["cancel"], [a], How())
    settle(database.session)
    assert states(database)[b] == ("cancelled", "no")
    assert traces(database) == 0


def test_a_later_time_is_kept(database: Database) -> None:
    a_worker(database.session)
    (a,) = enqueue(database.session, new())
    (b,) = enqueue(database.session, waiting_for(a, delay=timedelta(hours=2)))
    end(database, "succeeded")
    settle(database.session)
    assert states(database)[b][0] == "scheduled"
    assert database.value("SELECT held OR awaits FROM pqclock.job WHERE id = %s", b) is False
    settle(database.session, NOW + timedelta(hours=2))
    assert states(database)[b][0] == "ready"


def test_a_named_job_that_met_another_stands_for_that_one(database: Database) -> None:
    a_worker(database.session)
    keyed = new(options='{"unique_key": "k"}')
    (a,) = enqueue(database.session, keyed)
    again = new(options='{"unique_key": "k"}')
    (first, _), (c, state) = jobs.insert(database.session, [again, new(after=(again,))], now=NOW)
    assert (first, state) == (a, "scheduled")
    assert database.rows("SELECT job_id, after_id FROM pqclock.job_after") == [(c, a)]
    end(database, "succeeded")
    settle(database.session)
    assert states(database)[c][0] == "ready"


def test_a_chain_ends_as_a_whole(database: Database) -> None:
    a_worker(database.session)
    chain = [new()]
    for _ in range(999):
        chain.append(new(after=(chain[-1],)))
    ids = enqueue(database.session, *chain)
    assert database.value("SELECT count(*) FROM pqclock.job WHERE awaits") == 999
    end(database, "failed")
    settle(database.session)
    assert database.value("SELECT count(*) FROM pqclock.job_history WHERE state = 'cancelled'") == 999
    assert states(database)[ids[-1]] == ("cancelled", f"job {ids[-2]} was cancelled")
    assert traces(database) == 0


def test_what_comes_later_cannot_be_named(database: Database) -> None:
    late = new()
    with pytest.raises(ArgumentError, match="names a job that does not come before it in the same call"):
        insertion([new(after=(late,)), late], {})
    # The database has no way to name a job that is not there, so that nothing can wait for itself.
    with pytest.raises(psycopg.errors.CheckViolation):
        database.session.conn.execute("INSERT INTO pqclock.job_after VALUES (1, 1)")


def test_hot_statements_find_their_indexes(database: Database) -> None:
    database.session.conn.execute(
        b"INSERT INTO pqclock.job_after SELECT n, n % 1000 - 1000 FROM generate_series(1, 50000) AS n"
    )
    database.session.conn.execute(b"ANALYZE pqclock.job_after")
    plan = database.rows(
        "EXPLAIN SELECT e.id FROM unnest(ARRAY[1, 2, 3]::bigint[]) AS e (id)"
        " WHERE EXISTS (SELECT FROM pqclock.job_after AS a WHERE a.after_id = e.id)"
    )
    assert "job_after_ended" in str(plan)
