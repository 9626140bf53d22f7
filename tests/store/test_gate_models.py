"""Throttles and fuses in SQL do what their models do, over random histories."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pqclock.rules.files import rule_from_fields
from pqclock.rules.fuses import Fuse, FuseState, Grant
from pqclock.rules.throttles import Throttle
from pqclock.store import rules
from pqclock.store.jobs import ClaimedJob
from store.gated import claim, end, enqueue_gated
from store.samples import NOW, SECOND

if TYPE_CHECKING:
    from conftest import Database

EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")
MICROSECOND = timedelta(microseconds=1)
FUSES: list[dict[str, Any]] = [
    {"failures": 3, "within": "10s", "cool_down": "20s", "max_cool_down": "50s", "probes": 2},
    {"failure_rate": 0.5, "minimum": 4, "within": "1m", "cool_down": "5s"},
    {
        "failures": 4,
        "failure_rate": 0.7,
        "minimum": 3,
        "within": "1m",
        "cool_down": "5s",
        "probes": 3,
        "only": ["OSError"],
    },
]


def ns(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND * 1000


@pytest.mark.parametrize("seed", range(4))
def test_a_throttle_starts_jobs_when_its_model_does(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    rate = chance.randint(1, 12)
    fields = {"rate": f"{rate}/{chance.randint(1, 5000)}ms", "burst": chance.randint(1, rate)}
    rules.put(database.session, [rule_from_fields("throttle.x", fields)], NOW)
    throttle, tat, now = Throttle.of(fields), 0, NOW
    for _ in range(25):
        units = chance.randint(1, rate)
        now += chance.choice([0, 0, 1, chance.randint(0, 3_000_000)]) * MICROSECOND
        enqueue_gated(database.session, "throttle:x", units=units)
        opens = throttle.opens_ns(tat, units)
        assert opens is not None
        if opens > ns(now):
            # The first whole microsecond at which it is open.
            first = EPOCH + -(-opens // 1000) * MICROSECOND
            assert claim(database.session, now=first - MICROSECOND).jobs == []
            now = first
        assert len(claim(database.session, now=now).jobs) == 1
        tat = throttle.started(tat, ns(now), units)
        assert database.value("SELECT tat_ns FROM pqclock.gate") == tat


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fields", FUSES, ids=["count", "share", "both"])
def test_a_fuse_is_where_its_model_is(database: Database, fields: dict[str, Any], seed: int) -> None:
    chance = random.Random(seed)
    rules.put(database.session, [rule_from_fields("fuse.x", fields)], NOW)
    enqueue_gated(database.session, "fuse:x", count=400)
    fuse, state, now = Fuse.of(fields), FuseState(), NOW
    running: list[tuple[ClaimedJob, Grant]] = []
    for lease in range(60):
        now += chance.choice([1, 1, 2, 7, 30]) * SECOND
        room = chance.randint(1, 4)
        jobs = claim(database.session, room, now, lease=lease + 1).jobs
        grants: list[Grant] = []
        while len(grants) < room and state.allows(fuse, ns(now)):
            grants.append(state.grant(ns(now)))
        assert len(jobs) == len(grants), (now, state)
        running += zip(jobs, grants, strict=True)
        for _ in range(min(len(running), chance.randint(0, 4))):
            now += SECOND
            job, grant = running.pop(chance.randrange(len(running)))
            outcome, *names = chance.choice(
                [
                    ("failed", "OSError"),
                    ("failed", "KeyError", "OSError"),
                    ("failed", "KeyError"),
                    ("succeeded",),
                    ("cancelled",),
                ]
            )
            assert end(database.session, job, outcome, now, *names)
            state.settle(fuse, grant, fuse.counts(outcome, names), ns(now))
        until = None if state.blown_until is None else EPOCH + state.blown_until // 1000 * MICROSECOND
        seen = database.rows("SELECT epoch, blown_until, passed FROM pqclock.gate")
        assert seen == [(state.epoch, until, state.passed)]
    assert state.epoch > 1
