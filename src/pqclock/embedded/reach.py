"""Bring the executables within the demoted user's reach: a wheel inside a private home is copied, once."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from pqclock.embedded import locks
from pqclock.embedded.accounts import Account
from pqclock.embedded.binaries import VARIABLE, Binaries
from pqclock.embedded.layout import SHARED_HOME, make_shared_home
from pqclock.errors import EmbeddedServerError

_LEFTOVER = "binaries-unfinished-"


def within_reach(found: Binaries, account: Account, home: Path = SHARED_HOME) -> Binaries:
    """Give executables that `account` can run: the found ones, or a copy of them under `home`."""
    if _runs(found.folder, account):
        return found
    if found.folder.parent.name != "pginstall":
        raise EmbeddedServerError(
            f"User {account.name} cannot run the PostgreSQL in {found.folder}: "
            f"set {VARIABLE} to executables that it can, or run pip install 'pqclock[embedded]'"
        )
    return found._replace(folder=_copy(found, home), source=f"{found.source}, copied to {home}")


def _runs(folder: Path, account: Account) -> bool:
    try:
        done = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, check=False, cwd="/", **account.popen
        )
    except OSError:
        return False
    return done.returncode == 0


def _copy(found: Binaries, home: Path) -> Path:
    """Copy the tree and the libraries beside it, which the executables find relative to themselves."""
    package = found.folder.parent.parent
    digest = hashlib.sha256((found.folder / "postgres").read_bytes()).hexdigest()[:8]
    target = home / f"binaries-{found.version}-{digest}"
    make_shared_home(home)
    lock = locks.open_lock(home / "copy.lock")
    try:
        locks.take_before(lock, time.monotonic() + 20, alone=True)
        if not target.is_dir():
            _copy_whole(package, target)
    finally:
        os.close(lock)
    return target / package.name / found.folder.relative_to(package)


def _copy_whole(package: Path, target: Path) -> None:
    for leftover in target.parent.glob(f"{_LEFTOVER}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=_LEFTOVER, dir=target.parent))
    unneeded = shutil.ignore_patterns("include", "__pycache__")
    shutil.copytree(package / "pginstall", fresh / package.name / "pginstall", symlinks=True, ignore=unneeded)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
    _open_to_all(fresh)
    fresh.rename(target)


def _open_to_all(copy: Path) -> None:
    """Let everybody read the copy, whatever the modes of the original were."""
    copy.chmod(0o755)
    for path in copy.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
