"""Missed ticks on a real server: behind those of the present, in slices, and as they were declared when they came due."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pqclock.clock import pace
from pqclock.clock.applier import apply
from pqclock.clock.planner import Planned, Planner
from pqclock.rules.schedule import Schedule
from pqclock.store import leadership, runtime, schedules
from pqclock.store.changing import account, lock
from store.samples import DAY, HOUR, MINUTE, NOW, SECOND

if TYPE_CHECKING:
    from conftest import Database

SECONDLY = Schedule("a", "mail", cron="* * * * * *", catch_up="all", catch_up_limit=10_000)
HOURLY = Schedule("h", "mail", cron="0 * * * *", catch_up="all")
LEDGER = """SELECT s.key, t.outcome, t.reason, t.origin, sum(t.count)::int FROM pqclock.tick AS t
            JOIN pqclock.schedule AS s ON s.id = t.schedule_id GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"""
OWED = "SELECT count(*) FROM pqclock.owed"
WATERMARK = "SELECT watermark FROM pqclock.schedules WHERE key = 'a'"


def put(database: Database, *wanted: Schedule, at: datetime = NOW, content: str = "1") -> Planner:
    """Apply schedules; gives a planner in office."""
    apply(database.session, "default", content, wanted, explicit=True, now=at)
    return Planner(database.session, leadership.elect(database.session, 1, at))


def planned(planner: Planner, now: datetime) -> list[Planned]:
    """The steps until nothing more is to be done."""
    steps = [planner.step(now)]
    while steps[-1].more:
        steps.append(planner.step(now))
        assert len(steps) < 1000
    return steps


def test_ticks_of_the_present_come_before_those_that_were_missed(database: Database) -> None:
    office = put(database, SECONDLY, replace(SECONDLY, key="b"))
    planned(office, NOW)
    late = NOW + HOUR
    first_run_ats = [step.first_run_at for step in planned(office, late) if step.first_run_at]
    missed = [due for due in first_run_ats if due < late - MINUTE]
    assert len(missed) > 3
    assert first_run_ats.index(missed[0]) > 0
    assert all(due < late - MINUTE for due in first_run_ats[first_run_ats.index(missed[0]) :])
    present = "SELECT max(id) FROM pqclock.job WHERE tick >= %s"
    behind = "SELECT min(id) FROM pqclock.job WHERE tick < %s AND tick > %s"
    assert database.value(present, late - MINUTE) < database.value(behind, late - MINUTE, NOW + MINUTE)  # type: ignore[operator]
    seconds = "SELECT count(*), count(DISTINCT tick), min(tick), max(tick) FROM pqclock.tick GROUP BY schedule_id"
    for count, distinct, first, last in database.rows(seconds):
        assert isinstance(first, datetime)
        assert isinstance(last, datetime)
        assert (count, distinct) == ((last - first).seconds + 1,) * 2
        assert first == NOW + SECOND
        assert last >= late + 30 * SECOND
    assert database.value(OWED) == 0


def test_the_watermark_stays_where_ticks_are_owed(database: Database) -> None:
    office = put(database, SECONDLY)
    planned(office, NOW)
    database.session.conn.execute("UPDATE pqclock.schedule SET watermark = %s", [NOW])
    after = database.value("SELECT planned_to FROM pqclock.schedule")
    late = NOW + HOUR
    while not database.value(OWED):
        office.step(late)
    while database.value(OWED):
        assert database.value(WATERMARK) == database.value("SELECT after FROM pqclock.owed") >= after  # type: ignore[operator]
        office.step(late)
    assert database.value(WATERMARK) >= late  # type: ignore[operator]


def test_a_second_outage_during_a_catch_up_loses_and_doubles_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a quick machine slices grow until the first outage is over before the last one comes.
    monkeypatch.setattr(pace, "MOST", pace.FIRST)
    office = put(database, SECONDLY)
    for late in (NOW + HOUR, NOW + 2 * HOUR, NOW + 3 * HOUR):
        for _ in range(4):
            office.step(late)
        office = Planner(database.session, leadership.elect(database.session, 2, late))
    assert database.value(OWED) == 3
    planned(office, NOW + 3 * HOUR)
    rows = database.rows("SELECT count(*), sum(count)::int, max(tick) - min(tick) FROM pqclock.tick")
    ((count, covered, span),) = rows
    assert isinstance(span, timedelta)
    assert count == covered == span.total_seconds() + 1


def test_missed_ticks_are_caught_up_as_they_were_declared_when_they_came_due(database: Database) -> None:
    office = put(database, replace(HOURLY, queue="old"))
    planned(office, NOW)
    changed = replace(HOURLY, cron="30 * * * *", queue="new")
    office = put(database, changed, at=NOW + 3 * HOUR + 10 * MINUTE, content="2")
    planned(office, NOW + 4 * HOUR + 5 * MINUTE)
    assert database.rows("SELECT tick, queue FROM pqclock.job ORDER BY tick") == [
        *((NOW + n * HOUR, "old") for n in (1, 2, 3)),
        (NOW + 3.5 * HOUR, "new"),
    ]


@pytest.mark.parametrize("how", ["paused", "removed", "disabled"])
def test_what_is_owed_by_a_schedule_that_ticks_no_more_is_skipped(database: Database, how: str) -> None:
    office = put(database, HOURLY, replace(HOURLY, key="other"))
    planned(office, NOW)
    late = NOW + 3 * HOUR + MINUTE * 5
    office.step(late)
    assert database.value("SELECT count(*) FROM pqclock.owed AS o JOIN pqclock.schedule AS s ON s.id = o.schedule_id"
                          " WHERE s.key = 'h'") == 1  # fmt: skip
    others = replace(HOURLY, key="other")
    if how == "paused":
        runtime.pause(database.session, "h", until=late + DAY, now=late)
    else:
        office = put(
            database, *([] if how == "removed" else [replace(HOURLY, enabled=False)]), others, at=late, content="2"
        )
    planned(office, late)
    assert ("h", "skipped", how, "clock", 3) in database.rows(LEDGER)
    assert database.value("SELECT count(*) FROM pqclock.job AS j JOIN pqclock.schedule AS s ON s.id = j.schedule_id"
                          " WHERE s.key = 'h' AND j.tick < %s", late) == 0  # fmt: skip


def test_a_broken_definition_of_missed_ticks_holds_up_nobody(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    office = put(database, HOURLY, replace(HOURLY, key="b"))
    planned(office, NOW)
    late = NOW + 3 * HOUR + MINUTE * 5
    office.step(late)
    database.session.conn.execute(
        'UPDATE pqclock.owed SET definition = \'{"task": "x", "cron": "never"}\' WHERE id = (SELECT min(id) FROM pqclock.owed)'
    )
    planned(office, late)
    assert database.value(OWED) == 1
    assert caplog.text.count("schedule b has missed ticks that cannot be decided on") == 1
    assert database.value("SELECT count(*) FROM pqclock.tick WHERE outcome = 'inserted'") == 3


def test_missed_ticks_are_not_written_for_a_schedule_that_was_changed_meanwhile(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = put(database, SECONDLY)
    planned(office, NOW)
    late = NOW + HOUR
    while not database.value(OWED):
        office.step(late)
    while schedules.due(database.session, late, 1):
        office.step(late)
    before = database.value("SELECT count(*) FROM pqclock.job")
    read, other = schedules.owed, database.connect()

    def read_and_remove(*given: Any) -> list[schedules.OwedSpan]:
        spans = read(*given)
        monkeypatch.undo()
        apply(other, "default", "2", [], explicit=True, now=late)
        return spans

    monkeypatch.setattr(schedules, "owed", read_and_remove)
    planned(office, late)
    other.close()
    assert database.value("SELECT count(*) FROM pqclock.job WHERE tick < %s", late) <= before  # type: ignore[operator]
    assert ("a", "skipped", "removed", "clock") in {row[:4] for row in database.rows(LEDGER)}
    assert database.value(OWED) == 0


def test_a_change_does_not_hold_up_the_leaders_beat(database: Database) -> None:
    runtime.put(database.session, [replace(HOURLY, overlap="skip")], now=NOW)
    epoch = leadership.elect(database.session, 1, NOW)
    leadership.wait_briefly(database.session)
    other = database.connect()
    try:
        with other.transaction():
            account(other, lock(other, ["h"]), NOW + HOUR)
            assert leadership.beat(database.session, epoch, NOW) == NOW
    finally:
        other.close()


def test_local_times_that_do_not_exist_are_written_down_in_a_pause_too(database: Database) -> None:
    change = datetime(2027, 3, 28, 1, tzinfo=NOW.tzinfo)
    nightly = Schedule("a", "mail", cron="30 2 * * *", timezone="Europe/Berlin", gap="skip")
    office = put(database, nightly, at=change - DAY)
    runtime.pause(database.session, "a", until=change + DAY, now=change - DAY)
    planned(office, change + 3 * DAY)
    assert ("a", "skipped", "gap", "clock", 1) in database.rows(LEDGER)
