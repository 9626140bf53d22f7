"""Applying schedule files: what the database keeps, withdraws and refuses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from pqclock.clock.applier import Applied, apply
from pqclock.clock.planner import Planner
from pqclock.errors import ScheduleFileError
from pqclock.rules.schedule import Schedule
from pqclock.store import leadership, runtime, schedules
from store.deadlines import eventually
from store.samples import DAY, HOUR, MINUTE, NOW, SECOND

if TYPE_CHECKING:
    from conftest import Database

HOURLY = Schedule("a", "mail", cron="0 * * * *", source="a.toml:1")
MINUTELY = Schedule("a", "mail", cron="* * * * *", source="a.toml:1")
ROWS = "SELECT key, state, source, version, planned_to FROM pqclock.schedule ORDER BY key"
LEDGER = "SELECT tick, through, count, outcome, reason FROM pqclock.tick ORDER BY tick"


def applied(
    database: Database, *wanted: Schedule, name: str = "default", content: str = "1", at: datetime = NOW, **more: Any
) -> Applied:
    return apply(database.session, name, content, wanted, **{"explicit": True, "now": at, **more})


def plan_at(database: Database, now: datetime) -> None:
    """What the leader does until nothing more is due."""
    planner = Planner(database.session, leadership.elect(database.session, 1))
    while planner.step(now).more:
        pass


def test_a_new_schedule_begins_now(database: Database) -> None:
    done = applied(database, HOURLY, replace(HOURLY, key="b", enabled=False))
    assert done.difference is not None
    assert done.difference.added == ("a", "b")
    assert database.rows(ROWS) == [
        ("a", "active", "a.toml:1", 1, NOW),
        ("b", "disabled", "a.toml:1", 1, NOW),
    ]
    assert database.rows("SELECT definition, watermark, set_name FROM pqclock.schedule WHERE key = 'a'") == [
        ({"task": "mail", "cron": "0 * * * *"}, NOW, "default")
    ]


def test_the_same_files_change_nothing(database: Database) -> None:
    applied(database, HOURLY)
    plan_at(database, NOW + HOUR)
    before = database.rows(ROWS)
    done = applied(database, HOURLY, at=NOW + HOUR)
    assert done.difference is not None
    assert (done.difference.unchanged, done.withdrawn) == (("a",), 0)
    assert database.rows(ROWS) == before


def test_a_change_withdraws_what_lies_ahead_and_plans_anew(database: Database) -> None:
    applied(database, MINUTELY)
    plan_at(database, NOW)
    assert database.rows("SELECT tick FROM pqclock.job") == [(NOW + MINUTE,)]
    changed = replace(MINUTELY, args={"n": 2})
    assert applied(database, changed, content="2", at=NOW + SECOND).withdrawn == 1
    assert database.rows(ROWS) == [("a", "active", "a.toml:1", 2, NOW + SECOND)]
    plan_at(database, NOW + SECOND)
    assert database.rows("SELECT tick, args FROM pqclock.job") == [(NOW + MINUTE, {"n": 2})]


def test_a_moved_schedule_keeps_its_version_and_its_ticks(database: Database) -> None:
    applied(database, MINUTELY)
    plan_at(database, NOW)
    done = applied(database, replace(MINUTELY, source="b.toml:9"), content="2")
    assert done.difference is not None
    assert (done.difference.moved, done.withdrawn) == (("a",), 0)
    assert database.rows("SELECT source, version FROM pqclock.schedule") == [("b.toml:9", 1)]


def test_a_removed_schedule_stays_as_a_tombstone_and_comes_back(database: Database) -> None:
    applied(database, MINUTELY)
    plan_at(database, NOW)
    assert applied(database, content="2", at=NOW + SECOND).withdrawn == 1
    assert database.rows(ROWS) == [("a", "removed", "a.toml:1", 2, NOW + SECOND)]
    plan_at(database, NOW + HOUR)
    assert database.rows(LEDGER) == []
    applied(database, MINUTELY, content="1", at=NOW + 2 * SECOND)
    assert database.rows(ROWS) == [("a", "active", "a.toml:1", 3, NOW + SECOND)]
    assert database.value("SELECT count(*) FROM pqclock.schedule") == 1


def test_the_ticks_of_a_disabled_time_are_written_down(database: Database) -> None:
    applied(database, replace(HOURLY, enabled=False))
    applied(database, HOURLY, content="2", at=NOW + 3 * HOUR)
    assert database.rows(LEDGER) == [(NOW + HOUR, NOW + 3 * HOUR, 3, "skipped", "disabled")]
    assert database.rows(ROWS) == [("a", "active", "a.toml:1", 2, NOW + 3 * HOUR)]


def test_each_tick_of_a_disabled_time_is_written_down_once(database: Database) -> None:
    disabled = replace(HOURLY, enabled=False)
    applied(database, disabled)
    applied(database, replace(disabled, cron="*/30 * * * *"), content="2", at=NOW + 2 * HOUR)
    applied(database, content="3", at=NOW + 3 * HOUR)
    applied(database, HOURLY, content="4", at=NOW + 3 * HOUR)
    assert database.rows(LEDGER) == [
        (NOW + HOUR, NOW + 2 * HOUR, 2, "skipped", "disabled"),
        (NOW + 2 * HOUR + 30 * MINUTE, NOW + 3 * HOUR, 2, "skipped", "disabled"),
    ]
    assert database.value("SELECT planned_to FROM pqclock.schedule") == NOW + 3 * HOUR


def test_a_tick_left_out_ahead_does_not_keep_the_place_of_one_that_comes(database: Database) -> None:
    change = datetime(2027, 3, 28, 1, tzinfo=NOW.tzinfo)
    skipping = replace(HOURLY, cron="30 2 * * *", timezone="Europe/Berlin", gap="skip")
    applied(database, skipping, at=change - HOUR)
    # As another tick just before would have it planned.
    database.session.conn.execute("UPDATE pqclock.schedule SET plan_at = planned_to")
    plan_at(database, change - SECOND)
    assert database.rows(LEDGER) == [(change, change, 1, "skipped", "gap")]
    applied(database, replace(skipping, gap="shift"), content="2", at=change - SECOND)
    plan_at(database, change - SECOND)
    assert database.rows("SELECT tick FROM pqclock.job") == [(change,)]


def test_an_instant_in_the_past_is_written_down(database: Database) -> None:
    applied(database, Schedule("a", "mail", at=NOW - DAY))
    plan_at(database, NOW)
    assert database.rows(LEDGER) == [(NOW - DAY, NOW - DAY, 1, "skipped", "past")]


def test_an_instant_at_the_beginning_of_the_calendar_is_taken(database: Database) -> None:
    applied(database, Schedule("a", "mail", at=datetime(1, 1, 1, tzinfo=NOW.tzinfo)))
    plan_at(database, NOW)
    assert database.rows("SELECT next_tick FROM pqclock.schedule") == [(None,)]


def test_older_files_are_applied_only_on_purpose(database: Database) -> None:
    applied(database, HOURLY, content="old")
    applied(database, MINUTELY, content="new")
    assert applied(database, HOURLY, content="old", explicit=False).difference is None
    assert database.value("SELECT definition ->> 'cron' FROM pqclock.schedule") == "* * * * *"
    assert applied(database, MINUTELY, content="new", explicit=False).difference is not None
    assert applied(database, HOURLY, content="old").difference is not None
    assert schedules.applied_contents(database.session, "default") == ["new", "old"]
    assert applied(database, MINUTELY, content="new", explicit=False).difference is None


def test_a_set_touches_only_its_own_schedules(database: Database) -> None:
    applied(database, HOURLY)
    applied(database, replace(HOURLY, key="b"), name="other")
    assert [row[1] for row in database.rows(ROWS)] == ["active", "active"]
    with pytest.raises(ScheduleFileError, match=r"'a' belongs to set 'default' \(a.toml:1\), not to set 'other'"):
        applied(database, HOURLY, name="other", content="2")
    assert schedules.applied_contents(database.session, "other") == ["1"]


def test_a_schedule_of_the_api_is_not_taken_over(database: Database) -> None:
    row = {"key": "a", "source": "api", "state": "active", "definition": {"task": "mail"}, "planned_to": NOW}
    schedules.add(database.session, None, [row], NOW)
    with pytest.raises(ScheduleFileError, match="belongs to the API"):
        applied(database, HOURLY)


def test_a_key_that_another_set_gave_up_is_taken_over_with_its_history(database: Database) -> None:
    applied(database, HOURLY)
    first_id = database.value("SELECT id FROM pqclock.schedule")
    applied(database, content="2", at=NOW + SECOND)
    applied(database, HOURLY, name="other", at=NOW + MINUTE)
    assert database.rows("SELECT id, set_name, state FROM pqclock.schedule") == [(first_id, "other", "active")]


def test_two_applications_at_once_take_turns(database: Database) -> None:
    many = [replace(HOURLY, key=f"k{n:03}") for n in range(200)]

    def apply_all(content: str) -> Applied:
        session = database.connect()
        try:
            return apply(session, "default", content, many, explicit=True)
        finally:
            session.close()

    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(apply_all, "1234"))
    added = sorted(len(one.difference.added) for one in done if one.difference)
    assert added == [0, 0, 0, 200]
    assert database.rows("SELECT DISTINCT version FROM pqclock.schedule") == [(1,)]
    assert sorted(schedules.applied_contents(database.session, "default")) == ["1", "2", "3", "4"]


def test_definitions_that_cannot_be_read_hold_up_nobody(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pqclock.clock.pace.FEWEST_SCHEDULES", 1)
    monkeypatch.setattr("pqclock.clock.pace.MOST_SCHEDULES", 2)
    applied(database, *(replace(MINUTELY, key=f"a{n}") for n in range(3)), replace(MINUTELY, key="b"))
    database.session.conn.execute("UPDATE pqclock.schedule SET definition = '{\"cron\": \"?\"}' WHERE key <> 'b'")
    planner = Planner(database.session, leadership.elect(database.session, 1))
    steps = [planner.step(NOW) for _ in range(3)]
    assert database.rows("SELECT tick FROM pqclock.job") == [(NOW + MINUTE,)]
    assert not steps[-1].more
    assert steps[-1].plan_again_at is not None
    assert steps[-1].plan_again_at > NOW


def test_a_change_invents_no_ticks_that_no_definition_had(database: Database) -> None:
    daily = replace(HOURLY, cron="0 3 * * *", catch_up="all")
    applied(database, daily)
    plan_at(database, NOW)
    applied(database, replace(daily, cron="*/5 * * * *"), content="2", at=NOW + 6 * HOUR)
    plan_at(database, NOW + 6 * HOUR)
    assert database.rows("SELECT tick, origin FROM pqclock.tick WHERE tick <= %s", NOW + 6 * HOUR) == []


def test_a_change_after_an_outage_accounts_for_the_past_under_the_old_definition(database: Database) -> None:
    applied(database, replace(HOURLY, catch_up="latest"))
    plan_at(database, NOW)
    applied(database, replace(HOURLY, cron="30 * * * *"), content="2", at=NOW + 3 * HOUR + 5 * MINUTE)
    plan_at(database, NOW + 3 * HOUR + 5 * MINUTE)
    assert database.rows(LEDGER) == [
        (NOW + HOUR, NOW + 2 * HOUR, 2, "coalesced", "latest"),
        (NOW + 3 * HOUR, NOW + 3 * HOUR, 1, "inserted", None),
    ]


def test_a_removed_schedule_that_comes_back_unchanged_has_lost_nothing(database: Database) -> None:
    applied(database, HOURLY)
    plan_at(database, NOW)
    applied(database, content="2", at=NOW + MINUTE)
    applied(database, HOURLY, content="3", at=NOW + HOUR + 2 * MINUTE)
    plan_at(database, NOW + HOUR + 2 * MINUTE)
    assert database.rows(LEDGER) == [(NOW + HOUR, NOW + HOUR, 1, "inserted", None)]


def test_a_broken_definition_does_not_stand_in_the_way_of_its_mend(database: Database) -> None:
    applied(database, HOURLY)
    database.session.conn.execute("""UPDATE pqclock.schedule SET definition = '{"cron": "never"}'""")
    applied(database, MINUTELY, content="2", at=NOW + HOUR)
    plan_at(database, NOW + HOUR)
    assert database.value("SELECT count(*) FROM pqclock.tick") == 1


def test_an_application_takes_the_time_it_needs_on_a_connection_with_narrow_limits(database: Database) -> None:
    applied(database, HOURLY)
    other, onlooker = database.connect(), database.connect()
    database.session.conn.execute("SELECT set_config('lock_timeout', '50ms', false)")
    try:
        with ThreadPoolExecutor(1) as pool:
            with other.transaction():
                other.conn.execute("SELECT 1 FROM pqclock.schedule FOR UPDATE")
                waiting = pool.submit(applied, database, MINUTELY, content="2")
                waited = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND state = 'active'"
                assert eventually(lambda: onlooker.conn.execute(waited.encode()).fetchone() == (1,))
                with pytest.raises(TimeoutError):
                    waiting.result(0.2)
            assert waiting.result(10).difference is not None
    finally:
        other.close()
        onlooker.close()


def test_a_change_of_a_paused_schedule_keeps_the_pause_and_writes_down_what_it_left_out(database: Database) -> None:
    applied(database, HOURLY)
    plan_at(database, NOW)
    runtime.pause(database.session, "a", NOW + 3 * HOUR, now=NOW + MINUTE)
    applied(database, replace(HOURLY, cron="30 * * * *"), content="2", at=NOW + 2 * HOUR + MINUTE)
    plan_at(database, NOW + 4 * HOUR)
    assert database.rows(LEDGER)[:2] == [
        (NOW + HOUR, NOW + 2 * HOUR, 2, "skipped", "paused"),
        (NOW + 2 * HOUR + 30 * MINUTE, NOW + 2 * HOUR + 30 * MINUTE, 1, "skipped", "paused"),
    ]
