"""The schema's versions: applied once, in order, by one at a time, and checked before use."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from pqclock.errors import Refused
from pqclock.store import migrate
from pqclock.store.database import Session, connect


@pytest.fixture
def empty(empty_url: str) -> Iterator[Session]:
    """A session on a database without any tables."""
    session = connect(empty_url, "pqclock", "test")
    yield session
    session.close()


NUMBERS = [migration.number for migration in migrate.migrations()]


def test_migrations_are_numbered_without_a_hole() -> None:
    assert list(range(1, len(NUMBERS) + 1)) == NUMBERS
    assert migrate.expected_version() == NUMBERS[-1]


def test_everything_is_applied_from_nothing_and_nothing_twice(empty: Session) -> None:
    assert migrate.applied(empty) == {}
    assert [migration.number for migration in migrate.pending(empty)] == NUMBERS
    assert [migration.number for migration in migrate.migrate(empty)] == NUMBERS
    assert migrate.migrate(empty) == []
    assert list(migrate.applied(empty)) == NUMBERS
    migrate.check_schema(empty)


def test_two_at_once_take_turns(empty_url: str) -> None:
    def migrate_one(_: int) -> int:
        session = connect(empty_url, "pqclock", "test")
        try:
            return len(migrate.migrate(session))
        finally:
            session.close()

    with ThreadPoolExecutor(3) as threads:
        assert sorted(threads.map(migrate_one, range(3))) == [0, 0, len(NUMBERS)]


def test_a_failed_migration_leaves_nothing_behind(empty: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    good = migrate.migrations()
    broken = (*good[:2], replace(good[2], text="CREATE TABLE {schema}.half (id int); SELECT 1/0"))
    monkeypatch.setattr(migrate, "migrations", lambda: broken)
    with pytest.raises(Exception, match="division by zero"):
        migrate.migrate(empty)
    assert migrate.applied(empty) == {}
    assert empty.conn.execute("SELECT to_regnamespace('pqclock')").fetchone() == (None,)


def test_a_schema_that_is_missing_or_too_old_is_refused(empty: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match="has no tables of pqclock yet: run `pqclock migrate`"):
        migrate.check_schema(empty)
    migrate.migrate(empty)
    known = migrate.migrations()
    later = replace(known[-1], number=99, text="CREATE TABLE {schema}.later (id int)")
    monkeypatch.setattr(migrate, "migrations", lambda: (*known, later))
    with pytest.raises(Refused, match=f"is at version {NUMBERS[-1]}, this pqclock needs 99: run `pqclock migrate`"):
        migrate.check_schema(empty)
    assert migrate.migrate(empty) == [later]
    migrate.check_schema(empty)


def test_a_schema_that_is_newer_serves_older_code_until_it_says_otherwise(empty: Session) -> None:
    migrate.migrate(empty)
    record = "INSERT INTO pqclock.migration (number, name, checksum, serves_from) VALUES (99, 'later', '', %s)"
    empty.conn.execute(record, [NUMBERS[-1]])
    migrate.check_schema(empty)
    assert migrate.migrate(empty) == []
    empty.conn.execute("UPDATE pqclock.migration SET serves_from = 99 WHERE number = 99")
    for refuse in (migrate.check_schema, migrate.migrate):
        with pytest.raises(Refused, match="is at version 99, too new for this pqclock"):
            refuse(empty)


def test_an_applied_file_that_was_changed_is_refused(empty: Session) -> None:
    migrate.migrate(empty)
    empty.conn.execute("UPDATE pqclock.migration SET checksum = 'other' WHERE number = 2")
    with pytest.raises(Refused, match="migration 0002 schedules of schema 'pqclock' was applied with other contents"):
        migrate.migrate(empty)
