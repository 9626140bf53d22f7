"""Calendars from files on the disk through apply and the planner to ledger and jobs, on a real server."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pqclock.clock.applier import apply
from pqclock.clock.planner import Planner
from pqclock.rules.files import FileSet
from pqclock.schedule_files import read_paths
from pqclock.store import leadership
from store.samples import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from conftest import Database

# Friday noon; NOW of the other samples is the Sunday after.
FRIDAY = datetime(2026, 11, 20, 12, tzinfo=UTC)
SATURDAY, SUNDAY, MONDAY, TUESDAY = (datetime(2026, 11, day, 9, tzinfo=UTC) for day in (21, 22, 23, 24))
LEDGER = "SELECT tick, through, count, nominal, outcome, reason FROM pqclock.tick ORDER BY tick"
WEEKEND = '[calendar.weekend]\nweekdays = ["sat", "sun"]\n'
HOLIDAY = b"""BEGIN:VCALENDAR
VERSION:2.0
PRODID:test
BEGIN:VEVENT
UID:1
SUMMARY:A day off
DTSTART;VALUE=DATE:20261123
DTEND;VALUE=DATE:20261124
END:VEVENT
END:VCALENDAR
"""


def declared(folder: Path, cron: str, more: str, calendars: str = WEEKEND) -> FileSet:
    text = (
        f'[schedule.a]\ntask = "mail"\ncron = "{cron}"\ncatch_up = "all"\ncatch_up_window = "30d"\n{more}\n{calendars}'
    )
    (folder / "a.toml").write_text(text)
    found = read_paths([folder])
    assert found.findings == ()
    return found


def put(database: Database, files: FileSet, now: datetime) -> None:
    apply(database.session, "default", files.content_hash, files.schedules, explicit=True, now=now)


def planned(database: Database, now: datetime) -> None:
    office = Planner(database.session, leadership.elect(database.session, 1, now))
    while office.step(now).more:
        pass


def test_excluded_ticks_are_written_down_and_the_next_one_runs(database: Database, tmp_path: Path) -> None:
    put(database, declared(tmp_path, "0 9 * * *", 'exclude = ["weekend"]'), FRIDAY)
    planned(database, FRIDAY)
    assert database.value("SELECT next_tick FROM pqclock.schedule") == MONDAY
    planned(database, MONDAY)
    assert database.rows(LEDGER) == [
        (SATURDAY, SUNDAY, 2, SATURDAY, "skipped", "excluded"),
        (MONDAY, MONDAY, 1, MONDAY, "inserted", None),
    ]


def test_a_moved_tick_has_the_instant_that_it_came_from(database: Database, tmp_path: Path) -> None:
    (tmp_path / "holidays.ics").write_bytes(HOLIDAY)
    calendars = WEEKEND + '[calendar.holidays]\nfile = "holidays.ics"\n'
    more = 'exclude = ["weekend", "holidays"]\non_excluded = "next_business_day"\nargs = { day = "{tick:%Y-%m-%d}" }'
    put(database, declared(tmp_path, "0 9 * * SAT", more, calendars), FRIDAY)
    planned(database, FRIDAY)
    assert database.value("SELECT next_tick FROM pqclock.schedule") == TUESDAY
    planned(database, TUESDAY)
    assert database.rows(LEDGER) == [
        (SATURDAY, SATURDAY, 1, SATURDAY, "skipped", "moved"),
        (TUESDAY, TUESDAY, 1, SATURDAY, "inserted", None),
    ]
    assert database.rows("SELECT tick, args FROM pqclock.job") == [(TUESDAY, {"day": "2026-11-24"})]


def test_a_tick_may_move_to_a_day_before(database: Database, tmp_path: Path) -> None:
    more = 'exclude = ["weekend"]\non_excluded = "previous_business_day"'
    put(database, declared(tmp_path, "0 13 * * SUN", more), FRIDAY)
    planned(database, FRIDAY)
    planned(database, FRIDAY + HOUR)
    planned(database, FRIDAY + 7 * DAY + HOUR)
    friday, sunday = FRIDAY + HOUR, SUNDAY + 4 * HOUR
    assert database.rows(LEDGER) == [
        (friday, friday, 1, sunday, "inserted", None),
        (sunday, sunday, 1, sunday, "skipped", "moved"),
        (friday + 7 * DAY, friday + 7 * DAY, 1, sunday + 7 * DAY, "inserted", None),
    ]


def test_a_change_on_an_excluded_day_loses_nothing_of_it(database: Database, tmp_path: Path) -> None:
    put(database, declared(tmp_path, "0 9 * * *", 'exclude = ["weekend"]'), FRIDAY)
    planned(database, FRIDAY)
    put(database, declared(tmp_path, "0 10 * * *", 'exclude = ["weekend"]'), SUNDAY - HOUR)
    planned(database, MONDAY + HOUR)
    assert database.rows(LEDGER) == [
        (SATURDAY, SATURDAY, 1, SATURDAY, "skipped", "excluded"),
        (SUNDAY + HOUR, SUNDAY + HOUR, 1, SUNDAY + HOUR, "skipped", "excluded"),
        (MONDAY + HOUR, MONDAY + HOUR, 1, MONDAY + HOUR, "inserted", None),
    ]


def test_a_calendar_that_changes_changes_what_lies_ahead(database: Database, tmp_path: Path) -> None:
    put(database, declared(tmp_path, "0 9 * * *", 'exclude = ["weekend"]'), FRIDAY)
    planned(database, MONDAY - MINUTE)
    assert database.value("SELECT count(*) FROM pqclock.job") == 1
    (tmp_path / "days.toml").write_text("dates = [2026-11-23]\n")
    later = declared(tmp_path, "0 9 * * *", 'exclude = ["weekend"]', WEEKEND + 'file = "days.toml"\n')
    put(database, later, MONDAY - MINUTE / 2)
    assert database.value("SELECT count(*) FROM pqclock.job") == 0
    planned(database, TUESDAY)
    assert database.rows(LEDGER)[1:] == [
        (MONDAY, MONDAY, 1, MONDAY, "skipped", "excluded"),
        (TUESDAY, TUESDAY, 1, TUESDAY, "inserted", None),
    ]


def test_ticks_that_all_fall_on_excluded_days_are_written_down_in_the_end(database: Database, tmp_path: Path) -> None:
    more = 'exclude = ["weekend"]\nend = 2026-11-24T00:00:00Z'
    put(database, declared(tmp_path, "0 9 * * *", more), FRIDAY)
    planned(database, FRIDAY)
    planned(database, MONDAY)
    assert database.value("SELECT next_tick FROM pqclock.schedule") is None
    put(database, declared(tmp_path, "0 9 * * *", 'exclude = ["weekend"]\nend = 2026-11-30T00:00:00Z'), MONDAY + HOUR)
    planned(database, MONDAY + HOUR)
    planned(database, MONDAY + 7 * DAY)
    reasons = database.rows("SELECT reason, sum(count)::int FROM pqclock.tick GROUP BY 1 ORDER BY 1")
    assert reasons == [("ended", 1), ("excluded", 4), (None, 5)]
