"""Clocks behind poolers: refused where sessions are shared, and let in where they are not and somebody says so."""

from __future__ import annotations

import signal

import pytest

from conftest import Database
from pqclock.cli.children import clock_child
from pqclock.errors import Refused
from pqclock.settings import Settings
from pqclock.store import leadership, poolers
from pqclock.store.database import connect
from processes.bouncer import BINARY, Bouncer
from processes.fleet import Fleet, eventually
from processes.pooler import Pooler
from processes.test_clocks import EVERY_SECOND, check_ledger, leader, new_leader

real = pytest.mark.skipif(BINARY is None, reason="this machine has no pgbouncer: install it to run this test")

ALLOWED = {"PQCLOCK_ALLOW_SESSION_POOLER": "1"}


@real
def test_two_clocks_through_pgbouncer_in_transaction_mode_both_refuse(fleet: Fleet, database: Database) -> None:
    with Bouncer(database.url, "transaction") as bouncer:
        clocks = [fleet.start("clock", PQCLOCK_DATABASE_URL=bouncer.url) for _ in range(2)]
        assert [clock.wait(10) for clock in clocks] == [4, 4]
    for clock in clocks:
        assert "PQCLOCK_CLOCK_DATABASE_URL" in fleet.log_of(clock)
        assert "--allow-session-pooler" in fleet.log_of(clock)


@real
@pytest.mark.parametrize("pool_size", [1, 5])
def test_pgbouncer_in_transaction_mode_is_found_out_also_when_it_is_said_to_be_in_session_mode(
    fleet: Fleet, database: Database, pool_size: int
) -> None:
    with Bouncer(database.url, "transaction", pool_size) as bouncer:
        clock = fleet.start("clock", "--allow-session-pooler", PQCLOCK_DATABASE_URL=bouncer.url)
        assert clock.wait(10) == 4
    assert "the pooler is not in session mode" in fleet.log_of(clock)
    assert "PQCLOCK_CLOCK_DATABASE_URL" in fleet.log_of(clock)
    assert database.value("SELECT epoch FROM pqclock.leader") == 0


@real
def test_clocks_lead_and_follow_through_pgbouncer_in_session_mode(fleet: Fleet, database: Database) -> None:
    fleet.schedules(EVERY_SECOND)
    with Bouncer(database.url, "session", 20) as bouncer:
        first = fleet.start("clock", "--log-format", "json", PQCLOCK_DATABASE_URL=bouncer.url, **ALLOWED)
        pid, epoch = eventually(lambda: leader(database))
        assert pid == first.pid
        assert fleet.log_of(first).count("the clock connects through a pooler") == 1
        begun = database.value("SELECT clock_timestamp()")
        second = fleet.start("clock", "--log-format", "json", PQCLOCK_DATABASE_URL=bouncer.url, **ALLOWED)
        eventually(lambda: "standing by" in fleet.log_of(second))
        first.send_signal(signal.SIGKILL)
        assert eventually(lambda: new_leader(database, epoch))[0] == second.pid
        eventually(lambda: database.value("SELECT clock_timestamp() > %s + interval '3 s'", begun))
        check_ledger(database, begun)  # type: ignore[arg-type]
        second.terminate()
        assert second.wait(5) == 0
        eventually(lambda: leadership.holder(database.session) is None)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_supervisor_hands_the_permission_on_to_its_clock(allowed: bool) -> None:
    child = clock_child(Settings(allow_session_pooler=allowed))
    assert ("--allow-session-pooler" in child.command) is allowed


@real
def test_a_session_pool_with_no_room_for_the_probe_is_let_in(database: Database) -> None:
    with Bouncer(database.url, "session", 1) as bouncer:
        session = leadership.connect_direct(bouncer.url, "pqclock", "clock", allow_session_pooler=True)
        assert leadership.try_lock(session)
        session.close()


def test_a_pooler_that_says_another_server_process_is_refused_unless_it_is_allowed(database: Database) -> None:
    with Pooler(database.url) as pooler:
        with pytest.raises(Refused, match=r"PQCLOCK_CLOCK_DATABASE_URL.*--allow-session-pooler"):
            leadership.connect_direct(pooler.url, "pqclock", "clock")
        session = leadership.connect_direct(pooler.url, "pqclock", "clock", allow_session_pooler=True)
        assert leadership.try_lock(session)
        epoch = leadership.elect(session, 1)
        assert leadership.beat(session, epoch) is not None
        session.close()


@pytest.mark.parametrize(
    ("happening", "words"),
    [("shared", "at the same time"), ("moved", "changed from"), ("reset", "was lost")],
)
def test_each_sign_of_a_shared_session_is_named(
    database: Database, monkeypatch: pytest.MonkeyPatch, happening: str, words: str
) -> None:
    session = connect(database.url, "pqclock", "clock", prepare_threshold=None)
    here = session.conn.info.backend_pid
    if happening == "shared":
        monkeypatch.setattr(poolers, "_backend_of_another", lambda _: here)
    elif happening == "moved":
        monkeypatch.setattr(poolers, "backend_pid", lambda _: -here)
    else:
        monkeypatch.setattr(poolers, "_backend_of_another", lambda _: session.conn.execute("DISCARD ALL").rowcount)
    with pytest.raises(Refused, match=words):
        poolers.refuse_unless_stable(session, database.url, allow=True)
    session.close()


def test_a_session_that_is_moved_to_another_server_process_ends_the_term(database: Database) -> None:
    session, other = database.connect("clock"), database.connect("clock")
    epoch = leadership.elect(session, 1)
    assert leadership.beat(session, epoch) is not None
    assert leadership.beat(other, epoch) is None
    session.close()
    other.close()
