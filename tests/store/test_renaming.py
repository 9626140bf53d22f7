"""`was`: a schedule under a new key goes on from where the former one stood, with its history."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pqclock.clock.applier import Applied, apply
from pqclock.clock.planner import Planner
from pqclock.errors import ArgumentError
from pqclock.rules.schedule import Schedule
from pqclock.store import leadership, runtime
from store.samples import HOUR, MINUTE, NOW

if TYPE_CHECKING:
    from datetime import datetime

    from conftest import Database

OLD = Schedule("old", "mail", cron="0 * * * *", catch_up="all")
NEW = replace(OLD, key="new", was=("older", "old"))
TICKS = "SELECT schedule_key, tick, outcome FROM pqclock.ticks ORDER BY tick"


def applied(database: Database, *wanted: Schedule, content: str, at: datetime) -> Applied:
    return apply(database.session, "default", content, wanted, explicit=True, now=at)


def plan_at(database: Database, now: datetime) -> None:
    planner = Planner(database.session, leadership.elect(database.session, 1))
    while planner.step(now).more:
        pass


def test_watermark_history_and_missed_ticks_carry_over(database: Database) -> None:
    applied(database, OLD, content="1", at=NOW)
    plan_at(database, NOW + HOUR - MINUTE)
    late = NOW + 3 * HOUR + MINUTE
    done = applied(database, NEW, content="2", at=late)
    assert done.difference is not None
    assert (done.difference.renamed, done.difference.removed, done.difference.added) == (("new",), (), ())
    plan_at(database, late)
    assert database.rows(TICKS) == [("new", NOW + n * HOUR, "inserted") for n in (1, 2, 3)]
    assert database.rows("SELECT key, state, version FROM pqclock.schedule") == [("new", "active", 2)]
    assert database.value("SELECT min(watermark) FROM pqclock.schedules") >= NOW + HOUR - MINUTE  # type: ignore[operator]


def test_once_renamed_the_former_key_says_nothing_more(database: Database) -> None:
    applied(database, OLD, content="1", at=NOW)
    applied(database, NEW, content="2", at=NOW)
    again = applied(database, replace(NEW, was=()), content="3", at=NOW)
    assert again.difference is not None
    assert again.difference.unchanged == ("new",)
    back = applied(database, replace(OLD, was=("new",)), content="4", at=NOW)
    assert back.difference is not None
    assert back.difference.renamed == ("old",)
    assert database.rows("SELECT key, version FROM pqclock.schedule") == [("old", 3)]


def test_a_pause_goes_with_the_schedule(database: Database) -> None:
    applied(database, OLD, content="1", at=NOW)
    runtime.pause(database.session, "old", until=NOW + 5 * HOUR, note="moved", now=NOW)
    applied(database, NEW, content="2", at=NOW + HOUR)
    plan_at(database, NOW + 5 * HOUR + MINUTE)
    assert database.rows("SELECT schedule_key, outcome, reason, count::int FROM pqclock.ticks ORDER BY tick") == [
        ("new", "skipped", "paused", 1),
        ("new", "skipped", "paused", 3),
        ("new", "inserted", None, 1),
    ]


def test_the_key_of_another_set_is_not_taken_over(database: Database) -> None:
    apply(database.session, "other", "1", [OLD], explicit=True, now=NOW)
    done = applied(database, NEW, content="2", at=NOW)
    assert done.difference is not None
    assert (done.difference.added, done.difference.renamed) == (("new",), ())
    assert database.rows("SELECT key, set_name FROM pqclock.schedule ORDER BY 1") == [
        ("new", "default"),
        ("old", "other"),
    ]


def test_schedules_of_the_api_are_renamed_too(database: Database) -> None:
    runtime.put(database.session, [OLD], now=NOW)
    assert runtime.put(database.session, [NEW], now=NOW + MINUTE) == ["new"]
    assert runtime.put(database.session, [NEW], now=NOW + MINUTE) == []
    plan_at(database, NOW + HOUR)
    assert database.rows(TICKS) == [("new", NOW + HOUR, "inserted")]
    assert database.rows("SELECT key FROM pqclock.schedule") == [("new",)]


def test_of_two_heirs_only_one_goes_on(database: Database) -> None:
    runtime.put(database.session, [OLD], now=NOW)
    other = replace(NEW, key="newer")
    assert runtime.put(database.session, [NEW, other], now=NOW + MINUTE) == ["new", "newer"]
    assert database.rows("SELECT key, version FROM pqclock.schedule ORDER BY id") == [("new", 2), ("newer", 1)]


def test_a_key_of_files_is_not_renamed_by_the_api(database: Database) -> None:
    applied(database, OLD, content="1", at=NOW)
    assert runtime.put(database.session, [NEW], now=NOW) == ["new"]
    assert database.rows("SELECT key, state FROM pqclock.schedule ORDER BY id") == [
        ("old", "active"),
        ("new", "active"),
    ]
    with pytest.raises(ArgumentError, match="is declared in"):
        runtime.put(database.session, [OLD], now=NOW)
