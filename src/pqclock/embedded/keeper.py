"""The keeper: owns the server of one folder, from the first user until the last has gone.

Run as `python -m pqclock.embedded.keeper FOLDER --lock FD`, with the lock on `keeper.lock` taken by its
starter and handed over, and a pipe for the first word, "ready" or the reason why not, as standard output.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from urllib.parse import quote

from pqclock.embedded import locks
from pqclock.embedded.cluster import DATABASE, SUPERUSER, Cluster, ensure_cluster
from pqclock.embedded.layout import START_LIMIT, Layout
from pqclock.embedded.postmaster import PORT, Postmaster, end_orphan
from pqclock.embedded.rundir import make_run_dir, remove_left_run_dir
from pqclock.embedded.spawn import READY
from pqclock.embedded.state import State, publish, read_left
from pqclock.errors import EmbeddedServerError

#: How often the keeper looks whether it is alone; with the stop itself well within two seconds.
LOOK_EVERY = 0.5

#: Starts after crashes that may fail or not last before the keeper gives up.
TRIES = 10
LASTING = 10.0


class Wakeup:
    """Sleep that a signal cuts short: a dead child, or the wish that the keeper stop."""

    def __init__(self) -> None:
        self.stopping = False
        self._read, write = os.pipe()
        for fd in (self._read, write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for wish in (signal.SIGTERM, signal.SIGINT):
            signal.signal(wish, self._stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    def wait(self, seconds: float) -> None:
        """Sleep for so long, or until a signal."""
        if select.select([self._read], [], [], seconds)[0]:
            os.read(self._read, 4096)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True


class Keeper:
    """One server with its state file and its socket's directory."""

    def __init__(self, layout: Layout, cluster: Cluster, lock: int, *, durable: bool) -> None:
        self._layout = layout
        self._cluster = cluster
        self._lock = lock
        self._users = locks.open_lock(layout.users_lock)
        self._proof: int | None = None
        self._wakeup = Wakeup()
        self._run_dir = make_run_dir(cluster.account)
        self._server = Postmaster(layout, cluster, self._run_dir, durable=durable)
        self._failures = 0
        self._ready_at = time.monotonic()

    def open(self, deadline: float) -> None:
        """Start the server and tell where it is; on failure leave nothing behind."""
        try:
            self._start(deadline)
        except BaseException:
            self.close()
            raise

    def keep(self) -> None:
        """Watch over the server until nobody uses it, somebody wishes the end, or it cannot be kept."""
        while not self._wakeup.stopping and self._owns_folder() and not self._is_alone():
            if self._server.runs():
                self._wakeup.wait(LOOK_EVERY)
            else:
                self._start_again()

    def close(self) -> None:
        """Stop the server and remove its traces; newcomers wait for the locks until this process ends."""
        if self._owns_folder():
            self._layout.state.unlink(missing_ok=True)
        self._server.stop()
        shutil.rmtree(self._run_dir, ignore_errors=True)

    def _start(self, deadline: float) -> None:
        self._tell(ready=False)
        self._server.start(deadline)
        self._ready_at = time.monotonic()
        self._tell(ready=True)

    def _start_again(self) -> None:
        self._failures = 0 if time.monotonic() - self._ready_at > LASTING else self._failures + 1
        if self._failures > TRIES:
            raise EmbeddedServerError(f"The server in {self._layout.folder} does not stay up: giving it up")
        say(f"the server has ended while in use: starting it again, failures so far {self._failures}")
        self._tell(ready=False)
        self._wakeup.wait(min(5.0, 0.1 * 2**self._failures) if self._failures else 0.0)
        try:
            self._start(time.monotonic() + START_LIMIT)
        except EmbeddedServerError as fault:
            say(str(fault))

    def _is_alone(self) -> bool:
        # Never given back: who comes now waits for the next keeper.
        return locks.take(self._users, alone=True)

    def _owns_folder(self) -> bool:
        """Notice that the folder was deleted: nobody can find this server any more."""
        try:
            return os.path.samestat(self._layout.keeper_lock.stat(), os.fstat(self._lock))
        except OSError:
            return False

    def _tell(self, *, ready: bool) -> None:
        host = quote(str(self._run_dir))
        found = State(
            ready=ready,
            keeper=os.getpid(),
            postmaster=self._server.pid,
            socket_dir=str(self._run_dir),
            port=PORT,
            data=str(self._cluster.data),
            version=self._cluster.binaries.version,
            source=self._cluster.binaries.source,
            url=f"postgresql://{SUPERUSER}@/{DATABASE}?host={host}&port={PORT}",
        )
        old, self._proof = self._proof, publish(self._layout.state, found)
        if old is not None:
            os.close(old)


def main(arguments: list[str]) -> int:
    """Keep the server of a folder; the exit status is for the log alone."""
    parser = argparse.ArgumentParser(prog="pqclock.embedded.keeper")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lock", type=int, required=True)
    parser.add_argument("--binaries", type=Path)
    parser.add_argument("--not-durable", action="store_true")
    order = parser.parse_args(arguments)
    if os.fork():
        os._exit(0)  # the starter waits for this one only
    os.umask(0o077)
    os.set_inheritable(order.lock, False)
    try:
        _keep(order)
    except EmbeddedServerError as fault:
        return _fail(str(fault))
    except Exception as fault:
        traceback.print_exc()
        return _fail(f"The keeper of the embedded server in {order.folder} failed with {fault!r}; see its log")
    return 0


def say(text: str) -> None:
    """Write a line to the log, which is standard error."""
    print(f"keeper {os.getpid()}: {text}", file=sys.stderr, flush=True)


def _keep(order: argparse.Namespace) -> None:
    deadline = time.monotonic() + START_LIMIT
    layout = Layout(order.folder)
    cluster = ensure_cluster(layout, order.binaries, durable=not order.not_durable)
    _clear_left(layout, cluster, deadline)
    keeper = Keeper(layout, cluster, order.lock, durable=not order.not_durable)
    keeper.open(deadline)
    _give_word(READY)
    try:
        keeper.keep()
    finally:
        keeper.close()


def _clear_left(layout: Layout, cluster: Cluster, deadline: float) -> None:
    """Clear what a killed keeper left: its server, should it still run, and the directory of its socket."""
    end_orphan(cluster.data, deadline)
    left = read_left(layout.state)
    if left is not None:
        remove_left_run_dir(Path(left.socket_dir))


def _fail(reason: str) -> int:
    say(reason)
    _give_word(reason)
    return 1


def _give_word(word: str) -> None:
    try:
        os.write(1, word.encode())
    except OSError:
        return  # the starter did not wait, or it has had its word
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
