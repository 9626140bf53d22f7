"""Django: a database by its connection or by its alias."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any

from pqclock.errors import ArgumentError
from pqclock.store.callers.base import Params, Rows, refused


class OnDatabase:
    """This thread's connection to one of the DATABASES of the settings."""

    def __init__(self, conn: Any) -> None:
        if conn.vendor != "postgresql":
            raise refused(conn, f"leads to {conn.vendor}: jobs can only be put into PostgreSQL")
        if conn.closed_in_transaction:
            raise refused(conn, "was closed in its transaction: leave the atomic block first")
        self._conn = conn

    @classmethod
    def of_alias(cls, alias: str) -> OnDatabase:
        """By the alias in DATABASES; raises ArgumentError for one that is not there."""
        db = sys.modules.get("django.db")
        if db is None:
            raise ArgumentError(
                f"conn is the text {alias!r:.60}, which would name a database of Django, and Django is not used here"
            )
        if alias not in db.connections:
            raise ArgumentError(
                f"conn {alias!r:.60} is no database of Django's settings: there are {', '.join(db.connections)}"
            )
        return cls(db.connections[alias])

    def run(self, text: bytes, params: Params) -> Rows:
        """Execute a statement and give its rows."""
        from django.db.transaction import TransactionManagementError

        try:
            with self._conn.cursor() as cursor:
                cursor.execute(text.decode(), params)
                rows: Rows = cursor.fetchall() if cursor.description else ()
                return rows
        except TransactionManagementError as error:
            raise refused(self._conn, "is in a transaction that has failed: leave the atomic block first") from error

    def block(self) -> AbstractContextManager[Any]:
        """A savepoint, or a transaction if there is none."""
        from django.db.transaction import atomic

        block: AbstractContextManager[Any] = atomic(using=self._conn.alias)
        return block
