"""The schema as PostgreSQL describes it: the contract's views, and the same schema on every way to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pqclock.store import migrate
from pqclock.store.database import Session, connect

if TYPE_CHECKING:
    from conftest import Database

VIEWS = {
    "jobs": "id state queue task args result priority labels run_at attempt max_attempts unique_key schedule_key tick "
    "created_at started_at finished_at error worker_id",
    "ticks": "schedule_key tick through count nominal outcome reason origin job_id inserted_at",
    "schedules": "key source state cron every timezone task queue next_tick watermark paused_until note",
    "gates": "rule kind key state running waiting opens_at",
    "queues": "queue paused_until note scheduled ready running oldest_ready_at",
    "processes": "id kind pid host leader epoch started_at beat_at",
}

# Each line is one object of the schema, as text; daily partitions depend on the day and are left out.
DESCRIPTION = """
SELECT concat_ws(' ', 'column', c.relname, c.relkind, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
                 a.attnotnull, pg_get_expr(d.adbin, d.adrelid), c.reloptions)
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind <> 'i' AND c.relname !~ '[0-9]{8}'
UNION ALL SELECT 'index ' || pg_get_indexdef(c.oid)
FROM pg_class AS c WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('i', 'I') AND c.relname !~ '[0-9]{8}'
UNION ALL SELECT concat_ws(' ', 'constraint', r.relname, k.conname, pg_get_constraintdef(k.oid))
FROM pg_constraint AS k LEFT JOIN pg_class AS r ON r.oid = k.conrelid
WHERE k.connamespace = %(schema)s::regnamespace AND coalesce(r.relname, '') !~ '[0-9]{8}'
UNION ALL SELECT concat_ws(' ', 'view', viewname, definition) FROM pg_views WHERE schemaname = %(schema)s::text
UNION ALL SELECT 'function ' || pg_get_functiondef(p.oid)
FROM pg_proc AS p WHERE p.pronamespace = %(schema)s::regnamespace
UNION ALL SELECT concat_ws(' ', 'enum', t.typname, e.enumlabel, e.enumsortorder)
FROM pg_enum AS e JOIN pg_type AS t ON t.oid = e.enumtypid WHERE t.typnamespace = %(schema)s::regnamespace
ORDER BY 1
"""


def described(session: Session) -> Sequence[str]:
    """The schema's objects, with its name and channel taken out."""
    rows = session.conn.execute(DESCRIPTION, {"schema": session.schema}).fetchall()
    return [re.sub(rf"\b{session.schema}\b", "SCHEMA", text) for (text,) in rows]


def hold_to_invariants(session: Session) -> None:
    """What the tests' databases have beyond what is shipped."""
    text = (Path(__file__).parent / "invariants.sql").read_text()
    session.conn.execute(text.replace("pqclock.", f"{session.schema}.").encode())


def test_the_public_views_have_the_columns_of_the_contract(database: Database) -> None:
    found = database.rows(
        "SELECT table_name::text, string_agg(column_name, ' ' ORDER BY ordinal_position) FROM information_schema.columns "
        "JOIN information_schema.views USING (table_schema, table_name) WHERE table_schema = 'pqclock' GROUP BY 1"
    )
    assert sorted(row for row in found if row[0] not in ("tick_defaults", "gate_states", "schedule_faults")) == sorted(
        VIEWS.items()
    )


def test_the_script_makes_the_schema_that_migrate_makes(database: Database, empty_url: str) -> None:
    with closing(connect(empty_url, "pqclock", "test")) as by_script:
        by_script.conn.execute(migrate.script("pqclock").encode())
        hold_to_invariants(by_script)
        migrate.check_schema(by_script)
        assert migrate.migrate(by_script) == []
        assert described(by_script) == described(database.session)
        assert migrate.applied(by_script) == migrate.applied(database.session)


def test_another_name_for_the_schema_makes_the_same_schema(database: Database, empty_url: str) -> None:
    with closing(connect(empty_url, "other_one", "test")) as other:
        migrate.migrate(other)
        hold_to_invariants(other)
        assert described(other) == described(database.session)
        assert other.conn.execute("SELECT to_regnamespace('pqclock')").fetchone() == (None,)
