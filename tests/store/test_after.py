"""Jobs that wait until others have succeeded: what the database does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pqclock.errors import ArgumentError
from pqclock.store import after, jobs
from store.samples import MINUTE, NOW, a_worker, claim, enqueue, finish, new

if TYPE_CHECKING:
    from conftest import Database

LATER = NOW + MINUTE


def waiting_for(*ids: int, **more: object) -> object:
    return new(options=json.dumps({"after": list(ids), **more}))


def states(database: Database) -> dict[int, tuple[str, str | None]]:
    return {i: (s, e) for i, s, e in database.rows("SELECT id, state, error FROM pqclock.jobs")}


def settle(database: Database) -> None:
    while after.resolve(database.session, 1000, LATER).more:
        pass
    jobs.promote(database.session, 1000, LATER)


def test_a_job_waits_until_all_have_succeeded(database: Database) -> None:
    a_worker(database.session)
    a, b = enqueue(database.session, new(), new())
    (c,) = enqueue(database.session, waiting_for(a, b))
    settle(database)
    assert states(database)[c][0] == "scheduled"
    first, second = claim(database.session)
    assert finish(database.session, first, "succeeded", "succeeded")
    settle(database)
    assert states(database)[c][0] == "scheduled"
    assert finish(database.session, second, "succeeded", "succeeded")
    settle(database)
    assert states(database)[c][0] == "ready"
    assert database.value("SELECT count(*) FROM pqclock.job_after") == 0
