"""Who is woken by what, and never before the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from pqclock.store import jobs, processes, schedules
from pqclock.store.database import Session, connect
from pqclock.store.listening import hear, listen
from store.samples import HOUR, MINUTE, NOW, SECOND, a_worker, claim, enqueue, finish, new

if TYPE_CHECKING:
    from conftest import Database


@pytest.fixture
def heard(database: Database) -> Iterator[Callable[[], list[str]]]:
    """What has arrived since the last call; round trips first, since notifications come with answers."""
    ear = database.connect("ear")
    listen(ear)

    def hear_now() -> list[str]:
        for _ in range(2):
            ear.conn.execute("SELECT 1")
        return sorted(hear(ear))

    yield hear_now
    ear.close()


def test_an_enqueue_wakes_each_queue_once(database: Database, heard: Callable[[], list[str]]) -> None:
    enqueue(database.session, new(queue="mice"), new(queue="mice"), new())
    assert heard() == ["ready default", "ready mice"]


def test_a_later_job_wakes_the_clock_only_when_it_is_near(database: Database, heard: Callable[[], list[str]]) -> None:
    enqueue(database.session, new(run_at=NOW + HOUR))
    assert heard() == []
    enqueue(database.session, new(run_at=NOW + SECOND))
    assert heard() == ["clock"]


def test_nothing_is_heard_before_the_commit_nor_after_a_rollback(
    database: Database, heard: Callable[[], list[str]]
) -> None:
    with database.session.transaction():
        enqueue(database.session, new())
        assert heard() == []
    assert heard() == ["ready default"]
    with pytest.raises(ZeroDivisionError), database.session.transaction():
        enqueue(database.session, new())
        raise ZeroDivisionError
    assert heard() == []


def test_a_promotion_wakes_the_queues_of_what_became_ready(database: Database, heard: Callable[[], list[str]]) -> None:
    enqueue(database.session, new(queue="mice", run_at=NOW + MINUTE), new(queue="cats", run_at=NOW + HOUR))
    jobs.promote(database.session, 10, now=NOW + MINUTE)
    assert heard() == ["ready mice"]
    jobs.promote(database.session, 10, now=NOW + MINUTE)
    assert heard() == []


def test_a_finish_wakes_whoever_is_to_go_on(database: Database, heard: Callable[[], list[str]]) -> None:
    enqueue(database.session, *(new(queue=queue) for queue in ("done", "back", "soon", "later")))
    heard()
    done, back, soon, later = claim(database.session)
    finish(database.session, done, "succeeded", "succeeded")
    finish(database.session, later, "scheduled", "failed", delay=3600.0)
    assert heard() == []
    finish(database.session, back, "ready", None, charged=False)
    assert heard() == ["again back"]
    finish(database.session, soon, "scheduled", "failed", delay=1.0)
    assert heard() == ["clock"]


def test_a_burial_wakes_the_clock_and_a_rescue_the_queue(database: Database, heard: Callable[[], list[str]]) -> None:
    enqueue(database.session, new(queue="mice"))
    claim(database.session, a_worker(database.session, token="here"))
    heard()
    processes.bury(database.session, "here")
    assert heard() == ["rescue"]
    jobs.rescue(database.session, 10, now=NOW)
    assert heard() == ["again mice"]


def test_each_schema_has_a_channel_of_its_own(database: Database, heard: Callable[[], list[str]]) -> None:
    other: Session = connect(database.url, "other_one", "test")
    schedules.wake_clock(other)
    assert heard() == []
    schedules.wake_clock(database.session)
    assert heard() == ["clock"]
    other.close()
