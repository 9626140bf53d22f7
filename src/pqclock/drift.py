"""Whether the schedule files that are here are those in force."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pqclock.schedule_files import declared_paths, read_paths
from pqclock.settings import Settings
from pqclock.store.database import Session
from pqclock.store.schedules import applied_contents

# Files are read again no sooner than this.
READ_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class Drift:
    """How files and database differ, in a word and in a sentence with the way out."""

    word: str
    fine: bool
    text: str = ""


class Files:
    """The schedule files of one set, as this process sees them."""

    @classmethod
    def of(cls, settings: Settings) -> Files | None:
        """Those that the settings name; None when nobody named any and the default folder is not there."""
        paths = declared_paths(settings)
        return cls(settings.set, paths) if paths else None

    def __init__(self, set_name: str, paths: Sequence[str | Path]) -> None:
        self._set_name = set_name
        self._paths = list(paths)
        self._lock = threading.Lock()
        self._read: tuple[float, str | None, int] | None = None

    def compare(self, session: Session) -> Drift:
        """What they hold against what was applied last."""
        content, errors = self.read()
        if errors:
            number = f"{errors} error{'s' * (errors != 1)}"
            return Drift("files are wrong", False, f"The schedule files have {number}: `pqclock check` tells them.")
        contents = applied_contents(session, self._set_name)
        if contents[-1:] == [content]:
            return Drift("the same", True)
        if content in contents:
            text = "The files are older than what is in force: `pqclock apply` puts them into effect again."
            return Drift("older files", False, text)
        text = "The files are not in force: `pqclock plan` shows what they would change, `pqclock apply` does it."
        return Drift("differ", False, text)

    def read(self) -> tuple[str | None, int]:
        """What they mean, and the number of errors; read them before a transaction that shall not wait for it."""
        with self._lock:
            if self._read is None or time.monotonic() > self._read[0] + READ_EVERY:
                found = read_paths(self._paths)
                errors = sum(finding.severity == "error" for finding in found.findings)
                self._read = time.monotonic(), found.content_hash, errors
            return self._read[1:]
