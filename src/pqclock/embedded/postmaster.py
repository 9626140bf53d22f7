"""The server's first process: start it, wait until it is ready, stop it, and clear what a killed one left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pqclock.embedded.children import Lifeline, lifeline_if_needed, spawn_child
from pqclock.embedded.cluster import Cluster
from pqclock.embedded.layout import Layout, late, log_tail
from pqclock.errors import EmbeddedServerError

PORT = 5432  # only part of the socket's name: the server listens on no network

_TURN = 0.01
_PID_LINE, _STATUS_LINE = 0, 7

#: What the log says while a killed server's last processes still go away.
_PASSING = ("pre-existing shared memory block", 'lock file "postmaster.pid" already exists')

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "lc_messages": "C",
}
_HASTY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postmaster:
    """The `postgres` of one cluster, a direct child of this process."""

    def __init__(self, layout: Layout, cluster: Cluster, run_dir: Path, *, durable: bool) -> None:
        self._layout = layout
        self._cluster = cluster
        settings = {**_SETTINGS, "unix_socket_directories": str(run_dir), **({} if durable else _HASTY)}
        self._command: list[str | Path] = [
            cluster.binaries.folder / "postgres",
            "-D",
            cluster.data,
            "-p",
            str(PORT),
        ]
        self._command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._child: subprocess.Popen[bytes] | None = None
        self._lifeline: Lifeline | None = None

    @property
    def pid(self) -> int:
        """The process id, or 0 while none runs."""
        return self._child.pid if self.runs() and self._child else 0

    def runs(self) -> bool:
        """Say whether the process is alive."""
        return self._child is not None and self._child.poll() is None

    def start(self, deadline: float) -> None:
        """Start it and wait until it accepts connections; outlast the end of a killed predecessor."""
        while True:
            mark = self._layout.log.stat().st_size
            end_orphan(self._cluster.data, deadline)
            self._spawn()
            if self._wait_until_ready(deadline):
                return
            timed_out = self.runs()
            self.stop()
            said = log_tail(self._layout.log, since=mark)
            if timed_out:
                raise late(self._layout)
            if time.monotonic() > deadline or not any(passing in said for passing in _PASSING):
                raise EmbeddedServerError(
                    f"The embedded server in {self._layout.folder} ended before it accepted connections; "
                    f"the end of {self._layout.log} says:\n{said}"
                )
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop it in good order, and by force if that takes too long."""
        child, self._child = self._child, None
        if child is not None:
            for asked, patience in ((signal.SIGINT, 10), (signal.SIGQUIT, 5), (signal.SIGKILL, None)):
                child.send_signal(asked)
                try:
                    child.wait(patience)
                    break
                except subprocess.TimeoutExpired:
                    continue
        if self._lifeline is not None:
            self._lifeline.cut()
            self._lifeline = None

    def _spawn(self) -> None:
        self.stop()  # reaps one that ended by itself
        self._child = spawn_child(self._command, self._cluster.account, at_my_death=signal.SIGINT)
        self._lifeline = lifeline_if_needed(self._child.pid)

    def _wait_until_ready(self, deadline: float) -> bool:
        while self.runs() and time.monotonic() < deadline:
            lines = _pid_file_lines(self._cluster.data)
            mine = lines[_PID_LINE : _PID_LINE + 1] == [str(self.pid)]
            if mine and lines[_STATUS_LINE : _STATUS_LINE + 1] == ["ready"]:
                return True
            time.sleep(_TURN)
        return False


def end_orphan(data: Path, deadline: float) -> None:
    """Stop a server whose keeper was killed, and forget a process id that now means another process."""
    lines = _pid_file_lines(data)
    if sys.platform != "linux" or not lines or not lines[_PID_LINE].isdigit():
        return
    pid = int(lines[_PID_LINE])
    if not _serves(pid, data):
        # The server itself cannot tell such a process from a colleague, and would refuse for ever.
        if Path(f"/proc/{pid}").exists():
            (data / "postmaster.pid").unlink(missing_ok=True)
        return
    os.kill(pid, signal.SIGINT)
    while _serves(pid, data) and time.monotonic() < deadline:
        time.sleep(_TURN)


def _serves(pid: int, data: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
    except OSError:
        return False


def _pid_file_lines(data: Path) -> list[str]:
    try:
        return [line.strip() for line in (data / "postmaster.pid").read_text("utf-8").splitlines()]
    except OSError:
        return []
