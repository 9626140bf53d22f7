"""One lock, one term."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pqclock.store import leadership
from pqclock.store.database import Session, connect
from pqclock.store.listening import hear, listen
from store.deadlines import eventually
from store.samples import NOW, SECOND

if TYPE_CHECKING:
    from conftest import Database


def test_one_session_holds_the_lock_until_it_closes(database: Database) -> None:
    first, second = database.connect("clock"), database.connect("clock")
    assert leadership.try_lock(first)
    assert not leadership.try_lock(second)
    holder = leadership.holder(database.session)
    assert holder is not None
    assert (holder.pid, holder.application_name) == (first.conn.info.backend_pid, "pqclock clock")
    first.close()
    assert eventually(lambda: leadership.try_lock(second))
    second.close()
    assert eventually(lambda: leadership.holder(database.session) is None)


def test_each_schema_has_a_lock_of_its_own(database: Database) -> None:
    other = connect(database.url, "other_one", "clock")
    assert leadership.try_lock(database.session)
    assert leadership.try_lock(other)
    assert leadership.holder(database.session) != leadership.holder(other)
    other.close()


def test_a_term_raises_the_epoch_and_ends_the_one_before(database: Database) -> None:
    session = database.session
    first = leadership.elect(session, 7, now=NOW)
    assert leadership.beat(session, first, now=NOW + SECOND) == NOW + SECOND
    second = leadership.elect(session, 8, now=NOW + 2 * SECOND)
    assert second == first + 1
    assert leadership.beat(session, first, now=NOW + 3 * SECOND) is None
    assert database.rows("SELECT epoch, process_id, elected_at, beat_at FROM pqclock.leader") == [
        (second, 8, NOW + 2 * SECOND, NOW + 2 * SECOND)
    ]


def test_who_resigns_frees_the_lock_and_wakes_the_standbys(database: Database) -> None:
    leader = database.connect("clock")
    listen(database.session)
    assert leadership.try_lock(leader)
    leadership.resign(leader, leadership.elect(leader, 7, now=NOW))
    assert eventually(lambda: leadership.try_lock(database.session))
    assert hear(database.session) == ["resigned"]
    assert database.value("SELECT process_id FROM pqclock.leader") is None


def test_an_earlier_leader_does_not_resign_for_its_successor(database: Database) -> None:
    old = database.connect("clock")
    epoch = leadership.elect(old, 7, now=NOW)
    leadership.elect(database.session, 8, now=NOW)
    leadership.resign(old, epoch)
    assert database.value("SELECT process_id FROM pqclock.leader") == 8


def test_the_clocks_own_connection_is_watched_by_the_server(database: Database) -> None:
    session = leadership.connect_direct(database.url, "pqclock", "clock")
    shown = {name: setting(session, name) for name in ("idle_session_timeout", "statement_timeout", "lock_timeout")}
    assert shown == {"idle_session_timeout": "6s", "statement_timeout": "5s", "lock_timeout": "2s"}
    session.close()


def setting(session: Session, name: str) -> object:
    row = session.conn.execute("SELECT current_setting(%s)", [name]).fetchone()
    return row and row[0]
