"""Daily partitions: there before they are needed, gone when their time is over, never in anybody's way."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import psycopg
import pytest

from pqclock.store import jobs, partitions
from store.samples import DAY, HOUR, NOW, claim, enqueue, finish, new

if TYPE_CHECKING:
    from conftest import Database

LATER = datetime(2030, 5, 1, 23, 30, tzinfo=NOW.tzinfo)
PARTITIONS = "SELECT count(*) FROM pg_class WHERE relname LIKE %s AND relkind = 'r'"


def test_a_week_ahead_is_made_once(database: Database) -> None:
    assert database.value("SELECT count(*) FROM pg_class WHERE relname ~ '^tick_[0-9]{8}$'") == 8
    parents = 1 + len(("succeeded", "failed", "cancelled", "discarded")) + 6
    assert partitions.create_ahead(database.session, now=LATER) == 8 * parents
    assert partitions.create_ahead(database.session, now=LATER) == 0
    assert partitions.create_ahead(database.session, now=LATER + HOUR) == parents
    assert database.value(PARTITIONS, "job_history_failed_2030050_") == 9


def test_the_day_is_that_of_utc(database: Database) -> None:
    berlin = LATER.astimezone(timezone(timedelta(hours=2)))
    assert partitions.today(database.session, berlin) == LATER.date()
    assert partitions.today(database.session) == database.value("SELECT (now() AT TIME ZONE 'UTC')::date")


def test_rows_that_came_too_early_are_moved_to_their_day(database: Database) -> None:
    enqueue(database.session, new())
    (job,) = claim(database.session)
    finish(database.session, job, "succeeded", "succeeded", finished_at=LATER)
    place = "SELECT tableoid::regclass::text FROM pqclock."
    assert database.value(place + "job_history") == "pqclock.job_history_succeeded_default"
    partitions.create_ahead(database.session, now=LATER)
    assert database.value(place + "job_history") == "pqclock.job_history_succeeded_20300501"
    assert database.value(place + "attempt") == "pqclock.attempt_succeeded_20300501"
    assert jobs.result(database.session, job.id) == jobs.JobResult(job.id, "succeeded", None, None)


def test_outlived_days_are_dropped_and_the_last_kept_day_is_not(database: Database) -> None:
    partitions.create_ahead(database.session, now=LATER)
    kept_to = LATER + partitions.KEEP
    assert partitions.drop_outlived(database.session, now=kept_to - 9 * DAY) == 0 + earlier(database)
    assert partitions.drop_outlived(database.session, now=kept_to) == 0
    assert partitions.drop_outlived(database.session, now=kept_to + DAY) == 11
    assert database.value(PARTITIONS, "tick_20300501") == 0
    assert database.value(PARTITIONS, "tick_20300502") == 1
    assert database.value(PARTITIONS, "%_default") == 11


def earlier(database: Database) -> int:
    """How many daily partitions the migration itself had made."""
    return 8 * 11


def test_housekeeping_gives_way_to_whoever_holds_a_table(database: Database) -> None:
    keeper = database.connect("partitions")
    with database.session.transaction():
        database.session.conn.execute("LOCK TABLE pqclock.tick IN ACCESS SHARE MODE")
        database.session.conn.execute("LOCK TABLE pqclock.attempt_crashed_default IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            partitions.maintain(keeper, now=LATER)
    made, dropped = partitions.maintain(keeper, now=LATER)
    assert made > 0
    assert dropped == 8 * 11
    keeper.close()
