"""The queues at a glance: what the exact view says, as far as it is counted, and never slower for a large backlog."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pqclock.store import backlog, pauses
from pqclock.store.backlog import BacklogRow
from store.samples import DAY, NOW, SECOND, a_worker, claim, enqueue, new

if TYPE_CHECKING:
    from conftest import Database

EXACT = "SELECT queue, scheduled, ready, running, oldest_ready_at FROM pqclock.queues ORDER BY queue"


def found(database: Database, most: int = backlog.MOST) -> list[tuple[Any, ...]]:
    rows = backlog.queues(database.session, limit=100, most=most).rows
    return [(row.queue, row.scheduled, row.ready, row.running, row.oldest_ready_at) for row in rows]


def test_it_says_what_the_view_says(database: Database) -> None:
    session, rng = database.session, random.Random(7)
    for step in range(12):
        jobs = [
            new(
                queue=f"q{rng.randrange(6)}",
                priority=rng.randrange(-2, 3),
                run_at=NOW + DAY if rng.random() < 0.3 else None,
                options='{"throttle": ["x:{n}"]}' if rng.random() < 0.3 else None,
                args=f'{{"n": {rng.randrange(4)}}}',
            )
            for _ in range(rng.randrange(1, 30))
        ]
        ids = enqueue(session, *jobs, now=NOW + step * SECOND)
        enqueue(session, new(queue="after", options=f'{{"after": [{ids[0]}]}}'), now=NOW + step * SECOND)
        claim(session, a_worker(session), limit=rng.randrange(1, 10), now=NOW + step * SECOND)
        assert found(database) == database.rows(EXACT)
    pauses.pause(session, "queue", "empty", timedelta(hours=1), "for now")
    names = {row.queue: row.note for row in backlog.queues(session, limit=100).rows}
    assert names["empty"] == "for now" and not any(row.at_least for row in backlog.queues(session, limit=100).rows)


def test_what_is_much_is_counted_up_to_a_bound(database: Database) -> None:
    session = database.session
    enqueue(session, *[new(queue="many") for _ in range(30)], *[new(queue="few") for _ in range(3)])
    enqueue(session, *[new(queue="later", run_at=NOW + DAY) for _ in range(30)])
    enqueue(session, *[new(queue="gated", options='{"fuse": ["x"]}') for _ in range(30)])
    rows = {row.queue: row for row in backlog.queues(session, limit=100, most=10).rows}
    told = {name: (row.scheduled, row.ready, row.at_least) for name, row in rows.items()}
    assert told == {"many": (0, 11, True), "few": (0, 3, False), "later": (11, 0, True), "gated": (0, 11, True)}


def test_pages_go_on_where_the_last_one_ended(database: Database) -> None:
    enqueue(database.session, *[new(queue=f"q{n}") for n in range(5)])
    seen: list[BacklogRow] = []
    after: str | None = ""
    while after is not None:
        page = backlog.queues(database.session, after=after, limit=2)
        seen += page.rows
        after = page.next
    assert [row.queue for row in seen] == [f"q{n}" for n in range(5)]
