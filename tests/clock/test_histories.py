"""Random histories of one schedule: whatever is done to it, each of its ticks is accounted for once, and no job is lost."""

from __future__ import annotations

import random
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from pqclock.clock.planner import Planner
from pqclock.rules.schedule import Schedule
from pqclock.store import backfilling, jobs, leadership, runtime
from pqclock.store.backfilling import Backfill
from pqclock.store.jobs import ClaimedJob
from store.samples import DAY, HOUR, MINUTE, NOW, SECOND, a_worker, claim, finish

if TYPE_CHECKING:
    from conftest import Database

OPERATIONS = (
    "put",
    "pause",
    "resume",
    "step",
    "step",
    "turn",
    "turn",
    "elect",
    "backfill",
    "claim",
    "finish",
    "expire",
)
PASSING = (timedelta(), SECOND, 20 * SECOND, 90 * SECOND, 5 * MINUTE, 40 * MINUTE)
ROWS = "SELECT tick, through, count::int FROM pqclock.tick WHERE tick > %s AND tick <= %s ORDER BY tick"
DOUBLED = """SELECT tick FROM (SELECT tick FROM pqclock.job UNION ALL SELECT tick FROM pqclock.job_history) AS j
             GROUP BY tick HAVING count(*) > 1"""
LOST = """SELECT (SELECT count(*) FROM pqclock.tick WHERE outcome = 'inserted')
               - (SELECT count(*) FROM pqclock.job) - (SELECT count(*) FROM pqclock.job_history)"""


class Waiting(Exception):
    """A backfill waits for its jobs, which is no part of a history."""


class History:
    """One schedule that ticks every minute, and what is done to it; `now` moves on by itself."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database = database
        self.choose = random.Random(seed).choice
        self.now = NOW
        runtime.put(database.session, [replace(self.schedule(), enabled=True)], now=NOW)
        self.worker = a_worker(database.session)
        self.running: list[ClaimedJob] = []
        self.lease = 0
        self.elect()

    def schedule(self) -> Schedule:
        return Schedule(
            "a", "mail", cron="* * * * *",
            queue=self.choose(["q1", "q2"]),
            overlap=self.choose(["allow", "skip", "wait", "replace"]),
            catch_up=self.choose(["none", "latest", "all"]),
            catch_up_limit=self.choose([1, 3, 100]),
            catch_up_window=self.choose([10 * MINUTE, DAY]),
            enabled=self.choose([True, True, True, False]),
            expires_in=self.choose([None, 5 * MINUTE]),
            jitter=self.choose([timedelta(), 3 * MINUTE]),
            grace=self.choose([SECOND, MINUTE]),
        )  # fmt: skip

    def do(self, operation: str) -> None:
        self.now += self.choose(PASSING)
        getattr(self, operation)()

    def elect(self) -> None:
        self.planner = Planner(self.database.session, leadership.elect(self.database.session, 1, self.now))

    def put(self) -> None:
        runtime.put(self.database.session, [self.schedule()], now=self.now)

    def pause(self) -> None:
        runtime.pause(self.database.session, "a", self.choose([None, 3 * MINUTE, 30 * SECOND]), now=self.now)

    def resume(self) -> None:
        runtime.resume(self.database.session, "a", now=self.now)

    def step(self) -> None:
        self.planner.step(self.now)

    def turn(self) -> None:
        while self.planner.step(self.now).more:
            pass
        jobs.promote(self.database.session, 100, self.now)

    def backfill(self) -> None:
        since, until = self.now - self.choose([HOUR, 5 * MINUTE]), self.now - self.choose([timedelta(), 2 * MINUTE])
        asked = Backfill("a", since, until, at_once=1000, force=True)  # the samples' day is long past

        def wait(_: float) -> None:
            raise Waiting

        try:
            seen = backfilling.preview(self.database.session, asked, self.now)
            backfilling.run(lambda: nullcontext(self.database.session), asked, seen, now=self.now, sleep=wait)
        except Waiting:
            pass

    def claim(self) -> None:
        self.lease += 1
        self.running += claim(self.database.session, self.worker, now=self.now, limit=2, lease=self.lease)

    def finish(self) -> None:
        if self.running:
            how = self.choose([("succeeded", "succeeded"), ("ready", None)])
            finish(self.database.session, self.running.pop(0), *how)

    def expire(self) -> None:
        jobs.expire(self.database.session, 100, self.now)

    def end(self) -> datetime:
        """Bring it to rest, ticking plainly; up to when it is accounted for then."""
        self.resume()
        runtime.put(self.database.session, [Schedule("a", "mail", cron="* * * * *", queue="end")], now=self.now)
        self.now += 3 * MINUTE
        self.turn()
        return self.now


@pytest.mark.parametrize("seed", range(25))
def test_every_tick_is_accounted_for_once_whatever_is_done(database: Database, seed: int) -> None:
    history = History(database, seed)
    for _ in range(70):
        history.do(history.choose(OPERATIONS))
    upto = history.end()
    expected = NOW + MINUTE
    for tick, through, count in database.rows(ROWS, NOW, upto):
        assert isinstance(through, datetime)
        assert isinstance(count, int)
        assert (tick, through) == (expected, expected + (count - 1) * MINUTE)
        expected = through + MINUTE
    assert expected > upto
    assert database.value("SELECT count(*) FROM pqclock.owed") == 0
    assert database.rows(DOUBLED) == []
    assert database.value(LOST) == 0
