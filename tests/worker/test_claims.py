"""Claims that overlap: each finds what the other leaves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from conftest import Database
from pqclock.rules.pools import parse_pools
from pqclock.store import jobs
from pqclock.store.database import Session
from pqclock.store.jobs import NewJob


def put(database: Database, queues: Sequence[str], each: int) -> list[int]:
    """The same number of jobs in every queue, one after the other."""
    new = [NewJob("t", "{}", queue=queue) for _ in range(each) for queue in queues]
    return [job_id for job_id, _ in jobs.insert(database.session, new)]


def claim(session: Session, pool: str, limit: int, worker_id: int = 1) -> list[int]:
    (one,) = parse_pools(pool)
    claimed = jobs.claim(session, one, ["t"], limit, worker_id=worker_id, lease=worker_id)
    return [job.id for job in claimed]


@pytest.mark.parametrize(("pool", "queues"), [("a,b:2", "ab"), ("a,b,c,d:2", "abcd"), ("*:2", "ab"), ("a:2", "a")])
def test_a_claim_locks_no_more_than_it_takes(database: Database, pool: str, queues: str) -> None:
    ids = put(database, queues, 8 // len(queues))
    other = database.connect()
    with database.session.transaction():
        mine = claim(database.session, pool, 2)
        theirs = claim(other, pool, 2, worker_id=2)
        third = claim(other, pool, 2, worker_id=2)
    other.close()
    assert [mine, theirs, third] == [ids[:2], ids[2:4], ids[4:6]]


@pytest.mark.parametrize(("large", "small"), [(50, 1), (50, 50), (200, 200)])
def test_a_claim_finds_what_lies_behind_another(database: Database, large: int, small: int) -> None:
    ids = put(database, "ab", 300)
    other = database.connect()
    with database.session.transaction():
        assert claim(database.session, f"a,b:{large}", large) == ids[:large]
        assert claim(other, f"a,b:{small}", small, worker_id=2) == ids[large : large + small]
    other.close()


def test_a_claim_takes_a_job_once_even_when_it_waits_in_line(database: Database) -> None:
    ids = put(database, "ab", 5)
    assert claim(database.session, "a,b:4", 4) == ids[:4]
    assert claim(database.session, "a,b:40", 40) == ids[4:]
    assert claim(database.session, "a,b:40", 40) == []
