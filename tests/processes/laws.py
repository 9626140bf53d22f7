"""The laws of the ledger, as questions to the database that have no answer while they hold.

They are asked of schedules that tick every second or once, whatever was done to the clocks meanwhile.
"""

from __future__ import annotations

from datetime import datetime

from pqclock.store.database import Session

LAWS = {
    # Every second of every schedule since it was put is a row of the ledger, or inside one that says why not.
    "unaccounted": """
        SELECT s.key, second FROM pqclock.schedule AS s
        CROSS JOIN LATERAL generate_series(
            coalesce((s.definition ->> 'at')::timestamptz,
                     date_trunc('second', greatest(s.created_at, %(since)s)) + interval '1 s'),
            least((s.definition ->> 'at')::timestamptz, %(until)s), '1 s') AS second
        WHERE s.state = 'active' AND second <= %(until)s
          AND NOT EXISTS (
            SELECT 1 FROM pqclock.tick AS t
            WHERE t.schedule_id = s.id AND t.tick = second AND (t.outcome = 'inserted' OR t.reason IS NOT NULL))
          AND NOT EXISTS (
            SELECT 1 FROM pqclock.tick AS t
            WHERE t.schedule_id = s.id AND t.through > t.tick AND t.reason IS NOT NULL
              AND second BETWEEN t.tick AND t.through)""",
    # A tick that was inserted has its job, alive or ended, ...
    "lost": """
        SELECT t.schedule_key, t.tick FROM pqclock.ticks AS t
        WHERE t.outcome = 'inserted' AND NOT EXISTS (
            SELECT 1 FROM pqclock.jobs AS j
            WHERE j.id = t.job_id AND j.schedule_key = t.schedule_key AND j.tick = t.tick)""",
    # ... and no second one, ...
    "doubled": """
        SELECT schedule_key, tick FROM pqclock.jobs WHERE tick IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1""",
    # ... no job of a tick came in beside the ledger, ...
    "unknown": """
        SELECT j.schedule_key, j.tick FROM pqclock.jobs AS j
        WHERE j.tick IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM pqclock.ticks AS t
            WHERE t.schedule_key = j.schedule_key AND t.tick = j.tick AND t.outcome = 'inserted' AND t.job_id = j.id)""",
    # ... and each ended once.
    "ended twice": "SELECT id, count(*) FROM pqclock.jobs GROUP BY id HAVING count(*) > 1",
}


def broken(
    session: Session, since: datetime | None = None, until: datetime | None = None
) -> dict[str, list[tuple[object, ...]]]:
    """What breaks a law, by its name: nothing if all is well; ticks count between the two instants."""
    with session.transaction():
        # One picture of ledger and jobs, while clocks and workers go on.
        session.conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        (now,) = session.conn.execute("SELECT clock_timestamp()").fetchone() or (None,)
        span = {"since": since or datetime.fromisoformat("2000-01-01T00:00Z"), "until": until or now}
        found = {law: session.conn.execute(statement.encode(), span).fetchall() for law, statement in LAWS.items()}
    return {law: rows for law, rows in found.items() if rows}
