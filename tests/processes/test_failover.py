"""The clock's promises while leaders die, freeze in the middle of a write, and meet what others hold locked."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from conftest import Database
from pqclock.rules.schedule import Schedule
from pqclock.store import runtime, schedules
from processes import laws
from processes.fleet import Fleet, eventually
from processes.soak import main
from processes.test_clocks import leader, new_leader

SECOND = timedelta(seconds=1)
# The leader's session, while its insert waits for a lock; in a transaction of several statements, or in its own.
INSERTING = """
    SELECT pid, xact_start < query_start FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'pqclock clock' AND query LIKE '-- Ledger rows%'
      AND wait_event_type = 'Lock'"""


@contextmanager
def held(database: Database, statement: str, *params: object) -> Iterator[None]:
    """A transaction of somebody else that did something, and stays open."""
    session = database.connect()
    try:
        session.conn.execute("BEGIN")
        session.conn.execute(statement.encode(), params or None)
        yield
    finally:
        session.close()


def test_leaders_that_are_killed_stopped_and_robbed_of_their_server_lose_no_tick_and_double_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = ["--for", "9s", "--schedules", "100", "--kill-every", "1500ms", "--restart-every", "7s", "--slack", "5"]
    code = main(plan)
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    measured = json.loads(printed.out.splitlines()[-1])
    assert measured["faults"].keys() == {"killed", "stopped", "restarted"}
    assert measured["ticks"]["inserted"] > 100 * 9


@pytest.mark.parametrize(
    ("overlap", "in_transaction", "left"),
    [
        pytest.param("allow", False, "idle", id="in its one statement"),
        pytest.param("skip", True, "idle in transaction", id="in a transaction"),
    ],
)
def test_a_leader_that_freezes_inside_its_insert_is_replaced_and_writes_nothing_more(
    fleet: Fleet, database: Database, overlap: str, in_transaction: bool, left: str
) -> None:
    first = fleet.clock()
    _, epoch = eventually(lambda: leader(database))
    second = fleet.clock()
    eventually(lambda: "standing by" in fleet.log_of(second))
    with held(database, "LOCK TABLE pqclock.tick IN SHARE MODE"):
        runtime.put(database.session, [Schedule(key, "note", every=SECOND, overlap=overlap) for key in ("one", "two")])
        eventually(lambda: [row[1] for row in database.rows(INSERTING)] == [in_transaction])
        first.send_signal(signal.SIGSTOP)
        ((backend, frozen_in_transaction),) = database.rows(INSERTING)
        assert frozen_in_transaction == in_transaction
    state = "SELECT state FROM pg_stat_activity WHERE pid = %s"
    # The statement goes on when nothing is in its way any more, and its answer finds nobody.
    eventually(lambda: database.rows(state, backend) == [(left,)])
    _, later = eventually(lambda: new_leader(database, epoch), within=8.0)
    assert database.rows(state, backend) == []
    said = len(fleet.log_of(first))
    first.send_signal(signal.SIGCONT)
    eventually(lambda: "standing by" in fleet.log_of(first)[said:])
    assert leader(database) == (second.pid, later)
    eventually(lambda: not laws.broken(database.session))


HELD = "SELECT * FROM pqclock.schedule WHERE key = 'held' FOR UPDATE"
TASK = "SELECT * FROM pqclock.task WHERE name = 'note' FOR UPDATE"
KEY = """
    INSERT INTO pqclock.tick (schedule_id, tick, through, nominal, outcome, reason, origin, inserted_at)
    SELECT id, t, t, t, 'skipped', 'by hand', 'clock', now()
    FROM pqclock.schedule, LATERAL (SELECT date_trunc('second', now()) + interval '1 s' AS t) AS n WHERE key = 'held'"""
# How late the ticks of the others were inserted, at most, and up to which tick they were.
OTHERS = """
    SELECT max(inserted_at - tick), max(through) FROM pqclock.ticks
    WHERE schedule_key <> 'held' AND tick BETWEEN %s AND %s"""


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(HELD, id="a schedule"),
        pytest.param(TASK, id="a task"),
        pytest.param(KEY, id="a tick"),
    ],
)
def test_what_others_hold_locked_delays_no_other_schedule(fleet: Fleet, database: Database, statement: str) -> None:
    # Judged when they are due, so that each tick is inserted at its time.
    keys = ["held", *(f"other-{n}" for n in range(20))]
    runtime.put(database.session, [Schedule(key, "note", every=SECOND, overlap="skip") for key in keys])
    fleet.clock()
    fleet.worker()
    ticks = "SELECT count(DISTINCT schedule_key) FROM pqclock.ticks"
    eventually(lambda: database.value(ticks) == len(keys))
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.task"))
    since = schedules.database_now(database.session)
    until, patience = since + 3 * SECOND, since + 6 * SECOND

    def through() -> bool:
        last = database.rows(OTHERS, since, until)[0][1]
        return isinstance(last, datetime) and last > until - SECOND

    with held(database, statement):
        eventually(lambda: through() or schedules.database_now(database.session) > patience)
    eventually(through)
    late = database.rows(OTHERS, since, until)[0][0]
    assert isinstance(late, timedelta)
    assert late < SECOND
    eventually(lambda: not laws.broken(database.session))
