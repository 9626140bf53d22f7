"""The findings of one file: faults, which know paths, become findings, which know lines and columns."""

from __future__ import annotations

import re

from pqclock.rules.files.entry import sentence
from pqclock.rules.files.findings import Finding, dotted, excerpt, printable
from pqclock.rules.files.kinds import FAULTS_LIMIT, Fault
from pqclock.rules.files.positions import Path, Place, Positions

FINDINGS_LIMIT = FAULTS_LIMIT  # of one file
_WIDTH = 80


class Report:
    """The findings of one file."""

    def __init__(self, file: str, index: Positions) -> None:
        self.file = file
        self.index = index
        self.findings: list[Finding] = []

    @property
    def full(self) -> bool:
        """Whether there are so many findings that the rest of the file is not looked at."""
        return len(self.findings) >= FINDINGS_LIMIT

    def add(self, table: Path, *faults: Fault) -> None:
        """Faults in the table at `table`, as far as there is room."""
        for fault in faults[: FINDINGS_LIMIT - len(self.findings)]:
            self._add(table, fault)

    def _add(self, table: Path, fault: Fault) -> None:
        path = (*table, *fault.path)
        place = self.index.key(path) if fault.on_key or not fault.path else self._inside(path, fault)
        value = "" if not fault.path else self._text(path)
        self._append(fault.severity, place, path, value, sentence(fault))

    def at(self, offset: int, message: str) -> None:
        """An error at an offset of the text, of no key: the text is no TOML, or goes beyond a limit."""
        self._append("error", self.index.place(offset, offset + 1), (), "", message)

    def where(self, path: Path) -> str:
        """`file:line` of a table."""
        return f"{self.file}:{self.index.line_of(path)}"

    def finish(self) -> list[Finding]:
        """The findings in the order of their lines."""
        if self.full:
            last = max(self.findings, key=lambda finding: finding.line)
            place = Place(last.line, last.column, last.length)
            message = f"this file has {FINDINGS_LIMIT} findings or more; the rest of it was not checked"
            self._append("error", place, (), "", message)
        return sorted(self.findings, key=lambda finding: (finding.line, finding.column))

    def _inside(self, path: Path, fault: Fault) -> Place:
        """The place of a value, or of a part of its text, where the source shows the text as it is."""
        span = self.index.spans.get(path)
        if fault.offset is not None and span is not None:
            raw = self.index.text[span[2] : span[3]]
            if re.fullmatch(r"\"[^\"\\\n]*\"|'[^'\n]*'", raw):
                start = span[2] + 1 + fault.offset
                return self.index.place(start, start + fault.length)
        return self.index.value(path)

    def _text(self, path: Path) -> str:
        span = self.index.spans.get(path)
        if span is None:
            return ""
        return printable(self.index.text[span[2] : min(span[3], span[2] + _WIDTH + 1)], _WIDTH)

    def _append(self, severity: str, place: Place, path: Path, value: str, message: str) -> None:
        line, caret = excerpt(self.index.line(place.line), place.column)
        finding = Finding(severity, self.file, *place, dotted(path), value, printable(message), line, caret)
        self.findings.append(finding)
