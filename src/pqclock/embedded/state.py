"""The state file: where the server of a folder is, and the proof that somebody keeps it.

The keeper locks the file before it moves it into place, and holds the lock for life. A reader tests the lock
on the very file that it read, so what a dead keeper left is never mistaken for the word of its successor.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from pqclock.embedded import locks


class State(NamedTuple):
    """What the keeper tells the users; `ready` is false while the server starts or starts again."""

    ready: bool
    keeper: int
    postmaster: int
    socket_dir: str
    port: int
    data: str
    version: str
    source: str
    url: str


def publish(path: Path, state: State) -> int:
    """Put `state` in place of the file at `path`; the descriptor returned is the proof, to be kept open."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
    locks.take(fd, alone=True)
    os.fchmod(fd, 0o644)  # whatever the umask: the folder's owner may read what root wrote
    os.write(fd, json.dumps(state._asdict(), indent=2).encode())
    fresh.replace(path)
    return fd


def read_live(path: Path) -> State | None:
    """Read the state at `path`, or None when there is none or its keeper is gone."""
    while True:
        try:
            file = open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8")  # noqa: SIM115
        except (FileNotFoundError, NotADirectoryError):
            return None
        with file:
            if not locks.take(file.fileno(), alone=False):
                return _parse(file.read())
            if _is_at(path, file.fileno()):
                return None
        # A keeper put a new state in its place after it was opened, and let go of the old one.


def _is_at(path: Path, fd: int) -> bool:
    """Whether the open file is the one at `path` still, or there is none any more."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return True


def read_left(path: Path) -> State | None:
    """Read the state at `path` whoever wrote it: what a killed keeper left to be cleaned up."""
    try:
        return _parse(path.read_text("utf-8"))
    except (OSError, ValueError, KeyError):
        return None


def _parse(text: str) -> State:
    fields = json.loads(text)
    return State(**{name: fields[name] for name in State._fields})
