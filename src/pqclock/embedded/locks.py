"""File locks that the kernel frees when their holder ends, however it ends."""

from __future__ import annotations

import os
import time
from pathlib import Path

_TURN = 0.01


def open_lock(path: Path) -> int:
    """Open the lock file at `path`, making it first if need be."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except PermissionError:
        # One that root left in our folder: reading is enough for a lock.
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)


def take(fd: int, *, alone: bool) -> bool:
    """Take the lock now, for oneself alone or shared with others of that mind; say whether it worked."""
    import fcntl  # late, so that the package can be imported where there is none

    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take_before(fd: int, deadline: float, *, alone: bool) -> bool:
    """Take the lock, trying again until `deadline` on the monotonic clock; say whether it worked."""
    while not take(fd, alone=alone):
        if time.monotonic() > deadline:
            return False
        time.sleep(_TURN)
    return True
