"""Connect to PostgreSQL, and run the named statements of the `.sql` files beside this module."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow, class_row

from pqclock.errors import ArgumentError, DatabaseUnreachable, SettingsError
from pqclock.store import forking

Row = TypeVar("Row")

# What the floors above may have to catch, under names that do not depend on the driver.
DatabaseError = psycopg.Error
CONNECTION_LOST = (psycopg.OperationalError, psycopg.InterfaceError, DatabaseUnreachable)
STATEMENT_TOO_LONG = psycopg.errors.QueryCanceled
# A transaction of somebody else holds what a statement needs.
IN_THE_WAY = psycopg.errors.LockNotAvailable
# What the database does not take, or cannot be sent to it, such as text without an encoding: it would fail again.
UNWRITABLE = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    ArgumentError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
)
# Somebody else was in the way: the same statement may succeed a moment later, on the same connection.
TRY_AGAIN = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    IN_THE_WAY,
    STATEMENT_TOO_LONG,
)


def sentence(error: BaseException) -> str:
    """An error on one line; what the database says of its own code is left out."""
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return " ".join((said or str(error)).split())


# What a server, a database or a role may have set otherwise, and our statements rely on.
SESSION_DEFAULTS = b"""
SELECT set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO, MDY', false),
       set_config('IntervalStyle', 'postgres', false), set_config('default_transaction_isolation', 'read committed', false),
       set_config('jit', 'off', false)
"""

_NAME_LINE = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")

# A dead peer is noticed within about 10 s instead of the kernel's two hours.
_CLIENT_KEEPALIVES = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 6000,
}


class Session:
    """One autocommit connection, and the schema in which it works."""

    def __init__(self, conn: psycopg.Connection[TupleRow], schema: str) -> None:
        self.conn = conn
        self.schema = schema

    def run(self, statement: str, **params: Any) -> psycopg.Cursor[TupleRow]:
        """Execute the statement named `subject.verb` and return its cursor."""
        return self.conn.execute(query(statement, self.schema), params or None)

    def read(self, statement: str, **params: Any) -> list[TupleRow]:
        """Execute a statement with many rows, which come in the form that is read soonest."""
        return self.conn.execute(query(statement, self.schema), params or None, binary=True).fetchall()

    def fetch(self, row: type[Row], statement: str, **params: Any) -> list[Row]:
        """Execute a statement whose columns are the fields of `row`."""
        with self.conn.cursor(row_factory=class_row(row)) as cursor:
            return cursor.execute(query(statement, self.schema), params or None).fetchall()

    def copy_in(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Send rows to the COPY statement named `subject.verb`; never on the connection that holds the leader's lock.

        A COPY that stalls is not covered by the timeouts of a session.
        """
        with self.conn.cursor() as cursor, cursor.copy(query(statement, self.schema)) as copy:
            for row in rows:
                copy.write_row(row)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several statements that are written together or not at all."""
        with self.conn.transaction():
            yield

    def close(self) -> None:
        """End the session on the server as well; its locks are free then."""
        self.conn.close()


def connect(url: str, schema: str, role: str, **parameters: Any) -> Session:
    """Open a session of our own; `role` shows in pg_stat_activity as `pqclock ROLE`.

    Raises DatabaseUnreachable with the server's own words.
    """
    try:
        conn = psycopg.connect(clean_url(url), autocommit=True, **connection_parameters(role), **parameters)
        forking.remember(conn)
        conn.execute(SESSION_DEFAULTS)
    except psycopg.OperationalError as error:
        raise unreachable(url, error) from error
    except psycopg.ProgrammingError as error:
        raise SettingsError([f"the database address cannot be read: {error}"]) from error
    return Session(conn, schema)


def connection_parameters(role: str) -> dict[str, Any]:
    """What every connection of ours sets, whoever opens it."""
    return {"application_name": f"pqclock {role}", **_CLIENT_KEEPALIVES}


def clean_url(url: str) -> str:
    """The address as libpq reads it: SQLAlchemy's driver part (`postgresql+psycopg://`) is taken out."""
    return re.sub(r"^(postgres(?:ql)?)\+\w+://", r"\1://", url)


def describe_url(url: str) -> str:
    """Where an address leads, for messages: never with a password."""
    try:
        info = psycopg.conninfo.conninfo_to_dict(clean_url(url))
    except psycopg.ProgrammingError:
        return "an address that cannot be read"
    host = info.get("host") or info.get("hostaddr") or "the local server"
    port = f":{info['port']}" if info.get("port") else ""
    return f"{host}{port}/{info.get('dbname') or ''}".rstrip("/")


def unreachable(url: str, error: BaseException) -> DatabaseUnreachable:
    """The sentence for a connection that could not be made."""
    reason = " ".join(str(error).split())
    return DatabaseUnreachable(
        f"PostgreSQL at {describe_url(url)} cannot be reached ({reason}): check that it runs, "
        f"and the address in PQCLOCK_DATABASE_URL or --database-url"
    )


def check_schema_name(schema: str) -> str:
    """The name of the schema, or SettingsError; it becomes part of SQL, of the channel and of the lock key."""
    if not _SCHEMA_NAME.fullmatch(schema) or schema.startswith("pg_"):
        raise SettingsError(
            [
                f"schema {schema[:60]!r} is not a name for a schema: use up to 40 of a-z, 0-9 and _, not starting with pg_"
            ]
        )
    return schema


@cache
def query(statement: str, schema: str) -> bytes:
    """The text of the statement named `subject.verb`, for this schema."""
    subject, verb = statement.split(".")
    return _statements(subject, schema)[verb]


@cache
def _statements(subject: str, schema: str) -> dict[str, bytes]:
    text = files(__package__).joinpath(f"{subject}.sql").read_text(encoding="utf-8")
    parts = _NAME_LINE.split(text)[1:]
    return {name: in_schema(body, schema).strip().encode() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def in_schema(text: str, schema: str) -> str:
    """SQL text with its two marks filled in: the quoted schema, and the channel as a literal."""
    ident = sql.Identifier(check_schema_name(schema)).as_string(None)
    return text.replace("{schema}", ident).replace("{channel}", sql.Literal(schema).as_string(None))
