"""The private directory of the server's socket: short, for a socket's path may not be long."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from pqclock.embedded.accounts import Account

_PREFIX = "pqclock-"
_PARENTS = (Path("/run"), Path("/tmp"))  # noqa: S108  mkdtemp makes it private


def make_run_dir(account: Account) -> Path:
    """Make a directory that only the server's user (and root) can enter."""
    parent = next((each for each in _PARENTS if os.access(each, os.W_OK)), _PARENTS[-1])
    made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    account.own(made)
    return made


def remove_left_run_dir(path: Path) -> None:
    """Remove the directory that a killed keeper left; whatever is not one of ours is left alone."""
    try:
        owner = path.lstat().st_uid
    except OSError:
        return
    if path.parent not in _PARENTS or not path.name.startswith(_PREFIX):
        return
    # Root's directories belong to the server's user, but nobody else can make one where they are.
    if owner == os.geteuid() or (os.geteuid() == 0 and path.parent == _PARENTS[0]):
        shutil.rmtree(path, ignore_errors=True)
