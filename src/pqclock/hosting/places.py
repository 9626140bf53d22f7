"""One clock a host is enough: of the processes of a web server one stands for election, the others wait for its place."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path

from pqclock.embedded.locks import open_lock, take
from pqclock.store.database import describe_url

log = logging.getLogger("pqclock.hosting")

_LIBPQ = ("PGHOST", "PGPORT", "PGDATABASE", "PGSERVICE")


class Place:
    """The right to stand for election on this host, for one database and schema; the kernel frees it with the process."""

    def __init__(self, url: str, schema: str) -> None:
        where = [describe_url(url), schema, *(os.environ.get(name, "") for name in _LIBPQ if not url)]
        digest = hashlib.sha256("\n".join(where).encode()).hexdigest()[:16]
        user = os.getuid() if hasattr(os, "getuid") else 0
        self.path = Path(tempfile.gettempdir()) / f"pqclock-clock-{user}-{digest}.lock"
        self._lock: int | None = None
        self._told = False

    def take(self) -> bool:
        """Take it if it is free. Where no file can be locked everybody stands: the database elects one all the same."""
        try:
            if self._lock is None:
                self._lock = open_lock(self.path)
            return take(self._lock, alone=True)
        except (ImportError, AttributeError):
            return True
        except OSError as error:
            if not self._told:
                self._told = True
                log.warning(
                    "%s cannot be locked (%s), so every process of this host stands for election: remove the file, or set TMPDIR",
                    self.path, error.strerror,
                )  # fmt: skip
            return True

    def leave(self) -> None:
        """Give it up: closed and not unlocked, since in a forked child it is the parent's still."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)
