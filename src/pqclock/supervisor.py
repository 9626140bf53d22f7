"""Child processes: started, restarted when they die, told to stop, and never left behind.

Each child has the other end of a pipe as its stdin: when this process is gone, however it ended, the pipe closes and the
child stops. A dead worker's jobs are given back at once, because its parent knows that it is dead.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from pqclock.loop import Wakeup
from pqclock.store import processes
from pqclock.store.database import CONNECTION_LOST, DatabaseError, connect

log = logging.getLogger("pqclock.supervisor")

# A child that ends with one of these has said why, and would say it again.
REFUSALS = (2, 3, 4)
SETTLED_AFTER = 3.0
RESTART_LIMIT = 5.0
LOOK_EVERY = 1.0
KILL_AFTER = 10.0


@dataclass(slots=True)
class Child:
    """One process to keep alive: its name for the log, and its command line."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restart_at: float = 0.0
    deaths: int = field(default=0)


class Supervisor:
    """Keeps children alive until `stop()`."""

    def __init__(
        self,
        children: Sequence[Child],
        environment: Mapping[str, str],
        *,
        stop_timeout: float,
        on_death: Callable[[int], None],
        output: IO[bytes] | None = None,
    ) -> None:
        self._children = list(children)
        self._environment = {**os.environ, **environment}
        self._stop_timeout = stop_timeout
        self._on_death = on_death
        self._output = output
        self._wakeup = Wakeup()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Have `run()` stop the children and return; callable from any thread and from signal handlers."""
        self._stopping.set()
        self._wakeup.wake()

    def wake(self) -> None:
        """Look at the children at once."""
        self._wakeup.wake()

    def forward(self, number: int) -> None:
        """Send a signal to every child."""
        for child in self._children:
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(number)

    def run(self) -> int:
        """Keep the children alive; gives 0 after `stop()`, or the exit code of a child that refused to run."""
        code = 0
        while not self._stopping.is_set():
            for child in self._children:
                code = self._tend(child)
                if code:
                    self._stopping.set()
                    break
            if not self._stopping.is_set():
                self._wakeup.wait(self._seconds_until_restart())
        self._end_children()
        self._wakeup.close()
        return code

    def _tend(self, child: Child) -> int:
        """Start a child that does not run; gives the exit code of one that must not be started again."""
        if child.process is not None:
            status = child.process.poll()
            if status is None:
                return 0
            lived = time.monotonic() - child.started_at
            self._bury(child)
            if status in REFUSALS or (status == 1 and lived < SETTLED_AFTER):
                return status
            self._plan_restart(child, status, lived)
        if time.monotonic() >= child.restart_at:
            self._start(child)
        return 0

    def _plan_restart(self, child: Child, status: int, lived: float) -> None:
        child.deaths = 0 if lived > SETTLED_AFTER else child.deaths + 1
        pause = min(0.1 * 2.0**child.deaths, RESTART_LIMIT) if child.deaths else 0.0
        child.restart_at = time.monotonic() + pause
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with code {status}"
        log.warning("the %s %s and is started again", child.name, how)

    def _start(self, child: Child) -> None:
        child.process = subprocess.Popen(
            child.command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._output,
            # Signals of the terminal are for this process, which passes them on.
            start_new_session=True,
        )
        child.started_at = time.monotonic()
        log.debug("started the %s as process %s", child.name, child.process.pid)

    def _bury(self, child: Child) -> None:
        assert child.process is not None
        if child.process.stdin is not None:
            child.process.stdin.close()
        self._on_death(child.process.pid)
        child.process = None

    def _seconds_until_restart(self) -> float:
        pauses = [c.restart_at - time.monotonic() for c in self._children if c.process is None]
        return max(0.0, min([LOOK_EVERY, *pauses]))

    def _end_children(self) -> None:
        self.forward(signal.SIGTERM)
        deadline = time.monotonic() + self._stop_timeout + KILL_AFTER
        for child in self._children:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("the %s does not stop and is killed", child.name)
                child.process.kill()
                child.process.wait()
            if child.process.returncode:
                self._on_death(child.process.pid)

    def kill(self) -> None:
        """End every child at once."""
        self.forward(signal.SIGKILL)


def bury_in(url: str, schema: str) -> Callable[[int], None]:
    """What to do at a child's death: have the database give its jobs to others at once, if it can be reached."""

    def bury(pid: int) -> None:
        try:
            session = connect(url, schema, "supervisor")
            try:
                processes.bury(session, socket.gethostname(), pid)
            finally:
                session.close()
        except (*CONNECTION_LOST, DatabaseError) as error:
            log.debug("the death of process %s could not be written: %s", pid, error)

    return bury
