"""Backfills: what they insert and leave alone, how they are paced, and what two of them and a leader come to."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pqclock.clock.planner import Planner
from pqclock.errors import ArgumentError, Refused, UnknownSchedule
from pqclock.rules.schedule import Schedule
from pqclock.rules.unique import Unique
from pqclock.store import backfill_slices, backfilling, jobs, leadership, partitions, runtime, schedules
from pqclock.store.backfilling import Backfill, Backfilled
from pqclock.store.database import Session, query
from store.samples import DAY, HOUR, MINUTE, NOW, SECOND, claim, finish

if TYPE_CHECKING:
    from conftest import Database

HOURLY = Schedule("a", "mail", cron="0 * * * *")
SECONDLY = Schedule("a", "mail", cron="* * * * * *")
LEDGER = "SELECT tick, through, count, outcome, reason, origin FROM pqclock.tick ORDER BY tick"
INSERTED = "SELECT tick FROM pqclock.tick WHERE outcome = 'inserted' ORDER BY tick"
MADE = "SELECT tick FROM pqclock.tick WHERE origin = 'backfill' ORDER BY job_id"
LIVE = "SELECT count(*) FROM pqclock.job"


def work_off(session: Session, now: datetime = NOW, limit: int = 1000) -> int:
    """What workers do with all that is ready."""
    claimed = claim(session, now=now, limit=limit)
    assert all(finish(session, job, "succeeded", "succeeded") for job in claimed)
    return len(claimed)


def no_need(_: float) -> None:
    raise AssertionError("there is room, so nothing is to be waited for")


def preview(database: Database, since: datetime, until: datetime, now: datetime = NOW, **more: Any) -> Backfilled:
    return backfilling.preview(database.session, Backfill("a", since, until, **{"force": True, **more}), now)


def backfill(
    database: Database, since: datetime, until: datetime, now: datetime = NOW, sleep: Any = no_need, **more: Any
) -> Backfilled:
    """A backfill with room for all that it inserts."""
    wait, on_progress = more.pop("wait", False), more.pop("on_progress", None)
    asked = Backfill("a", since, until, **{"force": True, "at_once": 10_000, **more})
    seen = backfilling.preview(database.session, asked, now)
    return backfilling.run(
        lambda: nullcontext(database.session), asked, seen, wait=wait, on_progress=on_progress, sleep=sleep, now=now
    )


def plan_at(database: Database, now: datetime) -> None:
    planner = Planner(database.session, leadership.elect(database.session, 1))
    while planner.step(now).more:
        pass


def column(database: Database, statement: str) -> list[Any]:
    return [value for (value,) in database.rows(statement)]


def accounted(database: Database) -> list[datetime]:
    """The ticks of whole seconds that the ledger has, of SECONDLY."""
    rows = database.rows("SELECT tick, count FROM pqclock.tick ORDER BY tick")
    return [tick + n * SECOND for tick, count in rows for n in range(count)]  # type: ignore[call-overload]


def test_ticks_from_before_the_schedule_was_there(database: Database) -> None:
    runtime.put(database.session, [replace(HOURLY, priority=2)], NOW)
    done = backfill(database, NOW - 3 * HOUR, NOW - SECOND)
    ticks = [NOW - 3 * HOUR, NOW - 2 * HOUR, NOW - HOUR]
    assert done == Backfilled("a", ticks[0], NOW - SECOND, ticks[0], ticks[-1], 3, 0, 0, 3, inserted=3)
    assert database.rows(LEDGER) == [(tick, tick, 1, "inserted", None, "backfill") for tick in ticks]
    assert column(database, MADE) == ticks
    fields = "state::text, tick, run_at, priority, queue"
    assert database.rows(f"SELECT {fields} FROM pqclock.job ORDER BY ready_seq") == [
        ("ready", tick, NOW, 2, "default") for tick in ticks
    ]


def test_the_same_again_inserts_nothing(database: Database) -> None:
    runtime.put(database.session, [HOURLY], NOW)
    backfill(database, NOW - 3 * HOUR, NOW)
    before = database.rows(LEDGER)
    done = backfill(database, NOW - 4 * HOUR, NOW)
    assert (done.ticks, done.already_there, done.missing, done.inserted) == (4, 3, 1, 1)
    done = backfill(database, NOW - 4 * HOUR, NOW)
    assert (done.ticks, done.already_there, done.missing, done.inserted) == (4, 4, 0, 0)
    assert database.rows(LEDGER)[1:] == before
    assert database.value(LIVE) == 4


def test_a_preview_writes_nothing(database: Database) -> None:
    runtime.put(database.session, [replace(HOURLY, enabled=False)], NOW - DAY)
    before = database.rows("SELECT * FROM pqclock.schedule")
    seen = preview(database, NOW - 3 * HOUR, NOW + HOUR)
    assert (seen.ticks, seen.missing, seen.inserted, seen.until) == (3, 3, 0, NOW)
    assert (database.rows("SELECT * FROM pqclock.schedule"), database.rows(LEDGER)) == (before, [])


def test_a_job_gets_what_a_tick_of_the_clock_gets_but_is_due_at_once(database: Database) -> None:
    args: dict[str, object] = {"day": "{tick:%Y-%m-%d %H:%M}", "since": "{previous_tick}", "key": "{key}"}
    more: dict[str, Any] = {"labels": ("x",), "max_attempts": 4, "queue": "q", "expires_in": HOUR, "spread": HOUR}
    runtime.put(database.session, [replace(HOURLY, args=args, timezone="Europe/Berlin", **more)], NOW)
    backfill(database, NOW - 2 * HOUR, NOW - HOUR, priority=7)
    fields = "args, labels, max_attempts, queue, priority, run_at, expires_at, tick"
    filled = {"day": "2026-11-22 11:00", "since": "2026-11-22T09:00:00Z", "key": "a"}
    assert database.rows(f"SELECT {fields} FROM pqclock.job") == [
        (filled, ["x"], 4, "q", 7, NOW, NOW + HOUR, NOW - 2 * HOUR)
    ]


def test_what_was_skipped_is_split(database: Database) -> None:
    runtime.put(database.session, [replace(HOURLY, catch_up="none")], NOW - 10 * HOUR)
    plan_at(database, NOW)
    assert database.rows(LEDGER)[0] == (NOW - 9 * HOUR, NOW - HOUR, 9, "skipped", "missed", "clock")
    backfill(database, NOW - 5 * HOUR, NOW - 3 * HOUR)
    assert database.rows(LEDGER)[:4] == [
        (NOW - 9 * HOUR, NOW - 6 * HOUR, 4, "skipped", "missed", "clock"),
        (NOW - 5 * HOUR, NOW - 5 * HOUR, 1, "inserted", None, "backfill"),
        (NOW - 4 * HOUR, NOW - 4 * HOUR, 1, "inserted", None, "backfill"),
        (NOW - 3 * HOUR, NOW - HOUR, 3, "skipped", "missed", "clock"),
    ]


def test_newest_first(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_slices, "SLICE", 4)
    runtime.put(database.session, [HOURLY], NOW)
    backfill(database, NOW - 9 * HOUR, NOW, newest_first=True)
    assert column(database, MADE) == [NOW - n * HOUR for n in range(1, 10)]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("newest_first", [False, True])
def test_whatever_the_ledger_was_each_tick_is_there_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, seed: int, newest_first: bool
) -> None:
    """Pauses, catch-ups and backfills of any range, one after the other, by slices of any size."""
    dice, begun = random.Random(seed), NOW - 400 * SECOND
    runtime.put(database.session, [replace(SECONDLY, catch_up=dice.choice(["none", "latest", "all"]))], begun)
    now = begun
    while now < NOW:
        now = min(NOW, now + dice.randint(1, 90) * SECOND)
        verb = dice.choice(["plan", "plan", "pause", "resume", "disable", "enable", "backfill"])
        if verb == "pause":
            runtime.pause(database.session, "a", dice.choice([None, 40 * SECOND]), now=now)
        elif verb == "resume":
            runtime.resume(database.session, "a", now)
        elif verb in ("disable", "enable"):
            runtime.put(database.session, [replace(SECONDLY, enabled=verb == "enable")], now)
        elif verb == "backfill":
            monkeypatch.setattr(backfill_slices, "SLICE", dice.randint(1, 50))
            since = now - dice.randint(1, 200) * SECOND
            until = since + dice.randint(1, 200) * SECOND
            backfill(database, since, until, now, newest_first=newest_first)
        else:
            plan_at(database, now)
    runtime.put(database.session, [SECONDLY], NOW)
    runtime.resume(database.session, "a", NOW)
    plan_at(database, NOW)
    seen = [tick for tick in accounted(database) if begun < tick <= NOW]
    assert seen == [begun + n * SECOND for n in range(1, 401)]
    before = len(column(database, INSERTED))
    done = backfill(database, begun + SECOND, NOW, newest_first=newest_first)
    assert (done.ticks, done.inserted) == (399, 399 - done.already_there)
    assert [tick for tick in accounted(database) if begun < tick <= NOW] == seen
    inserted = column(database, INSERTED)
    assert len(inserted) == before + done.inserted
    assert {tick for tick in seen if tick != NOW} <= set(inserted)
    assert sorted(column(database, "SELECT tick FROM pqclock.job")) == inserted


def test_a_pause_goes_on_after_a_backfill_in_its_middle(database: Database) -> None:
    runtime.put(database.session, [SECONDLY], NOW - MINUTE)
    plan_at(database, NOW - MINUTE)
    runtime.pause(database.session, "a", NOW + HOUR, now=NOW - 30 * SECOND)
    plan_at(database, NOW - 29 * SECOND)
    done = backfill(database, NOW - 20 * SECOND, NOW)
    assert done.inserted == 20
    plan_at(database, NOW)
    assert column(database, "SELECT paused_until FROM pqclock.schedule") == [NOW + HOUR]
    plan_at(database, NOW + HOUR)
    assert accounted(database)[0] == NOW - 59 * SECOND
    assert len(accounted(database)) == len(set(accounted(database))) == 60 + 3600 + 60
    assert column(database, INSERTED)[50] == NOW + HOUR


def test_ticks_that_no_clock_has_planned_are_left_to_it(database: Database) -> None:
    runtime.put(database.session, [replace(HOURLY, catch_up="latest")], NOW - 5 * HOUR)
    done = backfill(database, NOW - 8 * HOUR, NOW)
    assert (done.until, done.inserted) == (NOW - 4 * HOUR, 4)
    none = preview(database, NOW - 3 * HOUR, NOW)
    assert (none.since, none.until, none.ticks, none.first) == (NOW - 3 * HOUR, NOW - 3 * HOUR, 0, None)
    plan_at(database, NOW)
    assert database.rows(LEDGER)[4:] == [
        (NOW - 4 * HOUR, NOW - 2 * HOUR, 3, "coalesced", "latest", "clock"),
        (NOW - HOUR, NOW - HOUR, 1, "inserted", None, "catch_up"),
        (NOW, NOW, 1, "inserted", None, "clock"),
    ]
    assert backfill(database, NOW - 8 * HOUR, NOW + SECOND, NOW + SECOND).inserted == 3
    assert column(database, INSERTED) == [NOW - n * HOUR for n in range(8, -1, -1)]


def test_ticks_inserted_ahead_are_not_its_business(database: Database) -> None:
    runtime.put(database.session, [SECONDLY], NOW)
    plan_at(database, NOW)
    done = backfill(database, NOW - 5 * SECOND, NOW + DAY, NOW + 10 * SECOND)
    assert (done.until, done.ticks, done.already_there, done.inserted) == (NOW + 10 * SECOND, 15, 9, 6)


def test_start_end_and_calendars_bound_it(database: Database) -> None:
    bounded = replace(HOURLY, start=NOW - 5 * HOUR, end=NOW - 2 * HOUR)
    runtime.put(database.session, [bounded], NOW)
    done = backfill(database, NOW - DAY, NOW, newest_first=True)
    assert (done.first, done.last, done.inserted) == (NOW - 5 * HOUR, NOW - 3 * HOUR, 3)


def test_what_calendars_leave_out_stays_left_out(database: Database) -> None:
    definition = {"task": "mail", "cron": "0 12 * * *", "exclude": {"names": ["w"], "weekdays": ["sat", "sun"]}}
    weekdays = Schedule.from_definition("a", definition)
    runtime.put(database.session, [weekdays], NOW - 14 * DAY)
    runtime.pause(database.session, "a", now=NOW - 14 * DAY)
    plan_at(database, NOW)
    excluded = "SELECT tick, count FROM pqclock.tick WHERE reason = 'excluded' ORDER BY tick"
    before = database.rows(excluded)
    done = backfill(database, NOW - 14 * DAY, NOW)
    # On its first day, a Sunday, the schedule was not there yet.
    assert (done.ticks, done.excluded, done.inserted) == (10, 4, 10)
    assert database.rows(excluded) == before != []
    assert {tick.weekday() for tick in column(database, MADE)} == {0, 1, 2, 3, 4}


def test_at_is_a_single_instant(database: Database) -> None:
    runtime.put(database.session, [Schedule("a", "mail", at=NOW - HOUR)], NOW)
    assert preview(database, NOW - DAY, NOW).ticks == 0
    plan_at(database, NOW)
    assert database.rows(LEDGER)[0][3:5] == ("skipped", "past")
    assert backfill(database, NOW - DAY, NOW).inserted == 1
    assert database.rows(LEDGER) == [(NOW - HOUR, NOW - HOUR, 1, "inserted", None, "backfill")]


def test_after_a_change_the_present_definition_holds(database: Database) -> None:
    runtime.put(database.session, [replace(HOURLY, catch_up="none")], NOW - 5 * HOUR)
    plan_at(database, NOW)
    runtime.put(database.session, [replace(HOURLY, cron="*/30 * * * *")], NOW)
    done = backfill(database, NOW - 4 * HOUR, NOW)
    assert (done.ticks, done.inserted) == (8, 8)
    instant = timedelta(microseconds=1)
    rest = (NOW - 4 * HOUR + instant, NOW - HOUR - instant, 2, "skipped", "missed", "clock")
    assert [row for row in database.rows(LEDGER) if row[3] == "skipped"] == [rest]
    assert backfill(database, NOW - 4 * HOUR, NOW).inserted == 0


def test_it_is_paced(database: Database) -> None:
    runtime.put(database.session, [HOURLY], NOW)
    seen: list[int] = []
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        seen.append(int(str(database.value(LIVE))))
        if len(pauses) % 3 == 0:
            work_off(database.session, limit=2)

    told: list[Backfilled] = []
    done = backfill(database, NOW - 9 * HOUR, NOW, sleep=sleep, at_once=2, wait=True, on_progress=told.append)
    assert max(seen) == 2 and (done.inserted, done.finished, done.failed) == (9, 9, 0)
    assert pauses[:3] == sorted(set(pauses[:3])) and max(pauses) <= 1.0
    assert [one.inserted for one in told] == sorted(one.inserted for one in told)
    assert told[-1] == done


def test_a_schedule_that_changes_or_goes_meanwhile(database: Database) -> None:
    runtime.put(database.session, [HOURLY], NOW)
    changed = replace(HOURLY, cron="0 */2 * * *", queue="q")

    def change(_: float) -> None:
        runtime.put(database.session, [changed], NOW)
        work_off(database.session)

    done = backfill(database, NOW - 8 * HOUR, NOW, sleep=change, at_once=3)
    hours = [8, 7, 6, 4, 2]
    assert column(database, MADE) == [NOW - n * HOUR for n in hours]
    assert (done.ticks, done.inserted) == (5, 5)

    def remove(_: float) -> None:
        runtime.remove(database.session, "a", NOW)

    with pytest.raises(UnknownSchedule):
        backfill(database, NOW - DAY, NOW - 9 * HOUR, sleep=remove, at_once=3)


def test_jobs_that_retry_hold_their_place_and_failures_are_counted(database: Database) -> None:
    runtime.put(database.session, [replace(HOURLY, max_attempts=2)], NOW)
    ends = iter([("scheduled", "failed"), ("failed", "failed"), ("cancelled", "cancelled")])

    def sleep(_: float) -> None:
        jobs.promote(database.session, 10, NOW + DAY)
        for job in claim(database.session, now=NOW + DAY):
            assert finish(database.session, job, *next(ends), delay=1.0)

    done = backfill(database, NOW - 2 * HOUR, NOW, sleep=sleep, at_once=1, wait=True)
    assert (done.inserted, done.finished, done.failed) == (2, 2, 2)


def test_what_was_interrupted_is_run_again(database: Database) -> None:
    runtime.put(database.session, [HOURLY], NOW)

    def sleep(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfill(database, NOW - 9 * HOUR, NOW, sleep=sleep, at_once=4)
    assert len(column(database, INSERTED)) == 4
    work_off(database.session)
    done = backfill(database, NOW - 9 * HOUR, NOW)
    assert (done.already_there, done.inserted) == (4, 5)
    assert column(database, INSERTED) == [NOW - n * HOUR for n in range(9, 0, -1)]


def test_ticks_older_than_the_ledger_are_refused_unless_forced(database: Database) -> None:
    runtime.put(database.session, [HOURLY])
    now = schedules.database_now(database.session)
    today = datetime.combine(partitions.today(database.session), datetime.min.time(), UTC)
    with pytest.raises(Refused, match=r"the ledger begins at .*begin later, or add --force"):
        preview(database, today - HOUR, now, now, force=False)
    assert preview(database, today - HOUR, today + SECOND, today + HOUR, force=True).missing == 2
    assert preview(database, today, today + SECOND, today + HOUR, force=False).missing == 1
    # A range that only begins there is not refused: no tick of it is older.
    runtime.put(database.session, [replace(HOURLY, start=today)])
    assert preview(database, today - DAY, today + SECOND, today + HOUR, force=False).missing == 1


@pytest.mark.parametrize(
    ("since", "until", "more", "sentence"),
    [
        (NOW, NOW, {}, "has no ticks: the end is exclusive"),
        (NOW, NOW - HOUR, {}, "has no ticks: the end is exclusive"),
        (NOW + HOUR, NOW + DAY, {}, "has no ticks yet: they come by themselves"),
        (NOW.replace(tzinfo=None), NOW, {}, "must be a datetime with a timezone"),
        (NOW - HOUR, "x", {}, "until 'x' must be a datetime"),
        (datetime.min.replace(tzinfo=UTC), NOW, {}, "before the year 1900"),
        (NOW - HOUR, NOW, {"at_once": 0}, "at_once 0 must be a whole number from 1"),
        (NOW - HOUR, NOW, {"at_once": True}, "at_once True must be a whole number from 1"),
        (NOW - HOUR, NOW, {"priority": 40_000}, "priority 40000 must be a whole number"),
        (NOW - 12 * DAY, NOW, {}, "has 1036800 ticks, and one backfill takes 1000000 at most"),
    ],
)
def test_what_cannot_be(database: Database, since: Any, until: Any, more: dict[str, Any], sentence: str) -> None:
    runtime.put(database.session, [SECONDLY], NOW)
    with pytest.raises(ArgumentError, match=sentence):
        backfill(database, since, until, **more)
    assert database.rows(LEDGER) == []


def test_an_unknown_or_removed_schedule(database: Database) -> None:
    runtime.put(database.session, [replace(HOURLY, key="ab"), HOURLY], NOW)
    runtime.remove(database.session, "a", NOW)
    with pytest.raises(UnknownSchedule, match='did you mean "ab"'):
        backfill(database, NOW - HOUR, NOW)


def test_two_at_once_share_the_work_and_the_room(database: Database) -> None:
    """Real connections, and a third one that works the jobs off."""
    runtime.put(database.session, [SECONDLY])
    now = schedules.database_now(database.session).replace(microsecond=0)
    asked = Backfill("a", now - 300 * SECOND, now, at_once=7, force=True)
    sessions = [database.connect() for _ in range(3)]
    stop, most = threading.Event(), [0]

    def work() -> None:
        while not stop.is_set():
            most[0] = max(most[0], int(str(sessions[2].conn.execute(LIVE).fetchone()[0])))  # type: ignore[index]
            work_off(sessions[2], now + DAY, limit=3)

    def one(session: Session, newest_first: bool) -> Backfilled:
        mine = replace(asked, newest_first=newest_first)
        return backfilling.run(lambda: nullcontext(session), mine, backfilling.preview(session, mine), wait=True)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(one, sessions[:2], [False, True]))
    finally:
        stop.set()
        worker.join()
        for session in sessions:
            session.close()
    assert sum(one.inserted for one in done) == 300 and all(one.inserted for one in done)
    assert all(one.ticks == 300 for one in done)
    assert column(database, MADE) and sorted(column(database, MADE)) == [now - n * SECOND for n in range(300, 0, -1)]
    assert most[0] <= 7
    assert database.value("SELECT count(*) FROM pqclock.job_history WHERE state = 'succeeded'") == 300


def test_beside_a_planner_nothing_is_lost_or_doubled(database: Database) -> None:
    """Real time, real connections: a leader plans while the schedule is paused, resumed and backfilled up to now."""
    runtime.put(database.session, [SECONDLY])
    start = schedules.database_now(database.session)
    stop, planning = threading.Event(), database.connect()

    def lead() -> None:
        planner = Planner(planning, leadership.elect(planning, 1))
        while not stop.is_set():
            planner.step(jobs.promote(planning, 1000).now)

    thread = threading.Thread(target=lead)
    thread.start()
    try:
        for number in range(25):
            runtime.pause(database.session, "a", timedelta(seconds=0.3) if number % 2 else None)
            stop.wait(0.08)
            asked = Backfill("a", start - 5 * SECOND, start + DAY, at_once=1000, force=True)
            seen = backfilling.preview(database.session, asked)
            backfilling.run(lambda: nullcontext(database.session), asked, seen)
            runtime.resume(database.session, "a")
    finally:
        stop.set()
        thread.join()
        planning.close()
    end = schedules.database_now(database.session)
    plan_at(database, end)
    backfill(database, start - 5 * SECOND, end, end)
    seen_ticks = [tick for tick in accounted(database) if tick <= end]
    first = start.replace(microsecond=0) - 4 * SECOND
    assert seen_ticks == [first + n * SECOND for n in range(len(seen_ticks))]
    assert seen_ticks[-1] == end.astimezone(UTC).replace(microsecond=0)
    assert database.value("SELECT count(*) FROM pqclock.tick WHERE outcome <> 'inserted' AND tick < %s", end) == 0
    assert sorted(column(database, "SELECT tick FROM pqclock.job")) == column(database, INSERTED)


def test_its_questions_find_their_indexes(database: Database) -> None:
    database.session.conn.execute(
        """
        INSERT INTO pqclock.job (id, run_at, created_at, schedule_id, tick, state, priority, max_attempts,
                                 queue, task, args, labels)
        SELECT n, now(), now(), CASE WHEN n % 10 = 0 THEN n % 500 END, CASE WHEN n % 10 = 0 THEN now() END, 'scheduled',
               0, 1, 'q', 'mail', '{}', '{}' FROM generate_series(1, 20000) AS n"""
    )
    database.session.conn.execute("""
        INSERT INTO pqclock.tick
        SELECT 1, now() - n * interval '1 s', now() - n * interval '1 s', 1, now(), 'inserted', NULL, 'clock', n, now()
        FROM generate_series(1, 20000) AS n""")
    database.session.conn.execute("ANALYZE pqclock.job, pqclock.tick")
    now = schedules.database_now(database.session)
    span = {"schedule_id": 1, "first": now, "last": now + MINUTE}
    for statement, params, index in (
        ("backfilling.unfinished", {"schedule_id": 10}, "job_of_schedule"),
        ("backfilling.rows", span, "schedule_id_through_idx"),
    ):
        text = b"EXPLAIN " + query(statement, "pqclock")
        plan = "\n".join(line for (line,) in database.session.conn.execute(text, params))
        assert index in plan and "Seq Scan on job" not in plan, plan


def test_ticks_that_meet_a_unique_key_are_left_out_and_may_come_later(database: Database) -> None:
    unique = replace(HOURLY, unique=Unique("k:{args.half}", on_conflict="raise"), args={"half": "{tick:%p}"})
    runtime.put(database.session, [unique], NOW)
    told = backfill(database, NOW - 4 * HOUR, NOW)
    assert (told.ticks, told.inserted, told.already_there) == (4, 1, 0)
    assert database.rows("SELECT outcome, reason, count(*)::int FROM pqclock.tick GROUP BY 1, 2 ORDER BY 1") == [
        ("inserted", None, 1),
        ("skipped", "unique", 3),
    ]
    assert work_off(database.session) == 1
    again = backfill(database, NOW - 4 * HOUR, NOW)
    assert (again.inserted, again.already_there) == (1, 1)
    assert database.value("SELECT count(*) FROM pqclock.unique_key") == 1
