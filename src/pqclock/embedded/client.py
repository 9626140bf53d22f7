"""The users' side: join the server of a folder, and begin its keeper if there is none."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType

from pqclock.embedded import locks, state
from pqclock.embedded.layout import START_LIMIT, Layout, late, prepare, refuse_foreign
from pqclock.errors import EmbeddedServerError

_TURN = 0.02
_STOP_LIMIT = 2.0


class Server:
    """A running embedded server and this process's share in it, until `close` or the process's end."""

    def __init__(self, folder: Path, found: state.State, share: int) -> None:
        self.folder = folder
        self.url = found.url
        self.version = found.version
        self.source = found.source
        self._share: int | None = share

    def close(self) -> None:
        """Give up the share; with the last one the server stops, within two seconds."""
        share, self._share = self._share, None
        if share is not None:
            # Closed and not unlocked: a forked child that still has it keeps the server.
            os.close(share)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Server {self.version} of {self.folder}{'' if self._share is not None else ', closed'}>"


def start(folder: Path, *, durable: bool = True, binaries: Path | None = None) -> Server:
    """Join the server of `folder`, starting it (and making it) if it does not run.

    `durable=False` gives up safety against a crash of the machine, for tests; `binaries` is the folder of the
    executables to use. Both have a say only when this call is the one that starts the server.
    """
    _refuse_windows()
    place = prepare(folder)
    share = locks.open_lock(place.users_lock)
    try:
        found = _start_or_wait(place, share, durable, binaries)
    except BaseException:
        os.close(share)
        raise
    return Server(place.folder, found, share)


def attach(folder: Path) -> Server | None:
    """Join the server of `folder` if it runs, else give None; never starts anything."""
    if sys.platform == "win32" or not os.path.isdir(folder):
        return None
    place = Layout(folder)
    try:
        if state.read_live(place.state) is None:
            return None
        refuse_foreign(place)
        share = locks.open_lock(place.users_lock)
    except PermissionError:
        refuse_foreign(place)
        raise
    found = None
    try:
        found = _wait_if_live(place, share)
    finally:
        if found is None:
            os.close(share)
    return Server(place.folder, found, share) if found else None


def erase(folder: Path) -> None:
    """Delete the data of the server of `folder`, wherever it is; refused while the server is in use."""
    _refuse_windows()
    place = Layout(folder)
    if not place.folder.is_dir():
        return
    from pqclock.embedded.rundir import remove_left_run_dir

    refuse_foreign(place)
    lock = locks.open_lock(place.keeper_lock)
    try:
        if not locks.take_before(lock, time.monotonic() + _STOP_LIMIT, alone=True):
            raise EmbeddedServerError(
                f"The embedded server in {place.folder} is in use, so its data stays: end its users first"
            )
        left = state.read_left(place.state)
        if left is not None:
            remove_left_run_dir(Path(left.socket_dir))
        place.delete_data()
    finally:
        os.close(lock)


def _start_or_wait(place: Layout, share: int, durable: bool, binaries: Path | None) -> state.State:
    # The keeper says so itself when it is late, so it gets the first word.
    deadline = time.monotonic() + START_LIMIT + 5
    # Held from before the start, so the keeper never finds itself alone in between.
    locks.take_before(share, deadline, alone=False)
    while time.monotonic() < deadline:
        found = state.read_live(place.state)
        if found is not None and found.ready:
            return found
        if not _begin_keeper(place, durable, binaries, deadline):
            time.sleep(_TURN)
    raise late(place)


def _wait_if_live(place: Layout, share: int) -> state.State | None:
    deadline = time.monotonic() + START_LIMIT
    while state.read_live(place.state) is not None:
        # Read again with the share held: the keeper may have ended just before.
        if locks.take(share, alone=False):
            found = state.read_live(place.state)
            if found is not None and found.ready:
                return found
        if time.monotonic() > deadline:
            raise late(place)
        time.sleep(_TURN)
    return None


def _begin_keeper(place: Layout, durable: bool, binaries: Path | None, deadline: float) -> bool:
    lock = locks.open_lock(place.keeper_lock)
    try:
        if not locks.take(lock, alone=True):
            return False
        from pqclock.embedded.spawn import spawn_keeper

        # The keeper inherits the lock, so there is never a moment in which a second one could begin.
        spawn_keeper(place, lock, durable, binaries, deadline)
    finally:
        os.close(lock)
    return True


def _refuse_windows() -> None:
    if sys.platform == "win32":
        raise EmbeddedServerError(
            "The embedded server runs on Linux and macOS, not on Windows: "
            "set PQCLOCK_DATABASE_URL to a PostgreSQL server"
        )
