"""Calendars in files: their days, files beside, iCalendar, and schedules that name them."""

from __future__ import annotations

import builtins
import json
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.errors import ArgumentError
from pqclock.rules.calendars import MOVE_LIMIT, WEEKDAYS, Calendar, excluded_by, exclusion_of
from pqclock.rules.files import FileSet, read_set, schedule_from_fields
from pqclock.rules.files.calendars import beside_name
from pqclock.rules.files.ics import BYTES_LIMIT, read_ics
from pqclock.rules.files.kinds import BadValue
from pqclock.rules.schedule import Schedule
from pqclock.rules.ticks import next_tick
from rules.cron_examples import examples

DAILY = '[schedule.a]\ntask = "x"\ncron = "0 9 * * *"\nexclude = ["de"]\n'
CALENDAR = '[calendar.de]\ndates = [2026-12-25, 2026-12-26]\nweekdays = ["sun", "sat"]\n'


def read(text: str, **attached: bytes | str) -> FileSet:
    def beside(source: str, name: str) -> bytes | str:
        assert source == "schedules/a.toml"
        return attached.get(name.replace(".", "_"), f"there is no {name}")

    return read_set([("schedules/a.toml", text.encode())], beside)


def ics(*events: str) -> bytes:
    inside = "".join(f"BEGIN:VEVENT\n{event}\nEND:VEVENT\n" for event in events)
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n{inside}END:VCALENDAR\n".replace("\n", "\r\n").encode()


def test_a_schedule_holds_the_days_of_its_calendars() -> None:
    found = read(DAILY + 'on_excluded = "next_business_day"\n' + CALENDAR)
    assert found.findings == ()
    (schedule,) = found.schedules
    definition = json.loads(json.dumps(schedule.to_definition()))
    assert definition == {
        "task": "x",
        "cron": "0 9 * * *",
        "exclude": {"names": ["de"], "dates": ["2026-12-25"], "weekdays": ["sat", "sun"]},
        "on_excluded": "next_business_day",
    }
    again = Schedule.from_definition("a", definition)
    assert again == schedule
    assert again.exclude is schedule.exclude
    assert next_tick(again, datetime(2026, 12, 24, 12, tzinfo=UTC)) == datetime(2026, 12, 28, 9, tzinfo=UTC)


@examples(50)
@given(st.sets(st.dates(), max_size=30), st.sets(st.sampled_from(WEEKDAYS), max_size=6), st.dates(), st.booleans())
def test_an_exclusion_is_what_its_calendars_say(dates: set[date], weekdays: set[str], day: date, ahead: bool) -> None:
    calendars = [Calendar(frozenset(dates)), Calendar(weekdays=frozenset(weekdays))]
    exclusion = excluded_by(["a", "b"], calendars)
    assert exclusion_of(json.loads(json.dumps(exclusion.plain()))) is exclusion
    assert exclusion.excludes(day.toordinal()) == (day in dates or WEEKDAYS[day.weekday()] in weekdays)
    step = 1 if ahead else -1
    target = exclusion.target(day.toordinal(), step)
    if target is None:
        assert all(exclusion.excludes(day.toordinal() + step * n) for n in range(1, MOVE_LIMIT + 1))
    elif exclusion.excludes(day.toordinal()):
        assert day.toordinal() in exclusion.sources(target, step)


def test_the_hash_is_of_the_days_and_not_of_where_they_stand() -> None:
    plain = read(DAILY + CALENDAR)
    assert (
        read(DAILY + CALENDAR.replace("sat", "x").replace("sun", "sat").replace("x", "sun")).content_hash
        == plain.content_hash
    )
    attached = read(DAILY + '[calendar.de]\nfile = "days.toml"\n', days_toml=CALENDAR.partition("\n")[2].encode())
    assert attached.findings == ()
    assert attached.content_hash == plain.content_hash
    assert read(DAILY + CALENDAR.replace("12-25", "12-24")).content_hash != plain.content_hash
    assert (
        read(DAILY + '[calendar.de]\nfile = "days.toml"\n', days_toml=b"dates = [2027-01-01]").content_hash
        != plain.content_hash
    )


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        (DAILY, 'exclude[0] names "de", but no file declares such a calendar', (4, 12)),
        (DAILY + '[calendar.der]\nweekdays = ["sat"]\n', 'did you mean "der"?', (4, 12)),
        (CALENDAR + 'file = "x.ics"\n', "file: there is no x.ics", (4, 8)),
        (CALENDAR + 'file = "../x.ics"\n', "file must be the name of a file beside this one", (4, 8)),
        (CALENDAR + 'file = ".x.ics"\n', "file must be the name of a file beside this one", (4, 8)),
        (CALENDAR + 'file = "x.txt"\n', "file must be a .toml or an .ics file", (4, 8)),
        (f"[calendar.de]\nweekdays = {json.dumps(WEEKDAYS)}\n", "a calendar of every weekday", (1, 11)),
        (
            DAILY.replace('"de"', '"de", "week"')
            + f"{CALENDAR}[calendar.week]\nweekdays = {json.dumps(WEEKDAYS[:5])}\n",
            "exclude leaves no day at all",
            (4, 11),
        ),
        (DAILY + 'on_excluded = "skipp"\n' + CALENDAR, 'did you mean "skip"?', (5, 15)),
        (
            DAILY.replace("0 9", "*/4 *") + 'on_excluded = "next_business_day"\n' + CALENDAR,
            "at most 288 ticks of a day can be moved",
            (5, 15),
        ),
    ],
)
def test_findings(text: str, message: str, place: tuple[int, int]) -> None:
    (finding,) = read(text).findings
    assert message in finding.message
    assert (finding.severity, finding.line, finding.column) == ("error", *place)


@pytest.mark.parametrize("timing", ['cron = "0 9 * * SAT"', "at = 2026-12-25T09:00:00Z"])
def test_a_schedule_without_a_day_is_doubted(timing: str) -> None:
    (finding,) = read(DAILY.replace('cron = "0 9 * * *"', timing) + CALENDAR).findings
    assert (finding.severity, finding.message) == ("warning", "exclude leaves no tick: all fall on excluded days")
    assert (
        read(DAILY.replace('cron = "0 9 * * *"', timing) + 'on_excluded = "next_business_day"\n' + CALENDAR).findings
        == ()
    )


def test_defaults_name_calendars_too() -> None:
    own = '[schedule.b]\ntask = "x"\ncron = "@daily"\nexclude = []\n'
    found = read('[defaults]\nexclude = ["de"]\n' + DAILY.replace('exclude = ["de"]\n', "") + own + CALENDAR)
    assert found.findings == ()
    a, b = found.schedules
    assert a.exclude is not None and a.exclude.names == ("de",)
    assert b.exclude is None


def test_the_api_has_no_calendars() -> None:
    with pytest.raises(ArgumentError, match="exclude names calendars, which only schedule files declare"):
        schedule_from_fields("k", {"task": "x", "cron": "@daily", "exclude": ["de"]})
    assert schedule_from_fields("k", {"task": "x", "cron": "@daily", "exclude": []}).exclude is None


def test_findings_in_a_calendar_file_have_its_places() -> None:
    text = '[calendar.de]\nfile = "days.toml"\n'
    (finding,) = read(text, days_toml=b'\nweekdays = ["sat", "sundy"]\n').findings
    assert (finding.file, finding.line, finding.column) == ("schedules/days.toml", 2, 20)
    for content in (b"dates = [2026-13-01]", b"\xff", b"x = 1", b'file = "other.toml"', b"", b"[" * 500):
        found = read(text, days_toml=content)
        assert [finding.file for finding in found.findings] == ["schedules/days.toml"]
        assert not found.ok


def test_a_calendar_file_of_the_folder_is_no_schedule_file() -> None:
    days = b'weekdays = ["sat"]\n'
    files = [("s/a.toml", (DAILY + '[calendar.de]\nfile = "days.toml"\n').encode()), ("s/days.toml", days)]
    assert read_set(files, lambda *_: days).findings == ()
    # Files that name themselves or each other are read as what they are, and the calendar is refused.
    named = DAILY.encode() + b'[calendar.de]\nfile = "a.toml"\n'
    found = read_set([("s/a.toml", named)], lambda *_: named)
    assert (len(found.schedules), found.ok) == (1, False)
    assert beside_name("a.toml", "b.ics") == "b.ics"
    assert beside_name("c:\\s\\a.toml", "b.ics") == "c:\\s\\b.ics"


DAYS = [
    ("DTSTART;VALUE=DATE:20261225", ["2026-12-25"]),
    ("DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261227", ["2026-12-25", "2026-12-26"]),
    ("DTSTART;VALUE=DATE:20261225\nDURATION:P2D", ["2026-12-25", "2026-12-26"]),
    ("DTSTART;VALUE=DATE:20261225\nSTATUS:CANCELLED", []),
    ("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;COUNT=3", ["2026-12-25", "2027-12-25", "2028-12-25"]),
    ("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;INTERVAL=4;UNTIL=20310101", ["2026-12-25", "2030-12-25"]),
    ("DTSTART;VALUE=DATE:20240229\nRRULE:FREQ=YEARLY;UNTIL=20320301T000000Z", ["2024-02-29", "2028-02-29", "2032-02-29"]),
    ("DTSTART;VALUE=DATE:20261126\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;COUNT=2", ["2026-11-26", "2027-11-25"]),
    ("DTSTART;VALUE=DATE:20260525\nRRULE:FREQ=YEARLY;BYMONTH=5;BYDAY=-1MO;COUNT=2", ["2026-05-25", "2027-05-31"]),
    ("DTSTART;VALUE=DATE:20260131\nRRULE:FREQ=YEARLY;BYMONTH=1,2;BYMONTHDAY=-1;COUNT=2", ["2026-01-31", "2026-02-28"]),
    ("DTSTART;VALUE=DATE:20260109\nRRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=FR,MO;COUNT=3", ["2026-01-09", "2026-01-19", "2026-01-23"]),
    ("DTSTART;VALUE=DATE:20260109\nRRULE:FREQ=DAILY;INTERVAL=3;COUNT=3", ["2026-01-09", "2026-01-12", "2026-01-15"]),
    ("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;COUNT=3\nEXDATE;VALUE=DATE:20271225", ["2026-12-25", "2028-12-25"]),
    ("DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261227\nRRULE:FREQ=YEARLY;COUNT=1", ["2026-12-25", "2026-12-26"]),
]  # fmt: skip


@pytest.mark.parametrize(("event", "dates"), DAYS)
def test_events_of_whole_days_become_dates(event: str, dates: list[str]) -> None:
    found, faults = read_ics(ics(event))
    assert (sorted(day.isoformat() for day in found), faults) == (dates, [])


def test_repetitions_end_with_the_window() -> None:
    found, _ = read_ics(ics("DTSTART;VALUE=DATE:19700101\nRRULE:FREQ=YEARLY"))
    assert (min(found), max(found), len(found)) == (date(2020, 1, 1), date(2049, 1, 1), 30)
    found, _ = read_ics(ics("DTSTART;VALUE=DATE:20260103\nRRULE:FREQ=WEEKLY;BYDAY=SA,SU"))
    assert all(day.weekday() >= 5 for day in found) and max(found) == date(2049, 12, 26)
    with pytest.raises(BadValue, match="more than 10,000 dates"):
        read_ics(ics("DTSTART;VALUE=DATE:20200101\nRRULE:FREQ=DAILY"))


BAD_EVENTS = [
    ("DTSTART:20261225T090000Z", "is not of whole days, and left out"),
    ("SUMMARY:x", "has no DTSTART"),
    ("DTSTART;VALUE=DATE:2026", ""),
    ("DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261224", "takes -1 days"),
    ("DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:99991224", "days"),
    ("DTSTART;VALUE=DATE:99991231\nDURATION:P9D", "takes 9 days"),
    ("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=MONTHLY", "repeats in a way that is not supported"),
    ("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=SECONDLY", "repeats in a way that is not supported"),
    ("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;BYSETPOS=1", "repeats in a way that is not supported"),
    ("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;INTERVAL=0", "not supported"),
    ("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;BYDAY=FR", "not supported"),
    ("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;BYMONTH=12;BYDAY=FR", "not supported"),
    ("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=WEEKLY;INTERVAL=2;WKST=SU", "not supported"),
    ("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY\nRRULE:FREQ=DAILY", "repeats in several ways"),
    ("DTSTART;VALUE=DATE:20261225\nRDATE;VALUE=DATE:20261224", "has RDATE"),
]  # fmt: skip


@pytest.mark.parametrize(("event", "message"), BAD_EVENTS)
def test_events_that_would_be_read_wrongly_are_told(event: str, message: str) -> None:
    found = read('[calendar.de]\nfile = "x.ics"\n', x_ics=ics(f"{event}\nUID:u"))
    (finding,) = found.findings
    assert (finding.line, finding.column) == (2, 8)
    assert message in finding.message


def test_hostile_calendar_files_are_findings() -> None:
    begun = time.monotonic()
    for content in (
        b"", b"\x00", b"BEGIN:VCALENDAR", b"BEGIN:VEVENT\r\n" * 20_000, b"x" * (BYTES_LIMIT + 1), b"\xff\xfe" * 1000,
        ics(*["DTSTART;VALUE=DATE:00010101\nRRULE:FREQ=DAILY;COUNT=100000"] * 5), ics("DTSTART:x\n" * 1000),
        ics("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"), b"BEGIN:VCALENDAR\r\n" * 5000,
    ):  # fmt: skip
        found = read(DAILY + '[calendar.de]\nfile = "x.ics"\n', x_ics=content)
        assert all(len(finding.message) < 500 for finding in found.findings)
    assert time.monotonic() - begun < 10


@examples(60)
@given(st.lists(st.sampled_from([event for event, _ in [*DAYS, *BAD_EVENTS]]), max_size=4), st.data())
def test_cut_and_mixed_files_never_crash(events: list[str], data: st.DataObject) -> None:
    content = ics(*events)
    start = data.draw(st.integers(0, len(content)))
    text = content[:start] + data.draw(st.binary(max_size=5)) + content[start + data.draw(st.integers(0, 30)) :]
    read('[calendar.de]\nfile = "x.ics"\n', x_ics=text)


def test_without_the_package_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "icalendar":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    (finding,) = read('[calendar.de]\nfile = "x.ics"\n', x_ics=ics()).findings
    assert "pip install 'pqclock[ics]'" in finding.message


def test_long_calendars_are_cheap_to_walk() -> None:
    days = frozenset(date(2000, 1, 1) + timedelta(days=2 * n) for n in range(10_000))
    schedule = Schedule("k", "t", cron="*/5 * * * *", exclude=excluded_by(["c"], [Calendar(days, frozenset({"sun"}))]))
    begun, at = time.monotonic(), datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(2_000):
        found = next_tick(schedule, at)
        assert found is not None
        at = found
    assert time.monotonic() - begun < 2.0
