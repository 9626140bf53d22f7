"""A set of schedule files: read all, check all, and say all that is wrong at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pqclock.rules.files.calendars import Beside, Calendars, beside_name, nothing_beside
from pqclock.rules.files.declarations import plain, read_declaration, reference_faults
from pqclock.rules.files.entry import read_schedule, read_section
from pqclock.rules.files.fields import SECTIONS, Section
from pqclock.rules.files.findings import Finding, dotted, hint, show
from pqclock.rules.files.kinds import Fault
from pqclock.rules.files.renaming import former_key_faults
from pqclock.rules.files.toml import read_toml
from pqclock.rules.rule import KINDS, Rule
from pqclock.rules.schedule import Schedule

ENTRIES_LIMIT = 10_000  # tables of one file
_DECLARED = ("throttle", "fuse", "calendar", "queue")


Declared = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class FileSet:
    """What a set of files says; with errors among the `findings`, only what had none of its own."""

    schedules: tuple[Schedule, ...]
    throttles: Declared
    fuses: Declared
    calendars: Declared
    queues: Declared
    findings: tuple[Finding, ...]
    content_hash: str
    rules: tuple[Rule, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the set can be applied: there are no errors."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def slos(self) -> dict[str, str]:
        """What is promised of queues, as the files say it."""
        return {name: queue["slo"] for name, queue in sorted(self.queues.items()) if "slo" in queue}


def read_set(sources: Sequence[tuple[str, bytes]], beside: Beside = nothing_beside) -> FileSet:
    """The set of files with these display names and contents; `beside` reads the files that calendars name."""
    files = _without_attached([_File(name, content) for name, content in sources])
    reading = _Reading(Calendars(beside), complete=all(file.tables is not None for file in files))
    # Rules first, from all files: a schedule may name what another file declares.
    for file in files:
        for section in _DECLARED:
            reading.declare(file, SECTIONS[section])
    for file in files:
        reading.read_schedules(file)
    for file in files:
        reading.check_former_keys(file)
    findings = (finding for file in files for finding in file.report.finish())
    return FileSet(
        schedules=tuple(reading.schedules.values()),
        throttles=reading.declared["throttle"],
        fuses=reading.declared["fuse"],
        calendars=reading.declared["calendar"],
        queues=reading.declared["queue"],
        findings=(*findings, *reading.calendars.findings),
        content_hash=_content_hash(reading),
        rules=reading.rules(),
    )


class _File:
    """One file of the set: its tables by section, as far as they are tables."""

    def __init__(self, name: str, content: bytes) -> None:
        self.tables, self.report = read_toml(name, content)
        self.sections = {section: self._section(section) for section in SECTIONS}
        self._check_top()
        if sum(len(entries) for name, entries in self.sections.items() if name != "defaults") > ENTRIES_LIMIT:
            self.report.add((), Fault(f"the file has more than {ENTRIES_LIMIT:,} entries"))
            self.sections = {section: {} for section in SECTIONS}

    def _section(self, name: str) -> dict[str, Any]:
        given = (self.tables or {}).get(name, {})
        if isinstance(given, dict):
            return given
        title = SECTIONS[name].title
        self.report.add((), Fault(f"must be a table; write {title}", (name,), on_key=True))
        return {}

    def _check_top(self) -> None:
        for name in self.tables or ():
            if name not in SECTIONS and not self.report.full:
                self.report.add((), Fault(_misplaced(name), (name,), on_key=True))


def _misplaced(name: str) -> str:
    if name in SECTIONS["schedule"].fields:
        return "stands outside every section: it belongs under a [schedule.KEY] header or under [defaults]"
    known = ", ".join(section.title for section in SECTIONS.values())
    return f"is no section{hint(name, SECTIONS)}; there are {known}"


def _without_attached(files: list[_File]) -> list[_File]:
    """The files without those that calendars of other ones name: they lie in the same folder."""
    attached = set()
    for file in files:
        for table in file.sections["calendar"].values():
            name = table.get("file") if isinstance(table, dict) else None
            if isinstance(name, str):
                attached.add(beside_name(file.report.file, name))
    # One that has sections of its own stays: files that name each other must not vanish.
    return [file for file in files if file.report.file not in attached or set(file.tables or ()) & set(SECTIONS)]


@dataclass
class _Reading:
    """What was read so far."""

    calendars: Calendars
    complete: bool  # no file was unreadable, so what is not declared really is not
    schedules: dict[str, Schedule] = field(default_factory=dict)
    declared: dict[str, Declared] = field(default_factory=lambda: {name: {} for name in _DECLARED})
    places: dict[tuple[str, str], str] = field(default_factory=dict)
    heirs: dict[str, str] = field(default_factory=dict)

    def declare(self, file: _File, section: Section) -> None:
        """Read the tables of one section of one file."""
        for name, given in file.sections[section.name].items():
            if file.report.full:
                break
            if not self._enter(file, section, name, given):
                continue
            values, faults = read_declaration(section, given)
            if section.name == "calendar":
                faults += self.calendars.declare(name, file.report.file, values)
                # Its days, wherever they came from: they are what the calendar means.
                self.declared["calendar"][name] = self.calendars.known[name].plain()
            else:
                self.declared[section.name][name] = plain(section, values)
            file.report.add((section.name, name), *faults)

    def read_schedules(self, file: _File) -> None:
        """Read the schedules of one file, with its defaults."""
        defaults = self._defaults(file)
        for key, given in file.sections["schedule"].items():
            if file.report.full:
                break
            if not self._enter(file, SECTIONS["schedule"], key, given):
                continue
            schedule, faults = read_schedule(key, given, defaults, self.places["schedule", key], self.calendars.known)
            self._report(file, ("schedule", key), given, faults)
            if schedule is not None:
                self.schedules[key] = schedule

    def rules(self) -> tuple[Rule, ...]:
        """The throttles and fuses, each with its place."""
        return tuple(
            Rule(kind, name, definition, self.places[kind, name])
            for kind in KINDS
            for name, definition in self.declared[kind].items()
        )

    def check_former_keys(self, file: _File) -> None:
        """Look at `was` when all schedules of the set are known."""
        for key in file.sections["schedule"]:
            schedule = self.schedules.get(key)
            if schedule is not None and schedule.was and schedule.source == file.report.where(("schedule", key)):
                file.report.add(("schedule", key), *former_key_faults(schedule, self.places, self.heirs))

    def _defaults(self, file: _File) -> dict[str, Any]:
        given = file.sections["defaults"]
        values, faults = read_section(SECTIONS["defaults"], given)
        self._report(file, ("defaults",), given, faults)
        return values

    def _report(self, file: _File, path: tuple[str, ...], given: Mapping[str, object], faults: list[Fault]) -> None:
        unknown = reference_faults(given, self.declared) if self.complete else []
        file.report.add(path, *faults, *unknown)

    def _enter(self, file: _File, section: Section, name: str, given: object) -> bool:
        """Whether a table may be read: it is one, its name is right, and nobody had the name before."""
        path = (section.name, name)
        first, here = self.places.get(path), file.report.where(path)
        fault = None
        if not isinstance(given, dict):
            fault = Fault(f"{dotted(path)} must be a table; write a {section.title} header above the fields")
        elif not section.accepts(name):
            fault = Fault(f"the name {show(name)} must match {section.pattern}")
        elif first is not None:
            fault = Fault(f"{section.name} {show(name)} is declared twice: at {first} and at {here}")
        if fault is not None:
            file.report.add(path, fault)
            return False
        self.places[path] = here
        return True


def _content_hash(reading: _Reading) -> str:
    """A hash over what the set means: neither order nor comments nor names of files change it."""
    meaning = {
        "schedule": {key: _meaning(schedule) for key, schedule in reading.schedules.items()},
        **reading.declared,
    }
    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _meaning(schedule: Schedule) -> dict[str, object]:
    """The definition, with calendars by their names: their days are in the hash once."""
    names = {"exclude": schedule.exclude.names} if schedule.exclude else {}
    return replace(schedule, exclude=None).to_definition() | names
