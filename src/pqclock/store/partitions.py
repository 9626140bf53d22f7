"""Daily partitions of the ledger, the history and the attempts: made ahead, dropped when their time is over."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from psycopg import sql

from pqclock.store.database import Session

AHEAD = timedelta(days=7)
KEEP = timedelta(days=90)
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


def drop_outlived(session: Session, now: datetime | None = None) -> int:
    """Drop the partitions whose days are over, one by one; gives their number."""
    outlived = session.run("partitions.outlived", keep_from=today(session, now) - KEEP).fetchall()
    for (name,) in outlived:
        session.conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(session.schema, name)))
    return len(outlived)


def maintain(session: Session, now: datetime | None = None) -> tuple[int, int]:
    """Make the partitions of the coming week and drop those past their time; gives (made, dropped).

    Raises psycopg.errors.LockNotAvailable when somebody holds one of the tables: try again later.
    """
    session.conn.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
    return create_ahead(session, now), drop_outlived(session, now)
