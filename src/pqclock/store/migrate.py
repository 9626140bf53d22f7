"""Bring the schema to the version of this code: numbered files, applied once each, in order, under one lock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from psycopg import errors, sql

from pqclock.errors import Refused
from pqclock.store import partitions
from pqclock.store.database import Session, in_schema

# The newest migration whose schema still serves code that expects an older one; raised by a change that breaks it.
SERVES_FROM = 7

# A migration may wait for another one, and be long, also on a connection with narrow limits.
_LIMITS = b"""
SELECT set_config('lock_timeout', '30s', true), set_config('statement_timeout', '0', true),
       set_config('idle_in_transaction_session_timeout', '0', true)
"""

_SCHEMA = "CREATE SCHEMA IF NOT EXISTS {schema};\n"
_BOOTSTRAP = """\
CREATE TABLE IF NOT EXISTS {schema}.migration (
    number       integer PRIMARY KEY,
    name         text NOT NULL,
    checksum     text NOT NULL,
    serves_from  integer NOT NULL,
    applied_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""

_PARTITIONS = """\
-- The partitions of the coming week; the clock makes the later ones.
SELECT {schema}.create_day_partition(w.parent, w.instant, w.day)
FROM {schema}.wanted_partitions((now() AT TIME ZONE 'UTC')::date, (now() AT TIME ZONE 'UTC')::date + 7) AS w;
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file; `text` still has its marks for schema and channel."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, hex: tells when an applied file was changed afterwards."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations of this code, in order."""
    folder = files(__package__).joinpath("migrations")
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return tuple(
        Migration(int(entry.name[:4]), entry.name[5:-4], entry.read_text(encoding="utf-8"))
        for entry in sorted(found, key=lambda entry: entry.name)
    )


def expected_version() -> int:
    """The schema version that this code is written for."""
    return migrations()[-1].number


def applied(session: Session) -> dict[int, tuple[str, int]]:
    """Number -> (checksum, serves_from) of what the database has; empty when it has no schema of ours."""
    statement = sql.SQL("SELECT number, checksum, serves_from FROM {}.migration ORDER BY number")
    try:
        rows = session.conn.execute(statement.format(sql.Identifier(session.schema))).fetchall()
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        return {}
    return {number: (checksum, serves_from) for number, checksum, serves_from in rows}


def pending(session: Session) -> list[Migration]:
    """The migrations that the database lacks."""
    have = applied(session)
    return [migration for migration in migrations() if migration.number not in have]


def migrate(session: Session, on_step: Callable[[Migration, int, int], None] | None = None) -> list[Migration]:
    """Apply what is missing, in one transaction under one lock; gives the migrations applied.

    `on_step` is called before each of them, with its place and how many there are. Raises Refused when an applied file was
    changed afterwards, or the database is newer than this code.
    """
    with session.transaction():
        session.conn.execute(_LIMITS)
        session.conn.execute(
            "SELECT pg_advisory_xact_lock(hashtext('pqclock migrate'), hashtext(%s))", [session.schema]
        )
        _become_owner(session)
        session.conn.execute(in_schema(_BOOTSTRAP, session.schema).encode())
        _check_history(session)
        todo = pending(session)
        for number, migration in enumerate(todo):
            if on_step is not None:
                on_step(migration, number, len(todo))
            session.conn.execute(in_schema(migration.text, session.schema).encode())
            _record(session, migration)
        if todo:
            partitions.create_ahead(session)
    return todo


def script(schema: str) -> str:
    """The whole schema as one SQL script, for people who apply it by other means; needs no connection."""
    parts = ["BEGIN;", in_schema(_SCHEMA + _BOOTSTRAP, schema)]
    for migration in migrations():
        record = (
            sql.SQL("INSERT INTO {}.migration (number, name, checksum, serves_from) VALUES ({}, {}, {}, {});")
            .format(sql.Identifier(schema), migration.number, migration.name, migration.checksum, SERVES_FROM)
            .as_string(None)
        )
        parts += [f"-- {migration.number:04} {migration.name}", in_schema(migration.text, schema), record]
    return "\n".join([*parts, in_schema(_PARTITIONS, schema), "COMMIT;"])


def check_schema(session: Session) -> None:
    """Refuse to run on a schema that is too old or too new for this code."""
    have = applied(session)
    expected = expected_version()
    where = _place(session)
    if not have:
        raise Refused(f"{where} has no tables of pqclock yet: run `pqclock migrate`")
    _refuse_newer(session, have)
    # Not only the newest counts: what another branch has added does not stand for what this code needs.
    if not have.keys() >= {migration.number for migration in migrations()}:
        raise Refused(f"{where} is at version {max(have)}, this pqclock needs {expected}: run `pqclock migrate`")


def _become_owner(session: Session) -> None:
    """Make the schema, or for this transaction become the role that owns it: what is made then belongs to that role."""
    owner = "SELECT nspowner::regrole, pg_has_role(nspowner, 'MEMBER') FROM pg_namespace WHERE nspname = %s"
    row = session.conn.execute(owner, [session.schema]).fetchone()
    if row is None:
        session.conn.execute(in_schema(_SCHEMA, session.schema).encode())
        return
    name, is_member = row
    if not is_member:
        raise Refused(
            f"{_place(session)} belongs to the role {name}, and role {session.conn.info.user} is not a member of it: migrate "
            f"as its owner, or as a role that `pqclock grants` made a migrator"
        )
    # Quoted already where it has to be.
    session.conn.execute(b"SET LOCAL ROLE " + str(name).encode())


def _place(session: Session) -> str:
    return f"schema {session.schema!r} of database {session.conn.info.dbname!r}"


def _refuse_newer(session: Session, have: dict[int, tuple[str, int]]) -> None:
    """A newer schema says from which version of the code on it serves."""
    expected = expected_version()
    if have and have[max(have)][1] > expected:
        raise Refused(
            f"{_place(session)} is at version {max(have)}, too new for this pqclock ({expected}): upgrade pqclock"
        )


def _check_history(session: Session) -> None:
    have = applied(session)
    _refuse_newer(session, have)
    known = {migration.number: migration for migration in migrations()}
    for number, (checksum, _) in have.items():
        if number in known and known[number].checksum != checksum:
            raise Refused(
                f"migration {number:04} {known[number].name} of schema {session.schema!r} was applied with other "
                f"contents than this pqclock has: use the version that applied it, or a new schema (PQCLOCK_SCHEMA)"
            )


def _record(session: Session, migration: Migration) -> None:
    statement = sql.SQL("INSERT INTO {}.migration (number, name, checksum, serves_from) VALUES (%s, %s, %s, %s)")
    session.conn.execute(
        statement.format(sql.Identifier(session.schema)),
        [migration.number, migration.name, migration.checksum, SERVES_FROM],
    )
