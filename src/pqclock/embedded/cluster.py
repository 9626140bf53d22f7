"""The data of a folder's server: find it, or make it, whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from pqclock.embedded.accounts import Account, server_account
from pqclock.embedded.binaries import Binaries, choose
from pqclock.embedded.children import spawn_child
from pqclock.embedded.layout import Layout, log_tail, make_shared_home
from pqclock.embedded.reach import within_reach
from pqclock.errors import EmbeddedServerError

DATABASE = "pqclock"
SUPERUSER = "postgres"

_UNFINISHED = "data.unfinished-"


class Cluster(NamedTuple):
    """The data, the executables that serve it, and the user that runs them."""

    data: Path
    binaries: Binaries
    account: Account


def ensure_cluster(layout: Layout, given: Path | None, *, durable: bool) -> Cluster:
    """Find the folder's data, or make it; refuse data that cannot be served."""
    data = layout.existing_data()
    account = server_account(data)
    binaries = within_reach(choose(given, None if data is None else _major(data)), account)
    if data is None:
        data = _make_data(layout, binaries, account, durable=durable)
    if data == layout.far:
        _leave_pointer(layout)
    if not account.reaches(data):
        raise EmbeddedServerError(
            f"User {account.name}, who runs the server, cannot reach its data in {data}: "
            f"let it pass through the folders above, or move the data away to begin anew"
        )
    return Cluster(data, binaries, account)


def _major(data: Path) -> int:
    try:
        return int((data / "PG_VERSION").read_text("ascii"))
    except (OSError, ValueError) as error:
        raise EmbeddedServerError(
            f"{data} is no data of a PostgreSQL server, for it has no readable PG_VERSION: "
            f"move it away to begin with new data"
        ) from error


def _make_data(layout: Layout, binaries: Binaries, account: Account, *, durable: bool) -> Path:
    data = layout.near
    if not account.reaches(layout.folder):
        data = layout.far
        make_shared_home(data.parent.parent)
        data.parent.mkdir(mode=0o700, exist_ok=True)
        account.own(data.parent)
    for leftover in data.parent.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=data.parent))
    account.own(fresh)
    _fill(layout, fresh, binaries, account)
    if durable:  # once for all that was written, which takes half the time of writing it so
        _run(layout, [binaries.folder / "initdb", "--sync-only", "-D", fresh], account)
    fresh.rename(data)
    return data


def _fill(layout: Layout, data: Path, binaries: Binaries, account: Account) -> None:
    # Whoever can open the socket is let in: it lies in a directory that only the server's user and root can
    # enter, root could not prove to be anybody else, and the server listens on no network.
    command: list[str | Path] = [
        binaries.folder / "initdb", "-D", data, "-U", SUPERUSER, "--locale=C", "--encoding=UTF8",
        "--auth-local=trust", "--auth-host=reject", "--no-instructions", "--no-sync",
    ]  # fmt: skip
    _run(layout, command, account)
    # In the single-user mode, so that the first server that anybody can see is complete.
    command = [binaries.folder / "postgres", "--single", "-D", data]
    command += ["-c", "exit_on_error=on", "-c", "fsync=off", "postgres"]
    _run(layout, command, account, f"CREATE DATABASE {DATABASE}\n")


def _run(layout: Layout, command: list[str | Path], account: Account, spoken: str = "") -> None:
    child = spawn_child(command, account, stdin=subprocess.PIPE, at_my_death=signal.SIGKILL)
    child.communicate(spoken.encode())
    if child.returncode != 0:
        raise EmbeddedServerError(
            f"No data for the embedded server could be made in {layout.folder}, for {command[0]} ended "
            f"with status {child.returncode}; the end of {layout.log} says:\n{log_tail(layout.log)}"
        )


def _leave_pointer(layout: Layout) -> None:
    layout.pointer.unlink(missing_ok=True)
    # Made new and never followed: root may be writing into another user's folder.
    fd = os.open(layout.pointer, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(f"{layout.far}\n")
