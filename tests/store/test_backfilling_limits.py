"""What a backfill leaves to the leader, and what it waits for."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pqclock.clock.planner import Planner
from pqclock.rules.schedule import Schedule
from pqclock.store import backfilling, leadership, runtime
from pqclock.store.backfilling import Backfill
from store.samples import HOUR, MINUTE, NOW, claim, finish

if TYPE_CHECKING:
    from conftest import Database

HOURLY = Schedule("a", "mail", cron="0 * * * *", catch_up="none")
LEDGER = "SELECT tick, count::int, outcome, origin FROM pqclock.tick ORDER BY tick"


def test_missed_ticks_that_the_leader_has_not_decided_on_are_left_to_it(database: Database) -> None:
    runtime.put(database.session, [HOURLY], NOW)
    planner = Planner(database.session, leadership.elect(database.session, 1, NOW))
    while planner.step(NOW + HOUR).more:
        pass
    late = NOW + 5 * HOUR + 30 * MINUTE
    planner.step(late)
    assert database.value("SELECT count(*) FROM pqclock.owed") == 1
    asked = Backfill("a", NOW + MINUTE, late, force=True)
    seen = backfilling.preview(database.session, asked, late)
    assert (seen.ticks, seen.already_there, seen.until) == (1, 1, NOW + 2 * HOUR)
    while planner.step(late).more:
        pass
    seen = backfilling.preview(database.session, asked, late)
    assert (seen.ticks, seen.already_there) == (5, 1)
    done = backfilling.run(lambda: nullcontext(database.session), asked, seen, now=late)
    assert done.inserted == 4
    assert database.rows(LEDGER) == [
        (NOW + HOUR, 1, "inserted", "clock"),
        *((NOW + n * HOUR, 1, "inserted", "backfill") for n in (2, 3, 4, 5)),
    ]


@pytest.mark.parametrize("overlap", ["skip", "wait", "replace"])
def test_jobs_that_must_not_overlap_are_backfilled_one_after_the_other(database: Database, overlap: str) -> None:
    runtime.put(database.session, [replace(HOURLY, overlap=overlap)], NOW)
    most = 0

    def work_one_off(_: float) -> None:
        nonlocal most
        most = max(most, int(str(database.value("SELECT count(*) FROM pqclock.job"))))
        (job,) = claim(database.session, now=NOW)
        assert finish(database.session, job, "succeeded", "succeeded")

    asked = Backfill("a", NOW - 4 * HOUR, NOW, force=True, at_once=10)
    seen = backfilling.preview(database.session, asked, NOW)
    done = backfilling.run(lambda: nullcontext(database.session), asked, seen, wait=True, sleep=work_one_off, now=NOW)
    assert (done.inserted, done.finished, most) == (4, 4, 1)


def test_a_backfill_that_has_inserted_all_waits_for_nothing(database: Database) -> None:
    runtime.put(database.session, [HOURLY], NOW)
    asked = Backfill("a", NOW - 4 * HOUR, NOW, force=True, at_once=4)
    seen = backfilling.preview(database.session, asked, NOW)

    def no_need(_: float) -> None:
        raise AssertionError("nothing is left to be inserted")

    assert backfilling.run(lambda: nullcontext(database.session), asked, seen, sleep=no_need, now=NOW).inserted == 4
