"""Daily partitions of the ledger, the history and the attempts: made ahead, dropped when their time is over."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from pqclock.store.database import Session

AHEAD = timedelta(days=7)
KEEP = timedelta(days=90)
# Housekeeping gives way: it waits this long for a lock, and comes back another time.
LOCK_TIMEOUT = "200ms"


def today(session: Session, now: datetime | None = None) -> date:
    """The date in UTC by the database's clock."""
    if now is not None:
        return now.date()
    row = session.conn.execute("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date").fetchone()
    assert row is not None
    result: date = row[0]
    return result


def maintain(session: Session, now: datetime | None = None) -> tuple[int, int]:
    """Make the partitions of the coming week and drop those past their time; gives (made, dropped).

    Raises psycopg.errors.LockNotAvailable when somebody holds one of the tables: try again later.
    """
    day = today(session, now)
    session.conn.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
    made = session.run("partitions.create", first=day, last=day + AHEAD).fetchone()
    dropped = session.run("partitions.drop", keep_from=day - KEEP).fetchone()
    assert made is not None and dropped is not None
    return made[0], dropped[0]
