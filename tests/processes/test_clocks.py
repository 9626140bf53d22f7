"""Clocks as processes: one leads, the others stand by, and no tick is lost or doubled whatever happens to them."""

from __future__ import annotations

import signal
import subprocess
import time
from datetime import datetime

from conftest import Database
from processes import laws
from processes.fleet import Fleet, eventually

EVERY_SECOND = """
[schedule.first]
task = "note"
every = "1s"
args = { text = "{tick}" }

[schedule.second]
task = "note"
cron = "* * * * * *"
"""


def leader(database: Database) -> tuple[int, int] | None:
    """(pid, epoch) of the clock that leads and beats."""
    rows = database.rows("SELECT pid, epoch FROM pqclock.processes WHERE leader AND beat_at > now() - interval '5 s'")
    return rows[0] if rows else None  # type: ignore[return-value]


def new_leader(database: Database, epoch: int) -> tuple[int, int] | None:
    """The leader of a later term."""
    found = leader(database)
    return found if found and found[1] > epoch else None


def one_leads_one_stands_by(fleet: Fleet, database: Database, clocks: dict[int, subprocess.Popen[bytes]]) -> bool:
    """The leader is one of the clocks, and the other one is ready to follow."""
    found = leader(database)
    return found is not None and all(
        pid == found[0] or "standing by" in fleet.log_of(clock) for pid, clock in clocks.items()
    )


def seconds_until_a_later_term(database: Database, epoch: int) -> float:
    """How long it takes from now until another clock leads."""
    begun = time.monotonic()
    eventually(lambda: new_leader(database, epoch))
    return time.monotonic() - begun


def check_ledger(database: Database, since: datetime) -> None:
    """Every second since then has exactly one tick of each schedule, and every tick exactly one job."""
    assert laws.broken(database.session, since) == {}


def all_done(database: Database) -> bool:
    """Every job that is due has succeeded."""
    return not database.value("SELECT count(*) FROM pqclock.job WHERE run_at < now() - interval '100 ms'")


def test_killed_leaders_are_replaced_within_two_seconds_and_no_tick_is_lost_or_doubled(
    fleet: Fleet, database: Database
) -> None:
    fleet.schedules(EVERY_SECOND)
    clocks = {clock.pid: clock for clock in [fleet.clock(), fleet.clock()]}
    fleet.worker()
    fleet.worker()
    _, epoch = eventually(lambda: leader(database))
    begun = database.value("SELECT clock_timestamp()")
    assert isinstance(begun, datetime)
    waits = []
    for _ in range(3):
        eventually(lambda: one_leads_one_stands_by(fleet, database, clocks))
        pid, epoch = eventually(lambda: leader(database))
        clocks.pop(pid).kill()
        waits.append(seconds_until_a_later_term(database, epoch))
        replacement = fleet.clock()
        clocks[replacement.pid] = replacement
    assert max(waits) < 2.0, waits
    eventually(lambda: all_done(database))
    check_ledger(database, begun)


def test_a_stopped_leader_hands_over_at_once_and_ends_with_0(fleet: Fleet, database: Database) -> None:
    fleet.schedules(EVERY_SECOND)
    first = fleet.clock()
    pid, epoch = eventually(lambda: leader(database))
    assert pid == first.pid
    second = fleet.clock()
    eventually(lambda: "standing by" in fleet.log_of(second))
    first.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    eventually(lambda: new_leader(database, epoch))
    assert time.monotonic() - asked < 1.0
    assert first.wait(5) == 0
    second.send_signal(signal.SIGINT)
    assert second.wait(5) == 0
    assert database.rows("SELECT * FROM pqclock.processes") == []


def test_a_frozen_leader_loses_its_lock_and_writes_nothing_when_it_thaws(fleet: Fleet, database: Database) -> None:
    fleet.schedules(EVERY_SECOND)
    first = fleet.clock()
    _, epoch = eventually(lambda: leader(database))
    second = fleet.clock()
    eventually(lambda: "standing by" in fleet.log_of(second))
    first.send_signal(signal.SIGSTOP)
    _, later = eventually(lambda: new_leader(database, epoch), within=9.0)
    first.send_signal(signal.SIGCONT)
    eventually(lambda: "lost the database" in fleet.log_of(first) or "standing by" in fleet.log_of(first))
    assert leader(database) == (second.pid, later)


def test_hup_applies_changed_files_and_a_broken_file_keeps_the_old_ones(fleet: Fleet, database: Database) -> None:
    fleet.schedules(EVERY_SECOND)
    clock = fleet.clock()
    eventually(lambda: leader(database))
    fleet.schedules('[schedule.only]\ntask = "note"\nevery = "1h"\n')
    clock.send_signal(signal.SIGHUP)
    active = "SELECT key FROM pqclock.schedules WHERE state = 'active' ORDER BY key"
    eventually(lambda: database.rows(active) == [("only",)])
    left = "SELECT count(*) FROM pqclock.jobs WHERE schedule_key <> 'only' AND run_at > now() + interval '2 s'"
    assert database.value(left) == 0
    fleet.schedules('[schedule.only]\ntask = "note"\nevery = "never"\n')
    clock.send_signal(signal.SIGHUP)
    eventually(lambda: "not applied" in fleet.log_of(clock))
    assert database.rows(active) == [("only",)]


def test_a_clock_that_starts_with_broken_files_says_where_and_ends_with_1(fleet: Fleet, database: Database) -> None:
    fleet.schedules('[schedule.bad]\ntask = "note"\ncron = "61 * * * *"\n')
    clock = fleet.clock()
    assert clock.wait(10) == 1
    assert "test.toml:3:" in fleet.log_of(clock)


def test_older_files_do_not_take_over_at_a_start(fleet: Fleet, database: Database) -> None:
    old, new = '[schedule.a]\ntask = "note"\nevery = "1h"\n', '[schedule.a]\ntask = "note"\nevery = "2h"\n'

    def run_once(text: str) -> subprocess.Popen[bytes]:
        fleet.schedules(text)
        clock = fleet.clock()
        eventually(lambda: "leading" in fleet.log_of(clock))
        clock.terminate()
        clock.wait(5)
        return clock

    run_once(old)
    run_once(new)
    again = run_once(old)
    assert "were not applied" in fleet.log_of(again)
    assert database.value("SELECT every FROM pqclock.schedules") == "2h"
