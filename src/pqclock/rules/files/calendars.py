"""Calendars of schedule files: their days, from the table itself or from a file beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pqclock.rules.calendars import DATES_LIMIT, WEEKDAYS, Calendar
from pqclock.rules.files.entry import read_section
from pqclock.rules.files.fields import SECTIONS
from pqclock.rules.files.findings import Finding, show
from pqclock.rules.files.kinds import BadValue, Fault
from pqclock.rules.files.toml import read_toml

# Reads the file of a name beside a schedule file: its content, or why there is none.
Beside = Callable[[str, str], "bytes | str"]

_SECTION = SECTIONS["calendar"]


def nothing_beside(_: str, name: str) -> str:
    """Where files cannot be read."""
    return f"the file {show(name)} cannot be read here"


@dataclass
class Calendars:
    """The calendars of a set, and the findings of the files that they come from."""

    beside: Beside
    known: dict[str, Calendar] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def declare(self, name: str, source: str, values: Mapping[str, Any]) -> list[Fault]:
        """Take a `[calendar.NAME]` table, whose fields are right each by itself."""
        dates, weekdays = frozenset(values.get("dates", ())), frozenset(values.get("weekdays", ()))
        faults: list[Fault] = []
        if "file" in values:
            more, faults = self._attached(source, values["file"])
            dates, weekdays = dates | more.dates, weekdays | more.weekdays
        self.known[name] = Calendar(dates, weekdays)
        return faults + _too_much(dates, weekdays)

    def _attached(self, source: str, name: str) -> tuple[Calendar, list[Fault]]:
        try:
            content = _content(self.beside, source, name)
            if name.endswith(".toml"):
                return self._toml(beside_name(source, name), content)
            # Late: few have one, and every clock would carry it.
            from pqclock.rules.files.ics import read_ics

            dates, faults = read_ics(content)
            return Calendar(dates), [fault._replace(path=("file",)) for fault in faults]
        except BadValue as bad:
            return Calendar(), [fault._replace(path=("file",)) for fault in bad.faults]

    def _toml(self, name: str, content: bytes) -> tuple[Calendar, list[Fault]]:
        tables, report = read_toml(name, content)
        read, faults = read_section(_SECTION, tables or {})
        values: dict[str, Any] = read
        if "file" in values:
            faults.append(Fault("cannot name another file: write dates and weekdays", ("file",), on_key=True))
        if tables is not None and not tables:
            faults.append(Fault("a calendar needs dates or weekdays"))
        report.add((), *faults)
        self.findings += report.finish()
        return Calendar(frozenset(values.get("dates", ())), frozenset(values.get("weekdays", ()))), []


def _content(beside: Beside, source: str, name: str) -> bytes:
    if name != name.lstrip(".") or any(character in name for character in "/\\:"):
        raise BadValue(Fault(f"must be the name of a file beside this one, without folders, not {show(name)}"))
    if not name.endswith((".toml", ".ics")):
        raise BadValue(Fault(f"must be a .toml or an .ics file, not {show(name)}"))
    content = beside(source, name)
    if isinstance(content, str):
        raise BadValue(Fault(f": {content}"))
    return content


def beside_name(source: str, name: str) -> str:
    """The display name of a file beside another."""
    end = max(source.rfind("/"), source.rfind("\\"))
    return source[: end + 1] + name


def _too_much(dates: frozenset[date], weekdays: frozenset[str]) -> list[Fault]:
    if len(dates) > DATES_LIMIT:
        return [Fault(f"a calendar has at most {DATES_LIMIT:,} dates, not {len(dates):,}")]
    if len(weekdays) == len(WEEKDAYS):
        return [Fault("a calendar of every weekday would leave no day at all: leave one out")]
    return []
