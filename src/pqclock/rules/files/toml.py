"""One file: from its bytes to plain tables and an index of places, or to the finding that says why not."""

from __future__ import annotations

from typing import Any

import tomli

from pqclock.rules.files.findings import dotted
from pqclock.rules.files.positions import Positions, TooMuch, index_positions
from pqclock.rules.files.report import Report

BYTES_LIMIT = 4 * 1024 * 1024

# What tomli says of the commonest slips, and the way out.
_ADVICE = {
    "Invalid value": "a value is missing or has no quotes; texts, dates with words and durations need quotes",
    "Invalid statement": "expected a [section], a line key = value or a comment; keys are plain or in quotes",
    "Expected newline or end of document after a statement": "there is something left behind the value",
    "Expected '=' after a key in a key/value pair": 'expected "=" after the key',
    "Unescaped '\\' in a string": "a backslash stands alone in a text; write \\\\, or use 'single quotes'",
    "Illegal character '\\n'": "the text is not closed on its line",
    "Unterminated string": "the text is not closed",
    "Unclosed array": "the list is not closed, or a comma is missing",
    "Unclosed inline table": "the table is not closed, or a comma is missing",
    "Cannot overwrite a value": "this key is given twice",
    "Invalid date or datetime": "there is no such date",
}


def read_toml(file: str, content: bytes) -> tuple[dict[str, Any] | None, Report]:
    """The tables of a file, or None if it is no TOML: then the report has the finding, else the index."""
    if len(content) > BYTES_LIMIT:
        report = Report(file, Positions(""))
        report.at(0, f"the file has {len(content):,} bytes, the limit is {BYTES_LIMIT:,}")
        return None, report
    try:
        text = content.decode().replace("\r\n", "\n").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        return None, _no_text(file, content, error)
    return _parse(file, text)


def _no_text(file: str, content: bytes, error: UnicodeDecodeError) -> Report:
    before = content[: error.start].decode().replace("\r\n", "\n")
    shown = before + content[error.start :][:200].decode(errors="replace")
    report = Report(file, Positions(shown))
    byte = content[error.start]
    report.at(len(before), f"the file is not UTF-8: byte 0x{byte:02x} is not part of a character")
    return report


def _parse(file: str, text: str) -> tuple[dict[str, Any] | None, Report]:
    try:
        report = Report(file, index_positions(text))
    except TooMuch as error:
        report = Report(file, Positions(text))
        report.at(error.offset, f"the file goes beyond a limit: {error}")
        return None, report
    try:
        return tomli.loads(text), report
    except tomli.TOMLDecodeError as error:
        report.at(*_syntax(error, report))
    except (ValueError, RecursionError) as error:
        # Integers of thousands of digits and nesting are bounded before; what is left has no place.
        report.at(0, f"not valid TOML: {error}")
    return None, report


def _syntax(error: tomli.TOMLDecodeError, report: Report) -> tuple[int, str]:
    offset = min(error.pos, len(report.index.text.rstrip("\n")))
    if error.msg.startswith("Cannot declare"):
        return _declared_twice(error, report)
    advice = _ADVICE.get(error.msg)
    return offset, f"not valid TOML: {advice or error.msg}"


def _declared_twice(error: tomli.TOMLDecodeError, report: Report) -> tuple[int, str]:
    """A table with two headers: tomli points behind the second, and the index knows the first."""
    index = report.index
    start = index.text.rfind("[", 0, error.pos)
    line = index.place(start, start + 1).line
    for path, span in index.spans.items():
        same = all(isinstance(part, str) for part in path) and error.msg == f"Cannot declare {path} twice"
        if same:
            first = index.place(*span[2:]).line
            places = f"at {report.file}:{first} and at {report.file}:{line}"
            return start, f"[{dotted(path)}] is declared twice: {places}"
    return start, "this table is declared twice"
