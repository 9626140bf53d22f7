"""Schedules at run time, with the planner beside them: what is withdrawn, skipped, refused, and what races come to."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from pqclock.clock.applier import apply
from pqclock.clock.planner import Planned, Planner
from pqclock.errors import ArgumentError, UnknownSchedule
from pqclock.rules.files import read_set
from pqclock.rules.schedule import Schedule
from pqclock.store import jobs, leadership, runtime, schedules
from pqclock.store.runtime import SOURCE
from store.samples import DAY, HOUR, MINUTE, NOW, SECOND

if TYPE_CHECKING:
    from conftest import Database

HOURLY = Schedule("a", "mail", cron="0 * * * *")
SECONDLY = Schedule("a", "mail", cron="* * * * * *")
ROW = "SELECT state, set_name, source, version, planned_to FROM pqclock.schedule WHERE key = 'a'"
LEDGER = "SELECT tick, through, count, outcome, reason FROM pqclock.tick ORDER BY tick"
SKIPS = "SELECT tick, through, count, reason FROM pqclock.tick WHERE outcome <> 'inserted' ORDER BY tick"
INSERTED = "SELECT tick FROM pqclock.tick WHERE outcome = 'inserted' ORDER BY tick"
AHEAD = "SELECT count(*) FROM pqclock.job WHERE state = 'scheduled'"


def plan_at(database: Database, now: datetime) -> Planned:
    """What the leader does until nothing more is due."""
    planner = Planner(database.session, leadership.elect(database.session, 1))
    for _ in range(200):
        planned = planner.step(now)
        if not planned.more:
            return planned
    raise AssertionError("the planner does not come to rest")


def ticks(database: Database) -> list[object]:
    return [tick for (tick,) in database.rows(INSERTED)]


def covered(database: Database) -> int:
    return int(str(database.value("SELECT coalesce(sum(count), 0) FROM pqclock.tick")))


def test_a_new_schedule_begins_now_and_ticks(database: Database) -> None:
    assert runtime.put(database.session, [HOURLY], NOW) == ["a"]
    assert database.rows(ROW) == [("active", None, SOURCE, 1, NOW)]
    plan_at(database, NOW + HOUR - SECOND)
    assert ticks(database) == [NOW + HOUR]


def test_the_same_again_changes_nothing(database: Database) -> None:
    given = replace(HOURLY, args={"list": (1, 2), "text": "{tick}"}, labels=("x",))
    runtime.put(database.session, [given], NOW)
    plan_at(database, NOW)
    before = database.rows(ROW)
    assert runtime.put(database.session, [given], NOW + MINUTE) == []
    assert database.rows(ROW) == before


def test_a_change_withdraws_what_was_inserted_ahead_and_plans_from_now(database: Database) -> None:
    runtime.put(database.session, [SECONDLY], NOW)
    plan_at(database, NOW)
    at = NOW + 10 * SECOND
    assert runtime.put(database.session, [replace(SECONDLY, cron="*/5 * * * * *")], at) == ["a"]
    assert database.rows(ROW) == [("active", None, SOURCE, 2, at)]
    assert ticks(database) == [NOW + n * SECOND for n in range(1, 11)]
    plan_at(database, at)
    assert ticks(database)[10:] == [NOW + n * SECOND for n in range(15, 71, 5)]


def test_a_tick_of_the_new_definition_before_the_change_is_not_missed(database: Database) -> None:
    runtime.put(database.session, [replace(HOURLY, cron="0 0 * * *")], NOW)
    plan_at(database, NOW)
    runtime.put(database.session, [HOURLY], NOW + 3 * HOUR + MINUTE)
    plan_at(database, NOW + 3 * HOUR + MINUTE)
    assert covered(database) == 0


def test_ticks_that_nobody_planned_before_a_change_are_accounted_for_after_it(database: Database) -> None:
    runtime.put(database.session, [HOURLY], NOW)
    plan_at(database, NOW)
    late = NOW + 5 * HOUR + 2 * MINUTE
    runtime.put(database.session, [replace(HOURLY, queue="other")], late)
    plan_at(database, late)
    assert database.rows(LEDGER) == [
        (NOW + HOUR, NOW + 4 * HOUR, 4, "coalesced", "latest"),
        (NOW + 5 * HOUR, NOW + 5 * HOUR, 1, "inserted", None),
    ]


def test_a_new_at_in_the_past_is_written_down(database: Database) -> None:
    runtime.put(database.session, [Schedule("a", "mail", at=NOW - HOUR)], NOW)
    plan_at(database, NOW)
    assert database.rows(SKIPS) == [(NOW - HOUR, NOW - HOUR, 1, "past")]


def test_ticks_of_the_disabled_time_are_skipped_when_it_is_enabled(database: Database) -> None:
    runtime.put(database.session, [replace(HOURLY, enabled=False)], NOW)
    runtime.put(database.session, [HOURLY], NOW + 3 * HOUR + MINUTE)
    plan_at(database, NOW + 3 * HOUR + MINUTE)
    assert database.rows(LEDGER) == [(NOW + HOUR, NOW + 3 * HOUR, 3, "skipped", "disabled")]


def test_keys_of_files_are_refused_with_their_place(database: Database) -> None:
    apply(database.session, "default", "1", [replace(HOURLY, source="s/a.toml:3")], explicit=True, now=NOW)
    for change in (
        lambda: runtime.put(database.session, [replace(HOURLY, key="b"), SECONDLY], NOW),
        lambda: runtime.remove(database.session, "a", NOW),
    ):
        with pytest.raises(ArgumentError, match=r'"a" is declared in s/a.toml:3 \(set "default"\): change it there'):
            change()
    assert database.value("SELECT count(*) FROM pqclock.schedule") == 1


def test_applying_files_leaves_it_alone(database: Database) -> None:
    runtime.put(database.session, [HOURLY], NOW)
    before = database.rows(ROW)
    done = apply(database.session, "default", "1", [replace(HOURLY, key="b")], explicit=True, now=NOW)
    assert done.difference is not None and done.difference.removed == ()
    assert database.rows(ROW) == before


def test_remove_leaves_a_tombstone_and_accounts_for_what_came_due(database: Database) -> None:
    runtime.put(database.session, [SECONDLY], NOW)
    plan_at(database, NOW)
    runtime.remove(database.session, "a", NOW + 10 * SECOND)
    assert database.rows(ROW)[0][:4] == ("removed", None, SOURCE, 2)
    assert ticks(database) == [NOW + n * SECOND for n in range(1, 11)]
    with pytest.raises(UnknownSchedule):
        runtime.remove(database.session, "a", NOW + 11 * SECOND)
    assert runtime.put(database.session, [HOURLY], NOW + DAY) == ["a"]
    plan_at(database, NOW + DAY)
    assert covered(database) == 10
    runtime.remove(database.session, "a", NOW + DAY + 3 * HOUR)
    assert database.rows(SKIPS) == [(NOW + DAY + HOUR, NOW + DAY + 3 * HOUR, 3, "removed")]


def test_an_unknown_key_gets_the_nearest_one_even_among_many(database: Database) -> None:
    runtime.put(database.session, [replace(HOURLY, key=f"customer-{n:05}") for n in range(2000)], NOW)
    for change in (runtime.remove, runtime.pause, runtime.resume, runtime.trigger):
        with pytest.raises(UnknownSchedule, match=r'no schedule "customer-01500x"; did you mean "customer-01500"'):
            change(database.session, "customer-01500x")
    for key in ("", "a\0b", "\udcff", "x" * 500, 5):
        with pytest.raises(UnknownSchedule):
            runtime.pause(database.session, key)  # type: ignore[arg-type]


def test_a_pause_withdraws_and_skips_and_ends_by_itself(database: Database) -> None:
    runtime.put(database.session, [SECONDLY], NOW)
    plan_at(database, NOW)
    begun, until = NOW + 10 * SECOND, NOW + 10 * MINUTE
    runtime.pause(database.session, "a", until, "moving", begun)
    assert database.value(AHEAD) == 10
    planned = plan_at(database, begun)
    assert planned.plan_again_at is not None and planned.plan_again_at > begun + MINUTE
    plan_at(database, until - 20 * SECOND)
    plan_at(database, until)
    assert ticks(database)[10:12] == [until, until + SECOND]
    assert covered(database) == (until - NOW) // SECOND + 40
    assert len(database.rows(SKIPS)) <= 22
    assert {reason for *_, reason in database.rows(SKIPS)} == {"paused"}


def test_a_pause_without_an_end_waits_for_resume(database: Database) -> None:
    runtime.put(database.session, [HOURLY], NOW)
    plan_at(database, NOW)
    runtime.pause(database.session, "a", now=NOW + SECOND)
    assert plan_at(database, NOW + SECOND).plan_again_at is None
    assert database.value("SELECT state FROM pqclock.schedules") == "paused"
    assert plan_at(database, NOW + DAY).inserted == 0
    back = NOW + DAY + MINUTE
    assert runtime.resume(database.session, "a", back) is True
    assert runtime.resume(database.session, "a", back) is False
    plan_at(database, back)
    assert database.rows(LEDGER) == [(NOW + HOUR, NOW + DAY, 24, "skipped", "paused")]
    plan_at(database, NOW + DAY + HOUR)
    assert ticks(database) == [NOW + DAY + HOUR]


def test_resume_just_before_the_end_takes_back_what_was_decided_ahead(database: Database) -> None:
    runtime.put(database.session, [SECONDLY], NOW)
    runtime.pause(database.session, "a", NOW + MINUTE, now=NOW)
    plan_at(database, NOW + 40 * SECOND)
    runtime.resume(database.session, "a", NOW + 50 * SECOND + SECOND / 2)
    plan_at(database, NOW + 50 * SECOND + SECOND / 2)
    assert ticks(database)[0] == NOW + 51 * SECOND
    assert covered(database) == 110


def test_a_new_pause_goes_on_from_the_one_before(database: Database) -> None:
    runtime.put(database.session, [SECONDLY], NOW)
    plan_at(database, NOW)
    runtime.pause(database.session, "a", NOW + HOUR, now=NOW)
    runtime.pause(database.session, "a", timedelta(minutes=2), "longer", NOW + MINUTE)
    plan_at(database, NOW + 3 * MINUTE)
    assert ticks(database)[0] == NOW + 3 * MINUTE
    assert covered(database) == 240


def test_a_paused_schedule_that_is_put_anew_stays_paused_and_accounts_for_its_pause(database: Database) -> None:
    runtime.put(database.session, [HOURLY], NOW)
    plan_at(database, NOW)
    runtime.pause(database.session, "a", now=NOW)
    runtime.put(database.session, [replace(HOURLY, cron="30 * * * *")], NOW + 2 * HOUR)
    plan_at(database, NOW + 2 * HOUR)
    runtime.resume(database.session, "a", NOW + 4 * HOUR)
    plan_at(database, NOW + 4 * HOUR)
    half = 30 * MINUTE
    assert database.rows(SKIPS) == [
        (NOW + HOUR, NOW + 2 * HOUR, 2, "paused"),
        (NOW + 2 * HOUR + half, NOW + 3 * HOUR + half, 2, "paused"),
    ]


def test_a_pause_holds_for_files_and_over_their_application(database: Database) -> None:
    apply(database.session, "default", "1", [HOURLY], explicit=True, now=NOW)
    plan_at(database, NOW)
    runtime.pause(database.session, "a", note="n", now=NOW)
    apply(database.session, "default", "2", [replace(HOURLY, queue="q")], explicit=True, now=NOW + MINUTE)
    assert plan_at(database, NOW + 5 * HOUR).inserted == 0
    assert database.rows("SELECT state, note, queue FROM pqclock.schedules") == [("paused", "n", "q")]


@pytest.mark.parametrize("law", ["skip", "next_business_day", "previous_business_day"])
def test_a_pause_beside_a_calendar_holds_and_ends(database: Database, law: str) -> None:
    text = f"""
        [schedule.a]
        task = "mail"
        cron = "0 */6 * * *"
        exclude = ["weekend"]
        on_excluded = "{law}"
        [calendar.weekend]
        weekdays = ["sat", "sun"]
    """
    apply(database.session, "default", "1", read_set([("a.toml", text.encode())]).schedules, explicit=True, now=NOW)
    plan_at(database, NOW)
    runtime.pause(database.session, "a", NOW + 10 * DAY, now=NOW + DAY)
    for day in range(1, 21):
        plan_at(database, NOW + day * DAY)
    nominals = "SELECT coalesce(sum(count), 0) FROM pqclock.tick WHERE reason = 'paused'"
    assert int(str(database.value(nominals))) >= 6 * 4
    assert {tick for tick in ticks(database) if NOW + DAY < tick < NOW + 10 * DAY} == set()  # type: ignore[operator]
    assert any(tick > NOW + 10 * DAY for tick in ticks(database))  # type: ignore[operator]


@pytest.mark.parametrize("until", [NOW, timedelta(), NOW.replace(tzinfo=None)])
def test_a_pause_needs_an_end_in_the_future(database: Database, until: datetime | timedelta) -> None:
    runtime.put(database.session, [HOURLY], NOW)
    with pytest.raises(ArgumentError, match=r"is over already|must be a datetime with a timezone"):
        runtime.pause(database.session, "a", until, now=NOW)
    with pytest.raises(ArgumentError, match="note must not hold control"):
        runtime.pause(database.session, "a", note="a\0b", now=NOW)


def test_a_very_long_pause_has_no_end(database: Database) -> None:
    runtime.put(database.session, [HOURLY], NOW)
    runtime.pause(database.session, "a", timedelta.max, now=NOW)
    assert plan_at(database, NOW).plan_again_at is None


def test_trigger_makes_a_job_without_a_tick(database: Database) -> None:
    given = replace(
        HOURLY,
        args={"day": "{tick:%Y-%m-%d %H:%M}", "before": "{previous_tick}", "who": "x"},
        timezone="Europe/Berlin",
        queue="q",
        priority=3,
        labels=("l",),
        max_attempts=4,
        expires_in=HOUR,
    )
    runtime.put(database.session, [given], NOW)
    runtime.pause(database.session, "a", now=NOW)
    at = NOW + 30 * MINUTE
    job_id, state, inserted = runtime.trigger(database.session, "a", {"who": "y"}, now=at)
    assert (state, inserted) == ("ready", True)
    fields = "schedule_key, tick, state, queue, priority, labels, max_attempts, args"
    assert database.rows(f"SELECT {fields} FROM pqclock.jobs WHERE id = %s", job_id) == [
        (
            "a",
            None,
            "ready",
            "q",
            3,
            ["l"],
            4,
            {"day": "2026-11-22 13:30", "before": "2026-11-22T12:00:00Z", "who": "y"},
        )
    ]
    assert database.value("SELECT expires_at FROM pqclock.job") == at + HOUR
    assert covered(database) == 0
    runtime.remove(database.session, "a", at)
    with pytest.raises(UnknownSchedule):
        runtime.trigger(database.session, "a", now=at)


def test_trigger_refuses_arguments_that_are_no_json(database: Database) -> None:
    runtime.put(database.session, [HOURLY], NOW)
    with pytest.raises(ArgumentError, match=r"schedule 'a': args\.x is"):
        runtime.trigger(database.session, "a", {"x": object()})
    assert database.value("SELECT count(*) FROM pqclock.job") == 0


def test_a_broken_definition_can_be_mended(database: Database) -> None:
    runtime.put(database.session, [HOURLY], NOW)
    database.session.conn.execute("""UPDATE pqclock.schedule SET definition = '{"task": "t", "cron": "x"}'""")
    assert runtime.put(database.session, [HOURLY], NOW + HOUR) == ["a"]


def test_what_was_promoted_during_a_change_is_not_planned_again(database: Database) -> None:
    runtime.put(database.session, [SECONDLY], NOW)
    plan_at(database, NOW)
    jobs.promote(database.session, 100, NOW + 3 * SECOND)
    runtime.pause(database.session, "a", NOW + MINUTE, now=NOW + 2 * SECOND)
    plan_at(database, NOW + MINUTE)
    assert database.rows(SKIPS)[0][0] == NOW + 4 * SECOND
    assert covered(database) == 120


def test_two_that_put_the_same_new_key_come_to_one(database: Database) -> None:
    sessions = [database.connect() for _ in range(4)]
    try:
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda session: runtime.put(session, [HOURLY]), sessions))
    finally:
        for session in sessions:
            session.close()
    assert sorted(done) == [[], [], [], ["a"]]
    assert database.value("SELECT version FROM pqclock.schedule") == 1


def test_many_put_in_any_order_at_once_do_not_deadlock(database: Database) -> None:
    many = [replace(HOURLY, key=f"k-{n:03}") for n in range(100)]
    sessions = [database.connect() for _ in range(3)]
    wanted = [many, many[::-1], [replace(schedule, queue="q") for schedule in many]]
    try:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda pair: runtime.put(*pair), zip(sessions, wanted, strict=True)))
    finally:
        for session in sessions:
            session.close()
    assert database.value("SELECT count(*) FROM pqclock.schedule") == 100


def _run(row: tuple[object, ...]) -> tuple[datetime, int]:
    tick, _, count = row
    assert isinstance(tick, datetime) and isinstance(count, int)
    return tick, count


def test_changes_beside_a_planner_lose_and_double_nothing(database: Database) -> None:
    """Real time, real connections: a leader plans and promotes while another session changes all the while."""
    runtime.put(database.session, [SECONDLY])
    start = schedules.database_now(database.session)
    stop = threading.Event()
    planning = database.connect()

    def lead() -> None:
        planner = Planner(planning, leadership.elect(planning, 1))
        while not stop.is_set():
            planner.step(jobs.promote(planning, 1000).now)

    thread = threading.Thread(target=lead)
    thread.start()
    try:
        for number in range(60):
            runtime.put(database.session, [replace(SECONDLY, queue=f"q{number}")])
            runtime.pause(database.session, "a", timedelta(seconds=0.1) if number % 2 else None)
            runtime.resume(database.session, "a")
            stop.wait(0.05)
    finally:
        stop.set()
        thread.join()
        planning.close()
    end = schedules.database_now(database.session)
    plan_at(database, end)
    rows = database.rows("SELECT tick, through, count FROM pqclock.tick WHERE tick <= %s ORDER BY tick", end)
    seen = [tick + n * SECOND for tick, count in map(_run, rows) for n in range(count)]
    first = start.replace(microsecond=0) + SECOND
    assert seen == [first + n * SECOND for n in range(len(seen))]
    assert seen[-1] == end.astimezone(UTC).replace(microsecond=0)
    assert database.value("SELECT count(*) FROM pqclock.job") == len(ticks(database))
