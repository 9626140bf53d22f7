"""Findings: every kind of fault, where it is said to be, and how it reads."""

from __future__ import annotations

import json

import pytest

from pqclock.rules.files import FileSet, Finding, read_set
from pqclock.rules.files.findings import dotted

GOOD = '[schedule.a]\ntask = "x.y"\ncron = "0 2 * * *"\n'


def read(text: str) -> FileSet:
    return read_set([("a.toml", text.encode())])


def only(text: str) -> Finding:
    (finding,) = read(text).findings
    return finding


FIELDS: list[tuple[str, str, str | None]] = [
    ('cron = "0 25 * * *"', "hour", '"0 25 * * *"'),
    ('cron = ""', "cron must have 1 to 256 characters", '""'),
    ("cron = 5", "cron must be a cron expression, not 5", "5"),
    ('cron = "@reboot"', "cron:", '"@reboot"'),
    ('cron = "0 0 30 2 *"', "cron:", '"0 0 30 2 *"'),
]

MORE: list[tuple[str, str, str | None]] = [
    ('task = "a b"', 'task must be the name of a task: letters, digits, _ . : and -, not "a b"', '"a b"'),
    ("task = true", "task must be the name of a task: letters, digits, _ . : and -, not true", "true"),
    ('timezone = "Europe/Berln"', "did you mean 'Europe/Berlin'?", '"Europe/Berln"'),
    ('timezone = "+01:00"', "timezone:", '"+01:00"'),
    ('grace = 60', 'not 60: write for example "60s"', "60"),
    ('grace = "1x"', "grace: '1x' is not a duration", '"1x"'),
    ("grace = false", "grace must be a duration", "false"),
    ('spread = "999999999w"', "out of range", '"999999999w"'),
    ('expires_in = "0s"', "expires_in must be a duration, 1ms or more", '"0s"'),
    ('catch_up = "lates"', 'must be "none", "latest" or "all", not "lates"; did you mean "latest"?', '"lates"'),
    ("catch_up = 1", 'catch_up must be "none", "latest" or "all", not 1', "1"),
    ("catch_up_limit = 0", "catch_up_limit must be a whole number from 1 to 10,000, not 0", "0"),
    ("catch_up_limit = 1.0", "catch_up_limit must be a whole number", "1.0"),
    ("catch_up_limit = true", "catch_up_limit must be a whole number", "true"),
    ("priority = 40000", "priority must be a whole number from -32,767 to 32,767, not 40000", "40000"),
    ("max_attempts = 0xFFFFFFFFFFFFFFFFFFFFFFFF", "not a huge number", "0xFFFFFFFFFFFFFFFFFFFFFFFF"),
    ('enabled = "yes"', 'enabled must be true or false, not "yes"', '"yes"'),
    ('queue = "a;b"', "queue must be the name of a queue", '"a;b"'),
    ('labels = "finance"', 'labels must be a list of labels, not "finance": write ["finance"]', '"finance"'),
    ('labels = ["a", ""]', "labels[1] must have 1 to 64 characters, not 0", '""'),
    (f'labels = {["a"] * 17}', "labels must have at most 16 labels, not 17", None),
    (f'labels = ["{"a" * 65}"]', "labels[0] must have 1 to 64 characters, not 65", f'"{"a" * 65}"'),
    ('description = "a\\u0000b"', "description must not hold control characters", '"a\\u0000b"'),
    ("start = 2026-12-01T00:00:00", "start has no offset: write for example 2026-12-01T00:00:00Z", None),
    ("start = 2026-12-01", "start must be a date and time with an offset", "2026-12-01"),
    ('start = "soon"', "start must be a date and time with an offset", '"soon"'),
    ("start = 2026-12-01T00:00:00.5Z", "start must be a time of whole seconds", None),
    ("start = 0001-01-01T00:00:00+14:00", "between the years 1 and 9999", None),
    ("args = [1]", "args must be a table of arguments by name, not a list", "[1]"),
    ("args = { n = nan }", "args.n is nan, which JSON does not have", "nan"),
    ("args = { n = [1, -inf] }", "args.n[1] is -inf", "-inf"),
    ("args = { n = { d = 2026-12-01 } }", "args.n.d is 2026-12-01, a date", "2026-12-01"),
    ("args = { n = 0xFFFFFFFFFFFFFFFFF }", "more than 64 bits", "0xFFFFFFFFFFFFFFFFF"),
    ('args = { n = "\\u0000" }', "NUL", '"\\u0000"'),
    ('args = { n = "a{tik}" }', "args.n is no template:", "{tik}"),
    ('args = { n = "{tick:%Q}" }', "args.n is no template:", "{tick:%Q}"),
    ('args = { n = "\\t{tik}" }', "args.n is no template:", '"\\t{tik}"'),
    ('overlap = "skipp"', 'did you mean "skip"?', '"skipp"'),
    ('was = ["a"]', "the key that it has now: leave it out", '"a"'),
    ('keep = "90d"', "keep is not supported yet", "keep"),
    ('alert_after = "500ms"', "alert_after", '"500ms"'),
    ('unique = { key = "{day}" }', "in a schedule an argument is {args.day}", '"{day}"'),
    ('unique = { key = "{args.a:x}" }', "names {args.a:x}, which is no argument", '"{args.a:x}"'),
    ('unique = { key = "x", replace = ["args"] }', 'unique: Unique(replace=...) names what on_conflict="replace" changes',
     '{ key = "x", replace = ["args"] }'),
    ('args = { n = [1] }\nunique = { key = "{args.n}" }', "unique.key \"{args.n}\" names {args.n}, which is no single value",
     '"{args.n}"'),
    ('unique = { until = "finished" }', 'unique lacks "key"', '{ until = "finished" }'),
    ('unique = { key = "x", until = "finishd" }', 'must be "started", "finished" or a duration', '"finishd"'),
    ('unique = { key = "x", untl = "1h" }', 'unique.untl is no field of this table; did you mean "until"?', "untl"),
    ('catchup = "all"', 'catchup is no field of this table; did you mean "catch_up"?', "catchup"),
    ('tz = "UTC"', 'tz is no field of this table; did you mean "timezone"?', "tz"),
    ("zzzzzz = 1", "zzzzzz is no field of this table", "zzzzzz"),
    ('"a\\u001bb" = 1', '"a\\x1bb" is no field of this table', '"a\\u001bb"'),
    ("end = 2026-01-01T00:00:00Z\nstart = 2026-01-01T01:00:00+01:00", "end must be after", "2026-01-01T00:00:00Z"),
    ('every = "1h"', "every is one too many", "every"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message", "marked"), FIELDS + MORE)
def test_a_wrong_field_is_one_finding_at_its_place(line: str, message: str, marked: str | None) -> None:
    rest = {"task": 'task = "x"', "cron": 'cron = "0 2 * * *"'}
    rest.pop(line.partition(" ")[0], None)
    text = f"[schedule.a]\n{line}\n" + "\n".join(rest.values())
    finding = only(text)
    assert finding.severity == "error"
    assert message in finding.message
    if marked is not None:
        column = finding.column - 1
        assert text.splitlines()[finding.line - 1][column : column + finding.length] == marked


TIMINGS = [
    ("", "exactly one of cron, every and at is needed; none is given"),
    ('every = "500ms"', "every must be a duration of whole seconds, 1s or more"),
    ('every = "1s500ms"', "every must be a duration of whole seconds, 1s or more"),
    ("at = 2027-01-01T09:00:00", "at is a local time, and no timezone says where"),
    ('at = 2027-03-28T02:30:00\ngap = "skip"\ntimezone = "Europe/Berlin"', "at does not exist in Europe/Berlin"),
    ('at = 2026-10-25T02:30:00\nfold = "both"\ntimezone = "Europe/Berlin"', "at exists twice in Europe/Berlin"),
    ("at = 2027-01-01T09:00:00Z\nstart = 2027-01-02T00:00:00Z", "never ticks: it is before start"),
    ("at = 2027-01-01T09:00:00Z\nend = 2027-01-01T09:00:00Z", "never ticks: it is not before end"),
]


@pytest.mark.parametrize(("lines", "message"), TIMINGS)
def test_timings(lines: str, message: str) -> None:
    assert message in only(f'[schedule.a]\ntask = "x"\n{lines}').message


@pytest.mark.parametrize(
    ("every", "says"),
    [
        ("1d", "at 00:00 UTC"),
        ("2w", "on Thursdays at 00:00 UTC"),
        ("25h", "at instants that may surprise"),
        ("23h", None),
    ],
)
def test_long_periods_without_a_start_are_a_warning(every: str, says: str | None) -> None:
    text = f'[schedule.a]\ntask = "x"\nevery = "{every}"\n'
    found = read(text)
    assert found.ok
    assert [says in finding.message for finding in found.findings if says] == ([True] if says else [])
    assert not read(text + "start = 2026-12-01T00:00:00Z").findings


def test_a_window_without_a_tick_is_a_warning() -> None:
    window = "start = 2026-12-01T03:00:00Z\nend = 2026-12-02T02:00:0{}Z\n"
    found = read(GOOD + window.format(0))
    assert found.ok
    assert [finding.message for finding in found.findings] == ["end leaves no tick: none falls between start and end"]
    assert not read(GOOD + window.format(1)).findings


def test_the_notes_of_an_expression_are_warnings() -> None:
    found = read('[schedule.a]\ntask = "x"\ncron = "0 6 13 * FRI"')
    assert found.ok
    assert [finding.severity for finding in found.findings] == ["warning"]
    assert found.findings[0].key == "schedule.a.cron"


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("[schedul.a]\n", 'schedul is no section; did you mean "schedule"?', (1, 2)),
        ('timezone = "UTC"\n', "stands outside every section", (1, 1)),
        ("schedule = 5\n", "schedule must be a table; write [schedule.KEY]", (1, 1)),
        ("[[schedule]]\n", "schedule must be a table", (1, 3)),
        ('[schedule]\ntask = "x"\n', "schedule.task must be a table; write a [schedule.KEY] header", (2, 1)),
        ('[schedule."A b"]\n', 'the name "A b" must match [a-z0-9]', (1, 11)),
        (f'[schedule.{"a" * 101}]\n', "must match [a-z0-9]", (1, 11)),
        ('[defaults]\ncron = "* * * * *"\n', "cron cannot be a default: write it in each schedule", (2, 1)),
        ('[defaults]\ntask = "x"\n', "task cannot be a default", (2, 1)),
        ('[defaults]\nquue = "x"\n', 'quue is no field of this table; did you mean "queue"?', (2, 1)),
        ('[defaults]\nthrottle = ["x:"]\n[throttle.x]\nrate = "1/1s"', "must be the name of a rule", (2, 13)),
        ('[throttle.x]\nrate = "0/1s"\n', 'rate must be a rate such as "100/1m", not "0/1s"', (2, 8)),
        ('[throttle.x]\nrate = "1/54w"\n', 'rate must have a window of at most 53w, not "54w"', (2, 8)),
        ('[throttle.x]\nrate = "1/x"\n', "rate: 'x' is not a duration", (2, 8)),
        ('[throttle.x]\n', "a throttle needs rate, concurrency or both", (1, 11)),
        ('[throttle.x]\nrate = "5/1s"\nburst = 6\n', "burst = 6 must not be above the rate, 5", (3, 9)),
        ('[throttle.x]\nconcurrency = 5\nburst = 6\n', "burst needs a rate", (3, 1)),
        ('[fuse.x]\nwithin = "1m"\ncool_down = "1m"\n', "a fuse needs failures, failure_rate or both", (1, 7)),
        ('[fuse.x]\nfailures = 5\ncool_down = "1m"\n', 'the field "within" is missing', (1, 7)),
        ('[fuse.x]\nfailure_rate = 0.5\nwithin = "1m"\ncool_down = "1m"\n', "needs minimum beside it", (2, 1)),
        ('[fuse.x]\nfailures=1\nwithin = "1m"\ncool_down = "2m"\nmax_cool_down="1m"\n', "be below cool_down", (5, 15)),
        ("[calendar.x]\n", "a calendar needs dates, weekdays or a file", (1, 11)),
        ('[calendar.x]\nweekdays = ["sat", "sundy"]\n', 'weekdays[1] must be "mon"', (2, 20)),
        ('[queue.x]\nslo = "1"\n', "slo: '1' is not a duration", (2, 7)),
    ],
)  # fmt: skip
def test_sections(text: str, message: str, place: tuple[int, int]) -> None:
    errors = [finding for finding in read(text).findings if finding.severity == "error"]
    assert len(errors) == 1
    assert message in errors[0].message
    assert (errors[0].line, errors[0].column) == place


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("task = foo\n", "has no quotes", (1, 8)),
        ('a = "x\n', "the text is not closed on its line", (1, 7)),
        ("a = 1 b = 2\n", "something left behind the value", (1, 7)),
        ("a\n", 'expected "=" after the key', (1, 2)),
        ("a = 1\na = 2\n", "this key is given twice", (2, 6)),
        ("a = [1,\n", "a value is missing", (1, 8)),
        ("d = 2026-02-30\n", "there is no such date", (1, 5)),
        ('a = "C:\\dir"\n', "a backslash stands alone", (1, 10)),
        ("[schedule.a]\n# c\n[schedule.a]\n", "[schedule.a] is declared twice: at a.toml:1 and at a.toml:3", (3, 1)),
    ],
)
def test_syntax_errors(text: str, message: str, place: tuple[int, int]) -> None:
    finding = only(text)
    assert message in finding.message
    assert (finding.line, finding.column) == place


def test_all_findings_at_once_in_the_order_of_lines() -> None:
    text = '[schedule.a]\ngrace = 1\ncron = "x"\n[schedule.b]\nlabels = 5\n[defaults]\nqueue = 1\n'
    lines = [finding.line for finding in read(text).findings]
    assert lines == sorted(lines)
    assert set(lines) == {1, 2, 3, 4, 5, 7}


def test_a_wrong_timezone_does_not_hide_a_wrong_expression() -> None:
    found = read('[schedule.a]\ntask = "x"\ntimezone = "Nowhere"\ncron = "x"\n')
    assert [finding.key for finding in found.findings] == ["schedule.a.timezone", "schedule.a.cron"]


def test_a_dotted_key_without_quotes_is_explained() -> None:
    found = read('[schedule.customer.42]\ntask = "x"\ncron = "0 2 * * *"\n')
    assert any("a key that holds a dot needs quotes" in finding.message for finding in found.findings)
    assert read('[schedule."customer.42"]\ntask = "x"\ncron = "0 2 * * *"\n').schedules[0].key == "customer.42"


def test_rendering() -> None:
    finding = only(GOOD + '\tcatch_up =  "lates"  # é\n')
    assert finding.render() == (
        'a.toml:4:14: error: catch_up must be "none", "latest" or "all", not "lates"; did you mean "latest"?\n'
        '   catch_up =  "lates"  # é\n'
        "               ^^^^^^^"
    )
    assert finding.value == '"lates"'
    assert finding.key == "schedule.a.catch_up"
    assert json.loads(json.dumps(finding.as_dict()))["column"] == 14


def test_rendering_is_safe_for_hostile_text() -> None:
    nasty = "\x1b[31m\u202e" + "x" * 5000
    found = read_set([("a\x1b.toml", (GOOD + f"catch_up = '{nasty}'\n").replace("\x1b", "\u009b").encode())])
    text = found.findings[0].render()
    assert all(line.isprintable() for line in text.splitlines())
    assert max(map(len, text.splitlines())) < 400


def test_carets_stand_under_wide_characters() -> None:
    shown = only(GOOD + 'args = { "日本" = 1, n = nan }\n').render().splitlines()
    assert shown[2].index("^") == shown[1].index("nan") + 2


def test_long_lines_are_cut_around_the_fault() -> None:
    padding = ", ".join(f"a{number} = 1" for number in range(500))
    finding = only(GOOD + f"args = {{ {padding}, n = nan, {padding.replace('a', 'b')} }}\n")
    line, carets = finding.render().splitlines()[1:]
    assert line[carets.index("^") : carets.rindex("^") + 1] == "nan"
    assert len(line) <= 130


def test_paths_in_messages() -> None:
    assert dotted(("schedule", "a.b", "labels", 2)) == 'schedule."a.b".labels[2]'
    assert dotted(()) == ""
