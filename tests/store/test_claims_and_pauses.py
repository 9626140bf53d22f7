"""Claims of free jobs leave out what is paused, and what a pool excludes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.samples import MINUTE, NOW, claim, enqueue, new

if TYPE_CHECKING:
    from conftest import Database

POOLS = ["*", "-other", "mice,elephants"]
FOR_EVER = "infinity"


def pause(database: Database, kind: str, name: str, until: object = None) -> None:
    statement = "INSERT INTO pqclock.pause (kind, name, paused_until, paused_at) VALUES (%s, %s, %s, %s)"
    database.session.conn.execute(statement, (kind, name, until, NOW))


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("until", [FOR_EVER, NOW + MINUTE])
def test_a_paused_queue_is_left_out(pool: str, until: object, database: Database) -> None:
    database.session.conn.execute("INSERT INTO pqclock.queue (name, paused_until) VALUES ('mice', %s)", (until,))
    enqueue(database.session, *[new(queue="mice") for _ in range(400)])
    (free,) = enqueue(database.session, new(queue="elephants"))
    assert [job.id for job in claim(database.session, pool=pool)] == [free]
    assert len(claim(database.session, pool=pool, now=NOW + MINUTE)) == (0 if until == FOR_EVER else 100)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(("kind", "name"), [("task", "mail"), ("label", "finance")])
def test_a_paused_task_or_label_is_left_out(pool: str, kind: str, name: str, database: Database) -> None:
    enqueue(database.session, new(queue="mice", labels='["finance"]'))
    pause(database, kind, name, NOW + MINUTE)
    (free,) = enqueue(database.session, new("post", queue="elephants"))
    assert [job.id for job in claim(database.session, pool=pool, tasks=("mail", "post"))] == [free]
    assert len(claim(database.session, pool=pool, tasks=("mail",), now=NOW + MINUTE)) == 1


def test_the_best_come_first_also_behind_many_that_are_left_out(database: Database) -> None:
    enqueue(database.session, *[new(queue="other", priority=-1) for _ in range(400)])
    late = enqueue(database.session, *[new(queue=queue, priority=1) for queue in ("c", "a", "b")])
    soon = enqueue(database.session, *[new(queue=queue) for queue in ("b", "c")])
    assert [job.id for job in claim(database.session, pool="-other", limit=3)] == [*soon, late[0]]
    assert [job.id for job in claim(database.session, pool="-other", limit=3)] == late[1:]
