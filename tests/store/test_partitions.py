"""Daily partitions: there before they are needed, gone when their time is over, never in anybody's way."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pqclock.rules.job import TERMINAL
from pqclock.rules.retention import parse_keep
from pqclock.store import jobs, partitions
from store.samples import DAY, HOUR, NOW, claim, enqueue, finish, new

if TYPE_CHECKING:
    from conftest import Database

EARLIER = datetime(2020, 5, 1, 23, 30, tzinfo=NOW.tzinfo)
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
    partitions.create_ahead(database.session, now=EARLIER)
    keep = {**parse_keep("ticks:20d"), **dict.fromkeys(TERMINAL, 20 * DAY)}
    kept_to = EARLIER + 20 * DAY
    assert partitions.drop_outlived(database.session, kept_to, keep) == 0
    assert partitions.drop_outlived(database.session, kept_to + DAY, keep) == PARENTS
    assert database.value(PARTITIONS, "tick_20200501") == 0
    assert database.value(PARTITIONS, "tick_20200502") == 1
    assert database.value(PARTITIONS, "%_default") == PARENTS


def test_each_outcome_is_kept_for_a_time_of_its_own(database: Database) -> None:
    partitions.create_ahead(database.session, now=EARLIER - 7 * DAY)
    keep = parse_keep("succeeded:2d;failed:4d;cancelled:3d;discarded:3d;ticks:5d")
    partitions.drop_outlived(database.session, EARLIER, keep)
    rows: Any = database.rows(
        "SELECT left(relname, -9), min(right(relname, 2)) FROM pg_class WHERE relname ~ '_202004[0-9]{2}$' GROUP BY 1"
    )
    assert dict(rows) == {
        "job_history_succeeded": "29", "job_history_failed": "27", "job_history_cancelled": "28", "tick": "26",
        "job_history_discarded": "28", "attempt_succeeded": "29", "attempt_failed": "27", "attempt_crashed": "27",
        "attempt_snoozed": "27", "attempt_interrupted": "27", "attempt_cancelled": "28",
    }  # fmt: skip


def test_the_newest_days_are_dropped_by_nobody(database: Database) -> None:
    partitions.create_ahead(database.session, now=LATER)
    assert partitions.drop_outlived(database.session, now=LATER + 200 * DAY) > 0
    assert database.value(PARTITIONS, "tick_2090%") == 8
    for name in ("job", "tick", "tick_default", "migration", "nothing_20200101"):
        assert database.value("SELECT pqclock.drop_day_partition(%s)", name) is False


def test_what_lies_in_no_daily_partition_goes_when_its_time_is_over(database: Database) -> None:
    enqueue(database.session, new(), new())
    for n, job in enumerate(claim(database.session)):
        finish(database.session, job, "succeeded", "succeeded", finished_at=EARLIER + n * 10 * DAY)
    partitions.drop_outlived(database.session, EARLIER + 10 * DAY)
    assert database.value("SELECT min(finished_at) FROM pqclock.job_history") == EARLIER + 10 * DAY
    assert database.value("SELECT count(*) FROM pqclock.attempt") == 1


def test_housekeeping_gives_way_to_whoever_holds_a_table(database: Database) -> None:
    partitions.create_ahead(database.session, now=EARLIER)
    keeper = database.connect("partitions")
    with database.session.transaction():
        database.session.conn.execute("LOCK TABLE pqclock.tick IN ACCESS SHARE MODE")
        database.session.conn.execute("LOCK TABLE pqclock.attempt_crashed_default IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            partitions.maintain(keeper)
    # The first time it came to those of one kind, by name.
    assert partitions.maintain(keeper) == (0, MIGRATED - 8)
    keeper.close()
