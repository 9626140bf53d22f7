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

LATER = datetime(2090, 5, 1, 23, 30, tzinfo=NOW.tzinfo)
# The ledger, four outcomes of jobs and six of attempts; and what the migration made for the week after it.
PARENTS = 1 + 4 + 6
MIGRATED = 8 * PARENTS
PARTITIONS = "SELECT count(*) FROM pg_class WHERE relname LIKE %s AND relkind = 'r'"


def test_a_week_ahead_is_made_once(database: Database) -> None:
    assert database.value("SELECT count(*) FROM pg_class WHERE relname ~ '^tick_[0-9]{8}$'") == 8
    assert partitions.create_ahead(database.session, now=LATER) == 8 * PARENTS
    assert partitions.create_ahead(database.session, now=LATER) == 0
    assert partitions.create_ahead(database.session, now=LATER + HOUR) == PARENTS
    assert database.value(PARTITIONS, "job_history_failed_2090050_") == 9


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
    assert database.value(place + "job_history") == "pqclock.job_history_succeeded_20900501"
    assert database.value(place + "attempt") == "pqclock.attempt_succeeded_20900501"
    assert jobs.result(database.session, job.id) == jobs.JobResult(job.id, "succeeded", None, None)


def test_outlived_days_are_dropped_and_the_last_kept_day_is_not(database: Database) -> None:
    partitions.create_ahead(database.session, now=LATER)
    kept_to = LATER + partitions.KEEP
    assert partitions.drop_outlived(database.session, now=kept_to - 9 * DAY) == MIGRATED
    assert partitions.drop_outlived(database.session, now=kept_to) == 0
    assert partitions.drop_outlived(database.session, now=kept_to + DAY) == PARENTS
    assert database.value(PARTITIONS, "tick_20900501") == 0
    assert database.value(PARTITIONS, "tick_20900502") == 1
    assert database.value(PARTITIONS, "%_default") == PARENTS


def test_housekeeping_gives_way_to_whoever_holds_a_table(database: Database) -> None:
    keeper = database.connect("partitions")
    with database.session.transaction():
        database.session.conn.execute("LOCK TABLE pqclock.tick IN ACCESS SHARE MODE")
        database.session.conn.execute("LOCK TABLE pqclock.attempt_crashed_default IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            partitions.maintain(keeper, now=LATER)
    made, dropped = partitions.maintain(keeper, now=LATER)
    assert made > 0
    assert dropped == MIGRATED
    keeper.close()
