"""scheduled -> ready -> running: in order, once, and only what the worker may run."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pqclock.store import jobs
from pqclock.store.database import Session
from pqclock.store.jobs import ClaimedJob
from store.samples import HOUR, MINUTE, NOW, SECOND, claim, enqueue, new

if TYPE_CHECKING:
    from conftest import Database


def test_what_is_due_becomes_ready_up_to_the_limit(database: Database) -> None:
    session = database.session
    enqueue(session, *(new(run_at=NOW + n * SECOND) for n in (1, 2, 3, 60)))
    first = jobs.promote(session, 2, now=NOW + 3 * SECOND)
    assert (first.promoted, first.next_run_at, first.now) == (2, NOW + MINUTE, NOW + 3 * SECOND)
    assert jobs.promote(session, 2, now=NOW + 3 * SECOND).promoted == 1
    last = jobs.promote(session, 2, now=NOW + MINUTE)
    assert (last.promoted, last.next_run_at) == (1, None)


def test_what_was_due_first_is_claimed_first(database: Database) -> None:
    session = database.session
    ids = enqueue(session, *(new(run_at=NOW + (1000 - n) * SECOND) for n in range(1000)))
    database.session.conn.execute("ANALYZE pqclock.job")
    assert jobs.promote(session, 5000, now=NOW + HOUR).promoted == 1000
    assert [job.id for job in claim(session, limit=1000)] == ids[::-1]


def test_a_row_that_somebody_holds_does_not_hold_up_the_others(database: Database) -> None:
    held, free = enqueue(database.session, new(run_at=NOW + SECOND), new(run_at=NOW + 2 * SECOND))
    other = database.connect()
    with other.transaction():
        other.conn.execute("SELECT 1 FROM pqclock.job WHERE id = %s FOR UPDATE", [held])
        assert jobs.promote(database.session, 10, now=NOW + MINUTE).promoted == 1
        assert [job.id for job in claim(database.session)] == [free]
    other.close()
    assert jobs.promote(database.session, 10, now=NOW + MINUTE).promoted == 1


def test_priority_goes_before_readiness(database: Database) -> None:
    a, b, c, d = enqueue(database.session, new(), new(priority=-1), new(), new(priority=5))
    assert [job.id for job in claim(database.session, limit=3)] == [b, a, c]
    assert [job.id for job in claim(database.session, limit=3)] == [d]


POOLS = {
    "*": ["mice", "whales", "cats"],
    "mice": ["mice"],
    "cats,mice": ["mice", "cats"],
    "-mice": ["whales", "cats"],
    "-mice,cats": ["whales"],
    "dogs": [],
}


def test_a_pool_works_its_own_queues(database: Database) -> None:
    for pool, queues in POOLS.items():
        enqueue(database.session, *(new(queue=queue) for queue in ("mice", "whales", "cats")))
        assert [job.queue for job in claim(database.session, pool=pool)] == queues
        database.session.conn.execute("DELETE FROM pqclock.job")


@pytest.mark.parametrize("pool", ["*", "mice,default"])
def test_the_best_of_all_queues_come_first(database: Database, pool: str) -> None:
    a, b, c = enqueue(database.session, new(priority=2), new(queue="mice", priority=1), new(priority=0))
    assert [job.id for job in claim(database.session, pool=pool, limit=2)] == [c, b]
    assert [job.id for job in claim(database.session, pool=pool, limit=2)] == [a]


@pytest.mark.parametrize("pool", ["*", "default"])
def test_a_worker_gets_only_what_it_can_run(database: Database, pool: str) -> None:
    enqueue(database.session, new("mail"), new("report"))
    assert [job.task for job in claim(database.session, pool=pool, tasks=["report", "other"])] == ["report"]
    assert claim(database.session, pool=pool, tasks=[]) == []


@pytest.mark.parametrize("pool", ["*", "default"])
def test_an_expired_job_is_not_claimed(database: Database, pool: str) -> None:
    enqueue(database.session, new(), new())
    database.session.conn.execute("UPDATE pqclock.job SET expires_at = %s", [NOW + MINUTE])
    assert len(claim(database.session, pool=pool, limit=1, now=NOW + MINUTE - SECOND)) == 1
    assert claim(database.session, pool=pool, now=NOW + MINUTE) == []


def test_a_claimed_job_tells_what_its_worker_needs(database: Database) -> None:
    (job_id,) = enqueue(database.session, new(args='{"to": "a"}', queue="mice", labels='["x"]', max_attempts=3))
    (job,) = claim(database.session, worker_id=5, lease=77, now=NOW + SECOND)
    assert job == ClaimedJob(
        id=job_id, task="mail", args='{"to": "a"}', queue="mice", priority=0, labels=["x"], attempt=1, max_attempts=3,
        crashes=0, lease=77, run_at=NOW, schedule_id=None, tick=None, claimed_at=NOW + SECOND,
        ready_seq=job.ready_seq, run_options=None, checkpoint=None, schedule_key=None,
    )  # fmt: skip
    assert database.rows("SELECT state::text, worker_id, lease FROM pqclock.job") == [("running", 5, 77)]


@pytest.mark.parametrize("pool", ["*", "default,mice"])
def test_no_job_goes_to_two_workers(database: Database, pool: str) -> None:
    ids = enqueue(database.session, *(new(queue=("default", "mice")[n % 2]) for n in range(500)))

    def work(worker_id: int) -> list[int]:
        session, mine = database.connect(), list[int]()
        # A look that finds only rows which others hold just then finds nothing.
        while database_has_ready_jobs(session):
            mine += [job.id for job in claim(session, worker_id, pool=pool, limit=7, lease=worker_id)]
        session.close()
        return mine

    with ThreadPoolExecutor(4) as threads:
        claims = list(threads.map(work, range(1, 5)))
    assert Counter(job_id for mine in claims for job_id in mine) == Counter(ids)
    held = database.rows("SELECT worker_id, array_agg(id ORDER BY id) FROM pqclock.job GROUP BY 1 ORDER BY 1")
    assert held == [(number, sorted(mine)) for number, mine in enumerate(claims, 1) if mine]


def database_has_ready_jobs(session: Session) -> bool:
    return session.conn.execute("SELECT 1 FROM pqclock.job WHERE state = 'ready' LIMIT 1").fetchone() is not None
