"""A worker at pauses: nothing of them starts, and with their end it goes on at once."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest

from pqclock.store import pauses
from pqclock.worker import hearing
from worker.bench import Bench

KINDS = [("queue", "mice"), ("task", "t"), ("label", "finance")]
POOLS = ["*:2", "-whales:2", "mice:2"]


def put(bench: Bench, count: int = 1) -> list[int]:
    return [bench.put("t", queue="mice", labels='["finance"]') for _ in range(count)]


@pytest.mark.parametrize("pools", POOLS)
@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_a_pause_that_is_resumed(
    kind: Any, name: str, pools: str, plain: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "POLL_EVERY", 60.0)
    session = plain.database.session
    plain.start(pools)
    before = put(plain, 3)
    plain.comes_to(before[-1], "succeeded")
    pauses.pause(session, kind, name)
    held = put(plain, 3)
    pauses.pause(session, kind, name, note="again")
    time.sleep(0.3)
    assert [plain.state(job) for job in held] == ["ready"] * 3
    assert pauses.resume(session, kind, name)
    for job in held:
        plain.comes_to(job, "succeeded", within=2.0)
    assert [plain.attempts(job) for job in held] == [["succeeded"]] * 3


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_a_pause_ends_by_itself_also_without_a_leader(kind: Any, name: str, plain: Bench) -> None:
    session = plain.database.session
    held = put(plain, 2)
    pauses.pause(session, kind, name, timedelta(seconds=1))
    end = plain.database.value("SELECT max(u) FROM (SELECT paused_until AS u FROM pqclock.pause"
                               " UNION ALL SELECT paused_until FROM pqclock.queue) AS p")  # fmt: skip
    plain.start()
    for job in held:
        plain.comes_to(job, "succeeded")
    begun = plain.database.value("SELECT min(started_at) >= %s FROM pqclock.jobs", end)
    assert begun is True
