"""Sets of files: defaults, names across files, the content hash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pqclock.rules.files import FileSet, read_set

DAILY = 'task = "x.y"\ncron = "0 2 * * *"\n'


def read(**files: str) -> FileSet:
    return read_set([(f"{name}.toml", text.encode()) for name, text in files.items()])


def test_an_empty_set() -> None:
    found = read_set([])
    assert found.ok
    assert found.schedules == ()
    assert found.content_hash == read(a="# nothing\n").content_hash


def test_schedules_come_in_the_order_of_files_and_lines() -> None:
    found = read(b=f"[schedule.z]\n{DAILY}\n[schedule.b]\n{DAILY}", a=f"\n[schedule.a]\n{DAILY}")
    assert [schedule.key for schedule in found.schedules] == ["z", "b", "a"]
    assert [schedule.source for schedule in found.schedules] == ["b.toml:1", "b.toml:5", "a.toml:2"]


def test_defaults_are_of_their_file_and_give_way() -> None:
    defaults = 'timezone = "Europe/Berlin"\nqueue = "slow"\ngrace = "5m"\nargs = { a = 1 }\n'
    text = f"[defaults]\n{defaults}[schedule.a]\n{DAILY}"
    found = read(a=text + f'[schedule.b]\n{DAILY}timezone = "UTC"\nargs = {{ b = 2 }}\n', b=f"[schedule.c]\n{DAILY}")
    assert found.ok
    a, b, c = found.schedules
    assert (a.timezone, a.queue, a.grace, a.args) == ("Europe/Berlin", "slow", timedelta(minutes=5), {"a": 1})
    assert (b.timezone, b.queue, b.args) == ("UTC", "slow", {"b": 2})
    assert (c.timezone, c.queue, c.grace) == ("UTC", None, timedelta(minutes=1))


def test_a_timing_of_its_own_replaces_a_default_at() -> None:
    found = read(a=f'[defaults]\nat = 2027-01-01T00:00:00Z\n[schedule.a]\ntask = "x"\n[schedule.b]\n{DAILY}')
    assert found.ok
    assert [(schedule.at, schedule.cron) for schedule in found.schedules] == [
        (datetime(2027, 1, 1, tzinfo=UTC), None),
        (None, "0 2 * * *"),
    ]


def test_a_fault_in_the_defaults_is_told_once() -> None:
    found = read(a=f"[defaults]\ngrace = 5\n[schedule.a]\n{DAILY}[schedule.b]\n{DAILY}")
    assert len(found.findings) == 1


@pytest.mark.parametrize(
    ("lines", "instant"),
    [
        ("at = 2027-01-01T09:00:00+01:00", datetime(2027, 1, 1, 8, tzinfo=UTC)),
        ('at = "2027-01-01T09:00:00Z"', datetime(2027, 1, 1, 9, tzinfo=UTC)),
        ("at = 2027-01-01T09:00:00", datetime(2027, 1, 1, 8, tzinfo=UTC)),
        ("at = 2027-03-28T02:30:00", datetime(2027, 3, 28, 1, tzinfo=UTC)),
        ("at = 2026-10-25T02:30:00", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ('at = 2026-10-25T02:30:00\nfold = "second"', datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
        ('at = 2011-12-30T12:00:00\ntimezone = "Asia/Tokyo"', datetime(2011, 12, 30, 3, tzinfo=UTC)),
    ],
)
def test_at_takes_an_offset_or_the_timezone(lines: str, instant: datetime) -> None:
    found = read(a=f'[defaults]\ntimezone = "Europe/Berlin"\n[schedule.a]\ntask = "x"\n{lines}\n')
    assert found.findings == ()
    assert found.schedules[0].at == instant


def test_a_day_that_a_zone_left_out_does_not_exist() -> None:
    found = read(a='[schedule.a]\ntask = "x"\ntimezone = "Pacific/Apia"\nat = 2011-12-30T12:00:00\n')
    assert "does not exist in Pacific/Apia" in found.findings[0].message


@pytest.mark.parametrize(("section", "lines"), [("schedule", DAILY), ("throttle", 'rate = "1/1s"\n'), ("queue", "")])
def test_a_name_declared_in_two_files_names_both_places(section: str, lines: str) -> None:
    found = read(a=f"[{section}.x]\n{lines}", b=f"# comment\n[{section}.x]\n{lines}")
    (error,) = [finding for finding in found.findings if finding.severity == "error"]
    assert error.message == f'{section} "x" is declared twice: at a.toml:1 and at b.toml:2'
    assert (error.file, error.line, error.column) == ("b.toml", 2, len(section) + 3)


def test_names_of_rules_are_looked_up_in_all_files() -> None:
    uses = (
        f'[schedule.a]\n{DAILY}throttle = ["warehous:eu", "stripe:a:b"]\nfuse = ["stripe"]\nexclude = ["de-holiday"]\n'
    )
    rules = '[throttle.warehouse]\nrate = "1/1s"\n[throttle.stripe]\nrate = "1/1s"\n'
    rules += '[calendar.de-holidays]\nweekdays = ["sat"]\n'
    found = read(a=uses, b=rules)
    unknown = [finding.message for finding in found.findings if "no file declares" in finding.message]
    assert unknown == [
        'throttle[0] names "warehous", but no file declares such a throttle; did you mean "warehouse"?',
        'fuse[0] names "stripe", but no file declares such a fuse; write a [fuse.stripe] table',
        'exclude[0] names "de-holiday", but no file declares such a calendar; did you mean "de-holidays"?',
    ]


def test_names_are_not_called_unknown_while_a_file_cannot_be_read() -> None:
    found = read(a=f'[schedule.a]\n{DAILY}fuse = ["x"]\n', b="[fuse.x\n")
    assert not any("no file declares" in finding.message for finding in found.findings)


def test_a_broken_file_does_not_hide_the_findings_of_others() -> None:
    found = read(a="[schedule", b=f"[schedule.a]\n{DAILY}grace = 1\n")
    assert [finding.file for finding in found.findings] == ["a.toml", "b.toml"]


def test_queues_promise_and_rates_are_told_in_one_form() -> None:
    found = read(a='[throttle.x]\nrate = "60/60s"\n[queue.plain]\n[queue.q]\nslo = "900s"\n')
    assert found.ok and not found.findings
    assert found.slos == {"q": "15m"}
    assert found.throttles == {"x": {"rate": "60/1m"}}


def test_the_hash_is_over_the_meaning() -> None:
    one = read(a=f"[schedule.a]\n{DAILY}[schedule.b]\n{DAILY}", b='[queue.q]\nslo = "15m"\n')
    same = read(
        z='# moved\n[queue.q]\nslo = "900s"\n[schedule.b]\ncron="0 2 * * *" # two\n'
        'task = "x.y"\nenabled = true\ngrace = "60s"\n',
        y=f'[defaults]\ntimezone = "UTC"\n[schedule.a]\n{DAILY}',
    )
    assert same.content_hash == one.content_hash
    assert len(one.content_hash) == 64


@pytest.mark.parametrize(
    "text",
    [
        f"[schedule.b]\n{DAILY}",
        f"[schedule.a]\n{DAILY}priority = 0\n",
        f"[schedule.a]\n{DAILY}labels = []\n",
        f"[schedule.a]\n{DAILY}[throttle.x]\nconcurrency = 1\n",
        f"[schedule.a]\n{DAILY}args = {{ a = 1 }}\n",
    ],
)
def test_another_meaning_has_another_hash(text: str) -> None:
    assert read(a=text).content_hash != read(a=f"[schedule.a]\n{DAILY}").content_hash
