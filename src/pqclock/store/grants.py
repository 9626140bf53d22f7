"""The SQL of the least-privilege roles; printed, never run by pqclock itself."""

from __future__ import annotations

import re
from importlib.resources import files

from psycopg import sql

from pqclock.errors import ArgumentError
from pqclock.store.database import check_schema_name

ROLES = ("owner", "migrator", "clock", "worker", "enqueuer", "reader")
# With the longest of the endings it is still a name for PostgreSQL.
_PREFIX = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,49}", re.ASCII)


def script(schema: str, prefix: str) -> str:
    """SQL that makes the roles and gives them their rights; safe to run again. Raises ArgumentError for a bad prefix."""
    if _PREFIX.fullmatch(prefix) is None:
        raise ArgumentError(
            f"role prefix {prefix!r:.60} is not allowed: use up to 50 of a-z, 0-9 and _, not beginning with a digit or pg_"
        )
    text = files(__package__).joinpath("grants.sql").read_text(encoding="utf-8").split("\n", 1)[1]
    marks = {"schema": sql.Identifier(check_schema_name(schema)), "schema_literal": sql.Literal(f'"{schema}"')}
    marks |= {role: sql.Identifier(f"{prefix}_{role}") for role in ROLES}
    marks |= {"prefix_literal": sql.Literal(prefix), "owner_literal": sql.Literal(f'"{prefix}_owner"')}
    for name, value in marks.items():
        text = text.replace("{" + name + "}", value.as_string(None))
    return text.replace("{prefix}", prefix)
