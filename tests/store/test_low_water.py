"""The place below which claims do not look: nothing that can still be committed, or come back, is passed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pqclock.rules.job import Outcome
from pqclock.rules.pools import parse_pools
from pqclock.store import finishing, jobs, low_water, processes
from pqclock.store.database import Session
from pqclock.worker.low_water import EVERY, LowWater
from pqclock.worker.pool import WorkingPool
from store.samples import NOW, a_worker, claim, enqueue, finish, new

if TYPE_CHECKING:
    from conftest import Database


@pytest.fixture
def other(database: Database) -> Iterator[Session]:
    """A second session."""
    session = database.connect()
    yield session
    session.close()


class Marked:
    """A pool whose mark is raised by hand."""

    def __init__(self, database: Database, spec: str = "*") -> None:
        self.session = database.session
        (one,) = parse_pools(spec)
        self.pool = WorkingPool(one)
        self.marks = LowWater([self.pool])
        self._steps = 0

    def raised(self, times: int = 1) -> int:
        """The mark, after so many looks that are due."""
        for _ in range(times):
            self._steps += 1
            self.marks.raise_marks(self.session, self._steps, self._steps * (EVERY + 0.1))
        return self.pool.low_water

    def claim(self) -> list[int]:
        """The ids of what a claim from the mark on gives."""
        found = jobs.claim(
            self.session, self.pool.spec, ["mail"], 100, worker_id=1, lease=1, low=self.pool.low_water, now=NOW
        )
        return [job.id for job in found]


def run(session: Session, count: int) -> None:
    enqueue(session, *[new()] * count)
    for job in claim(session):
        assert finish(session, job, "succeeded", "succeeded", started_at=NOW, finished_at=NOW)


@pytest.mark.parametrize("spec", ["*", "default", "default,b"])
def test_what_has_ended_is_passed_and_what_is_ready_is_not(database: Database, spec: str) -> None:
    marked = Marked(database, spec)
    run(database.session, 5)
    assert marked.raised(2) == 5
    ids = enqueue(database.session, new(priority=3), new(priority=-3), new(queue="b"))
    assert marked.raised(2) == 5
    assert marked.claim() == [ids[1], *([ids[2]] if spec != "default" else []), ids[0]]
    assert marked.raised(2) == 8


def test_what_is_not_committed_yet_is_not_passed(database: Database, other: Session) -> None:
    marked = Marked(database)
    with other.transaction():
        (late,) = enqueue(other, new())
        run(database.session, 5)
        assert marked.raised(3) == 0
    assert marked.claim() == [late]
    assert marked.raised(2) == 6


def test_what_a_fresh_transaction_adds_holds_nothing_up(database: Database, other: Session) -> None:
    marked = Marked(database)
    run(database.session, 5)
    assert marked.raised() == 0
    with other.transaction():
        (late,) = enqueue(other, new())
        assert marked.raised() == 5
        assert marked.raised() == 5
    assert marked.claim() == [late]


def test_a_transaction_that_only_reads_holds_nothing_up(database: Database, other: Session) -> None:
    marked = Marked(database)
    with other.transaction():
        other.conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.conn.execute("SELECT count(*) FROM pqclock.job")
        run(database.session, 5)
        assert marked.raised(2) == 5


def test_who_keeps_a_place_while_it_becomes_ready_again_is_told_of(database: Database, other: Session) -> None:
    dead = a_worker(database.session, token="here")
    enqueue(database.session, new(), new())
    first, second = claim(database.session, dead)
    other.conn.execute("LISTEN pqclock")
    end = Outcome(first.id, first.lease, "ready", None, charged=False, keeps_place=True)
    finishing.finish(database.session, [end], dead, now=NOW)
    processes.bury(database.session, "here", begun=[])
    assert jobs.rescue(database.session, 10, now=NOW) == [(second.id, "ready")]
    heard = {note.payload for note in other.conn.notifies(timeout=5, stop_after=2)}
    assert "again default" in heard


def test_a_new_server_is_looked_at_from_the_bottom(database: Database) -> None:
    marked = Marked(database)
    run(database.session, 5)
    assert marked.raised(2) == 5
    marked.marks.begin()
    assert marked.pool.low_water == 0


def test_where_queues_are_left_out_there_is_no_mark(database: Database) -> None:
    marked = Marked(database, "-b")
    run(database.session, 5)
    assert marked.raised(3) == 0


def test_a_sounding_tells_who_may_still_write(database: Database, other: Session) -> None:
    with other.transaction():
        enqueue(other, new())
        sounding = low_water.sound(database.session)
        assert len(sounding.writers) == 1
        assert not sounding.is_settled(low_water.sound(database.session).writers)
    assert sounding.is_settled(low_water.sound(database.session).writers)
