"""Hostile files: an error finding, never a crash, and never slow."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqclock.rules.files import read_set
from pqclock.rules.files.report import FINDINGS_LIMIT

MEGABYTES = 4 * 1024 * 1024
HEAD = b'[schedule.a]\ntask = "x"\ncron = "0 2 * * *"\n'

HOSTILE = {
    "too long": b"#" * (MEGABYTES + 1),
    "too many entries": b"".join(b"[schedule.k%d]\n" % number for number in range(10_001)),
    "not utf-8": HEAD + b"# caf\xe9\n",
    "utf-16": HEAD.decode().encode("utf-16"),
    "nul": HEAD + b"a = \x00\n",
    "nul in a string": HEAD + b'description = "a\x00b"\n',
    "lone return": HEAD + b"queue = 'a'\rb = 1\n",
    "deep arrays": HEAD + b"args = { a = " + b"[" * 200_000,
    "deep closed arrays": HEAD + b"args = { a = " + b"[" * 90 + b"]" * 90 + b" }",
    "deep tables": HEAD + b"args = " + b"{a = " * 200_000,
    "long dotted key": HEAD + b".".join([b"a"] * 1_000_000) + b" = 1\n",
    "long header": b"[" + b".".join([b"a"] * 1_000_000) + b"]\n",
    "huge integer": HEAD + b"args = { a = " + b"9" * 1_000_000 + b" }\n",
    "huge hex": HEAD + b"args = { a = 0x" + b"f" * 300 + b" }\n",
    "huge float": HEAD + b"args = { a = 1." + b"9" * 1_000_000 + b" }\n",
    "huge array": HEAD + b"labels = [" + b"1," * 1_000_000 + b"]\n",
    "array of many bad labels": HEAD + b"args = { a = [" + b"nan," * 100_000 + b"] }\n",
    "many rules": HEAD + b"throttle = [" + b'"abcdefgh",' * 200_000 + b"]\n",
    "many unknown fields": HEAD + b"".join(b"catch_up_%d = 1\n" % number for number in range(80_000)),
    "many unknown sections": b"".join(b"[schedul%d]\n" % number for number in range(80_000)),
    "many unknown zones": b"".join(
        b'[schedule.k%d]\ntask = "x"\ncron = "0 2 * * *"\ntimezone = "Europe/Berln%d"\n' % (number, number)
        for number in range(9_000)
    ),
    "many long keys": b"".join(b'"%s%d" = 1\n' % (b"x" * 3000, number) for number in range(1000)),
    "one long line": b"a = [" + b"'b\x7f', " * 500_000 + b"]",
    "many quotes": HEAD + b'description = """' + b'"a' * 1_000_000,
    "many escapes": HEAD + b'description = "' + b"\\n" * 1_000_000 + b'"\n',
    "large arguments": HEAD + b'args = { a = "' + b"x" * 70_000 + b'" }\n',
    "braces": HEAD + b'args = { a = "' + b"{" * 60_001 + b'" }\n',
    "repeated headers": b"[schedule.a]\n" * 80_000,
    "impossible dates": HEAD + b"start = 9999-99-99T99:99:99Z\n",
    "date at the edge": HEAD + b"start = 9999-12-31T23:59:59-23:59\n",
    "local date at the edge": b'[schedule.a]\ntask = "x"\ntimezone = "UTC"\nat = 0001-01-01T00:00:00\n',
    "long cron": b'[schedule.a]\ntask = "x"\ncron = "' + b"1," * 500_000 + b'"\n',
    "long duration": HEAD + b'grace = "' + b"9" * 1_000_000 + b's"\n',
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_an_error_finding(content: bytes) -> None:
    begun = time.process_time()
    found = read_set([("bad.toml", content)])
    shown = [finding.render() for finding in found.findings]
    assert time.process_time() - begun < 8
    assert not found.ok
    assert 1 <= len(shown) <= FINDINGS_LIMIT + 1
    assert all(line.isprintable() and len(line) < 2_000 for text in shown for line in text.splitlines())


def test_too_many_findings_end_with_a_word_about_it() -> None:
    text = "[schedule.a]\n" + "".join(f"zz{number} = 1\n" for number in range(1000))
    found = read_set([("a.toml", text.encode())])
    assert len(found.findings) == FINDINGS_LIMIT + 1
    assert "the rest of it was not checked" in found.findings[-1].message


def test_windows_files_are_read() -> None:
    found = read_set([("a.toml", b"\xef\xbb\xbf" + HEAD.replace(b"\n", b"\r\n"))])
    assert found.findings == ()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_survived(content: bytes) -> None:
    for finding in read_set([("a.toml", HEAD + content)]).findings:
        finding.render()


NAMES = [
    "task",
    "cron",
    "every",
    "at",
    "timezone",
    "args",
    "labels",
    "start",
    "unique",
    "throttle",
    "zz",
    "gap",
    "grace",
]
VALUES = [
    '"x"',
    "5",
    "nan",
    "[]",
    '["a", 1]',
    "{}",
    "{ key = 1 }",
    "2026-01-01T00:00:00",
    "2026-01-01",
    "true",
    '"1h"',
    '"{tick}"',
    '"{"',
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["defaults", "schedule.a", "throttle.a", "fuse.a", "queue.a", "calendar.a", "schedule", "nothing"]),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=6),
)
def test_any_values_are_survived(section: str, fields: dict[str, str]) -> None:
    text = f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in fields.items())
    for finding in read_set([("a.toml", text.encode())]).findings:
        assert finding.line <= len(fields) + 1
        finding.render()


def test_ten_thousand_entries_are_read_quickly() -> None:
    entry = (
        '[schedule.customer-{0}]\ntask = "reports.nightly"\ncron = "{1} 2 * * *"\nqueue = "latency_15m"\n'
        'args = {{ day = "{{tick:%Y-%m-%d}}", account = "acme-{0}" }}\nlabels = ["finance"]\n'
    )
    text = "".join(entry.format(number, number % 60) for number in range(10_000))
    begun = time.process_time()
    found = read_set([("many.toml", text.encode())])
    # About a second on a small machine; the bound leaves room for a busy one.
    assert time.process_time() - begun < 8
    assert found.ok
    assert len(found.schedules) == 10_000
