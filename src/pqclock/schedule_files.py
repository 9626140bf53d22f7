"""Reading schedule files from the disk: which files paths stand for, and their bytes; `rules.files` does the rest.

A folder stands for its own `*.toml` files, in order of their names, without hidden files and editors' leftovers and
without what its folders hold. What cannot be read becomes a finding beside those of the other files.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pqclock.rules.files import FileSet, Finding, read_set
from pqclock.settings import Settings

# One byte more than a file may have is read, so that the rules see that it is too long.
READ_LIMIT = 4 * 1024 * 1024 + 1

_LEFTOVERS = (".", "#", "~")


@dataclass(frozen=True, slots=True)
class Sources:
    """The files that were found, as (display name, bytes), and what was wrong with the paths themselves."""

    files: tuple[tuple[str, bytes], ...]
    findings: tuple[Finding, ...]

    def read(self) -> FileSet:
        """What the files say, with all findings."""
        return self.reading().files

    def reading(self) -> Reading:
        """What the files say, and what is needed to see later that they say something else."""
        asked: dict[Path, bytes | str] = {}

        def beside(source: str, name: str) -> bytes | str:
            path = Path(source).parent / name
            asked[path] = _beside(path)
            return asked[path]

        found = read_set(self.files, beside)
        files = replace(found, findings=(*self.findings, *found.findings))
        return Reading(files, not self.files, tuple(sorted(asked)), self._digest(asked))

    def digest(self, beside: Iterable[Path]) -> bytes:
        """A hash over all that was found, and what these calendar files hold now."""
        return self._digest({path: _beside(path) for path in beside})

    def _digest(self, beside: Mapping[Path, bytes | str]) -> bytes:
        digest = hashlib.sha256()
        parts = [*self.files, *((str(path), beside[path]) for path in sorted(beside))]
        for name, content in (*parts, *((finding.file, finding.message) for finding in self.findings)):
            for part in (
                name.encode("utf-8", "surrogateescape"),
                content.encode() if isinstance(content, str) else content,
            ):
                digest.update(b"%d " % len(part) + part)
        return digest.digest()


@dataclass(frozen=True, slots=True)
class Reading:
    """What some paths held at one time: the set, whether no file was read at all, the calendar files and a hash."""

    files: FileSet
    empty: bool
    beside: tuple[Path, ...]
    digest: bytes


# What a look at the disk tells of each file, without reading it.
Snapshot = Mapping[str, tuple[int, ...]]


def read_paths(paths: Sequence[str | Path]) -> FileSet:
    """The set that these files and folders make; never waits on a pipe or a device."""
    return find_sources(paths).read()


def look(paths: Sequence[str], beside: Sequence[Path]) -> Snapshot:
    """What would tell that one of the files that `paths` stand for, or a calendar file, has changed."""
    names: list[str | Path] = []
    for path in paths:
        try:
            names += [os.path.join(path, name) for name in os.listdir(path) if _is_schedule_file(name)]
        except (OSError, ValueError):
            names.append(path)
    return {str(name): _marks(name) for name in (*names, *beside)}


def _marks(path: str | Path) -> tuple[int, ...]:
    """Symbolic links are followed: what a swapped one leads to is another file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        return (getattr(error, "errno", None) or 0,)
    # The time of the inode's change tells of a copy that keeps the old file's times and size.
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def declared_paths(settings: Settings) -> tuple[str, ...]:
    """The paths of the settings; none when nobody named any and the default folder is not there."""
    if settings.is_set("schedules"):
        return settings.schedules
    return tuple(path for path in settings.schedules if os.path.exists(path))


def find_sources(paths: Sequence[str | Path]) -> Sources:
    """Collect and read the files that the paths stand for; a file that comes twice is read once."""
    files: dict[str, tuple[str, bytes]] = {}
    findings: list[Finding] = []
    for path in paths:
        try:
            members = _members(Path(path))
        except _BadPath as bad:
            findings.append(bad.finding)
            continue
        for member in members:
            _take(member, files, findings)
    return Sources(tuple(files.values()), tuple(findings))


def _take(member: Path, files: dict[str, tuple[str, bytes]], findings: list[Finding]) -> None:
    real = os.path.realpath(member)
    if real in files:
        return
    try:
        files[real] = (str(member), _content(member))
    except _BadPath as bad:
        findings.append(bad.finding)


class _BadPath(Exception):
    def __init__(self, path: Path, message: str, severity: str = "error") -> None:
        super().__init__(message)
        self.finding = Finding(
            severity=severity,
            file=str(path),
            line=1,
            column=1,
            length=0,
            key="",
            value="",
            message=message,
            source_line="",
            caret=1,
        )


def _members(path: Path) -> list[Path]:
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return [path]
        names = sorted(os.listdir(path))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    members = [path / name for name in names if _is_schedule_file(name)]
    found = [member for member in members if not member.is_dir()]
    if not found:
        raise _BadPath(path, "the folder holds no *.toml file", "warning")
    return found


def _is_schedule_file(name: str) -> bool:
    return name.endswith(".toml") and not name.startswith(_LEFTOVERS)


def _content(path: Path) -> bytes:
    try:
        # Without O_NONBLOCK the opening of a pipe waits for its writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _BadPath(path, "is not a file: give a TOML file, or a folder of them")
            return file.read(READ_LIMIT)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _beside(path: Path) -> bytes | str:
    """The file that a calendar names; or why it cannot be read."""
    try:
        return _content(path)
    except _BadPath as bad:
        return f"{path}: {bad}"


def _unreadable(path: Path, error: Exception) -> _BadPath:
    if isinstance(error, FileNotFoundError):
        return _BadPath(path, "there is no such file or folder: check the path, or the setting `schedules`")
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return _BadPath(path, f"cannot be read ({reason.lower()}): check its kind and its permissions")
