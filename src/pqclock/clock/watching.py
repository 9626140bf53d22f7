"""Watching schedule files: when they were changed and stand still again, so that nothing half written is read.

Looking is cheap and reads nothing. Of files that look changed the bytes are compared first, and only another content is
parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pqclock.schedule_files import Reading, Snapshot, declared_paths, find_sources, look
from pqclock.settings import Settings

LOOK_EVERY = 1.0


class Settling:
    """Tells from one look to the next when something has changed and stands still again."""

    def __init__(self, settled: Snapshot) -> None:
        self._last = self._settled = settled

    def look(self, seen: Snapshot) -> list[str]:
        """What has changed since it last stood still; nothing while it goes on changing."""
        still, self._last = seen == self._last, seen
        if not still or seen == self._settled:
            return []
        before, self._settled = self._settled, seen
        return list(differences(before, seen))


def differences(before: Snapshot, after: Snapshot) -> Iterator[str]:
    """What became of each file between two looks."""
    for name in sorted({*before, *after}):
        if name not in before:
            yield f"{name} is new"
        elif name not in after:
            yield f"{name} is gone"
        elif before[name] != after[name]:
            yield f"{name} was changed"


class ScheduleFiles:
    """The schedule files of one clock: read when it is asked for, and looked at for another content."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._beside: tuple[Path, ...] = ()
        self._content = b""
        # Before the first reading, so that no change falls between the two.
        self._settling = Settling(self._look())

    def read(self) -> Reading | None:
        """Their content; None where nobody named any files and the default folder is missing."""
        paths = declared_paths(self._settings)
        reading = find_sources(paths).reading()
        self._beside, self._content = reading.beside, reading.digest
        return reading if paths else None

    def changed(self) -> list[str]:
        """What changed, once the files stand still and hold something else than when they were last read."""
        changes = self._settling.look(self._look())
        # A touch, or the same files put there once more.
        same = changes and find_sources(declared_paths(self._settings)).digest(self._beside) == self._content
        return [] if same else changes

    def _look(self) -> Snapshot:
        return look(self._settings.schedules, self._beside)
