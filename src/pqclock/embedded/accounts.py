"""The user that runs the server: PostgreSQL refuses to run as root, so root's servers are demoted."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pqclock.errors import EmbeddedServerError


class Account(NamedTuple):
    """The user and group that the server's processes get."""

    name: str
    uid: int
    gid: int

    @property
    def popen(self) -> Mapping[str, Any]:
        """What `subprocess` needs to run a child as this user; nothing when that is ourselves."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give a path that we just made to this user."""
        if self.uid != os.geteuid():
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def reaches(self, folder: Path) -> bool:
        """Say whether this user can pass through to `folder`, by trying it."""
        if self.uid == os.geteuid():
            return os.access(folder, os.X_OK)
        child = os.fork()
        if child == 0:
            self._try(folder)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def _try(self, folder: Path) -> None:
        reached = False
        try:
            os.setgroups([])
            os.setgid(self.gid)
            os.setuid(self.uid)
            reached = os.access(folder, os.X_OK)
        finally:
            os._exit(0 if reached else 1)


def server_account(data: Path | None) -> Account:
    """Choose who runs the server: ourselves, or for root the data's owner, else `postgres`, else `nobody`."""
    if os.geteuid() != 0:
        return Account("", os.geteuid(), os.getegid())
    if data is not None:
        return _owner(data)
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, user.pw_uid, user.pw_gid)
    raise EmbeddedServerError(
        "PostgreSQL does not run as root, and there is no user postgres or nobody to run it as: "
        "run pqclock as an ordinary user, or set PQCLOCK_DATABASE_URL to a running server"
    )


def _owner(data: Path) -> Account:
    found = data.stat()
    if found.st_uid == 0:
        raise EmbeddedServerError(
            f"The data in {data} belongs to root, as which PostgreSQL does not run: "
            f"give it to an ordinary user with chown -R, or delete it to begin anew"
        )
    return Account(f"user {found.st_uid}", found.st_uid, found.st_gid)
