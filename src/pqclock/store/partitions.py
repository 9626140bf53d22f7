"""Daily partitions of the ledger, the history and the attempts: made ahead, dropped when their time is over."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from psycopg import sql

from pqclock.rules.retention import DEFAULT, Keep, partitions_kept
from pqclock.store.database import Session

AHEAD = timedelta(days=7)
# What lies in no daily partition is taken out of the history by so many rows at a time: it came while no clock led.
STRAYS = 10_000
# Housekeeping gives way: it waits this long for a lock, and comes back another time.
LOCK_TIMEOUT = "200ms"


def today(session: Session, now: datetime | None = None) -> date:
    """The date in UTC by the database's clock."""
    if now is not None:
        return now.astimezone(UTC).date()
    row = session.conn.execute("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date").fetchone()
    assert row is not None
    result: date = row[0]
    return result


def create_ahead(session: Session, now: datetime | None = None) -> int:
    """Make the missing partitions from today to a week ahead, each in a short transaction; gives their number."""
    day = today(session, now)
    wanted = session.run("partitions.wanted", first=day, last=day + AHEAD).fetchall()
    for parent, instant, wanted_day in wanted:
        session.run("partitions.create", parent=parent, instant=instant, day=wanted_day)
    return len(wanted)


def drop_outlived(session: Session, now: datetime | None = None, keep: Keep = DEFAULT) -> int:
    """Drop the partitions whose days are over, one by one; gives their number.

    Kinds of partitions that `keep` says nothing of are kept as long as the ledger.
    """
    day = today(session, now)
    lengths = partitions_kept(keep)
    kept = {"parents": list(lengths), "keep_from": [day - length for length in lengths.values()]}
    outlived = session.run("partitions.outlived", **kept, others_from=day - keep["ticks"]).fetchall()
    for (name,) in outlived:
        session.run("partitions.drop", name=name)
    for parent, keep_from in zip(*kept.values(), strict=True):
        # The ledger's are kept: what a forced backfill wrote of older ticks must not be run again.
        if parent != "tick":
            _forget_strays(session, f"{parent}_default", keep_from)
    return len(outlived)


def _forget_strays(session: Session, table: str, keep_from: date) -> None:
    statement = sql.SQL(
        "DELETE FROM {0} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {0} WHERE finished_at < %s LIMIT %s FOR UPDATE SKIP LOCKED))"
    )
    before = datetime.combine(keep_from, time.min, UTC)
    session.conn.execute(statement.format(sql.Identifier(session.schema, table)), [before, STRAYS])


def maintain(session: Session, now: datetime | None = None, keep: Keep = DEFAULT) -> tuple[int, int]:
    """Make the partitions of the coming week and drop those past their time; gives (made, dropped).

    Raises psycopg.errors.LockNotAvailable when somebody holds one of the tables: try again later.
    """
    session.conn.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
    return create_ahead(session, now), drop_outlived(session, now, keep)
