"""Child processes: started, restarted when they die, told to stop, and never left behind.

Each child has the other end of a pipe as its stdin: when this process is gone, however it ended, the pipe closes and the
child stops. A dead worker's jobs are given back at once, because its parent knows that it is dead.
"""

from __future__ import annotations

import _thread
import logging
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from pqclock.loop import Wakeup
from pqclock.marks import MarksFile
from pqclock.metrics.prometheus import NAME_VARIABLE
from pqclock.pulse import Pulse, Reading, read
from pqclock.store import processes
from pqclock.store.database import CONNECTION_LOST, DatabaseError, connect

log = logging.getLogger("pqclock.supervisor")

# Tells the database of dead children, by their tokens, with the jobs that may have had to do with it: None for all.
Bury = Callable[[Mapping[str, Sequence[int] | None]], None]

# A child that ends with one of these has said why.
REFUSALS = (2, 3, 4)
# A child that ends with this wants to be followed by a new one.
RECYCLED = 10
SETTLED_AFTER = 3.0
RESTART_LIMIT = 5.0
LOOK_EVERY = 1.0
KILL_AFTER = 10.0
# What a child's first connection may take beyond the wait for it.
WAIT_MARGIN = 30.0
# How long an end at once may be held up for the sake of the jobs.
BURY_WITHIN = 1.0


@dataclass(slots=True)
class Child:
    """One process to keep alive: its name for the log, and its command line; the others go on without an optional one."""

    name: str
    command: Sequence[str]
    optional: bool = False
    process: subprocess.Popen[bytes] | None = None
    token: str = ""
    marks: MarksFile | None = None
    started_at: float = 0.0
    restart_at: float = 0.0
    lives: int = 0
    early_deaths: int = 0

    def read(self) -> Reading:
        """What its pulse says; one that is between two lives is about to start."""
        if self.process is not None and self.marks is not None:
            try:
                return read(self.marks.pulse(), self.started_at)
            except (OSError, ValueError):
                # It has just died.
                pass
        return Reading(0.0, False, "starting")


class Supervisor:
    """Keeps children alive until `stop()`; `wait` is how long a child waits for its first connection."""

    def __init__(
        self,
        children: Sequence[Child],
        environment: Mapping[str, str],
        *,
        wait: float,
        stop_timeout: float,
        on_death: Bury,
        output: IO[bytes] | None = None,
    ) -> None:
        self._children = list(children)
        self._environment = {**os.environ, **environment}
        self._wait = wait
        self._stop_timeout = stop_timeout
        self._on_death = on_death
        self._output = output
        self._wakeup = Wakeup()
        # Plain, as signal handlers set it: the lock of an Event may be held by what they interrupt.
        self._stopping = False
        self._pulse = Pulse()

    def stop(self) -> None:
        """Have `run()` stop the children and return; callable from any thread and from signal handlers."""
        self._stopping = True
        self._wakeup.wake()

    def wake(self) -> None:
        """Look at the children at once."""
        self._wakeup.wake()

    def readings(self) -> dict[str, Reading]:
        """What the children say of themselves, by name; and this process, where its own loop does not turn."""
        own = self._pulse.read(time.monotonic())
        return {
            **({} if own.alive else {"supervisor": own}),
            **{child.name: child.read() for child in self._children if not child.optional},
        }

    def forward(self, number: int) -> None:
        """Send a signal to every child."""
        for child in self._children:
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(number)

    def run(self) -> int:
        """Keep the children alive; gives 0 after `stop()`, or the exit code of a child that refused to begin."""
        code = 0
        try:
            while not self._stopping and not code:
                code = self._tend_all()
                if not self._stopping and not code:
                    self._wakeup.wait(self._seconds_until_restart())
        finally:
            self._end_children()
            self._wakeup.close()
        return code

    def _tend_all(self) -> int:
        self._pulse.turn()
        for child in self._children:
            code = self._tend(child)
            if code or self._stopping:
                return code
        return 0

    def _tend(self, child: Child) -> int:
        """Start a child that does not run; gives the exit code of one that refused to begin at all."""
        if child.process is not None:
            status = child.process.poll()
            if status is None:
                return 0
            lived = time.monotonic() - child.started_at
            self._bury(child)
            if self._refused(child, status, lived):
                return status
            self._plan_restart(child, status, lived)
        if time.monotonic() >= child.restart_at:
            self._start_again(child)
        return 0

    def _start_again(self, child: Child) -> None:
        """Start a child; where it has lived before, the machine may just be short of something."""
        try:
            self._start(child)
        except OSError as error:
            if not child.lives:
                raise
            child.restart_at = time.monotonic() + RESTART_LIMIT
            log.error("the %s cannot be started, and is tried again in %.1f s: %s", child.name, RESTART_LIMIT, error)

    def _refused(self, child: Child, status: int, lived: float) -> bool:
        """Whether a child would only say the same again: in later lives the reason may pass, as an outage does."""
        if child.lives > 1 or child.optional:
            return False
        if status in REFUSALS:
            return lived < self._wait + WAIT_MARGIN
        return status == 1 and lived < SETTLED_AFTER

    def _plan_restart(self, child: Child, status: int, lived: float) -> None:
        if status == RECYCLED:
            child.early_deaths, child.restart_at = 0, 0.0
            log.debug("the %s has done enough and is followed by a new one", child.name)
            return
        child.early_deaths = 0 if lived > SETTLED_AFTER else child.early_deaths + 1
        pause = min(0.1 * 2.0**child.early_deaths, RESTART_LIMIT) if child.early_deaths else 0.0
        child.restart_at = time.monotonic() + pause
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with code {status}"
        level = logging.ERROR if status > 0 else logging.WARNING
        log.log(level, "the %s %s and is started again in %.1f s", child.name, how, pause)

    def _start(self, child: Child) -> None:
        child.token = secrets.token_hex(16)
        marks = MarksFile(child.token)
        try:
            child.process = subprocess.Popen(
                child.command,
                env={
                    **self._environment,
                    processes.TOKEN_VARIABLE: child.token,
                    NAME_VARIABLE: child.name,
                    **marks.environment,
                },
                stdin=subprocess.PIPE,
                stdout=self._output,
                stderr=self._output,
                # Signals of the terminal are for this process, which passes them on.
                start_new_session=True,
                pass_fds=[marks.descriptor],
            )
        except BaseException:
            marks.close()
            raise
        child.marks = marks
        child.started_at = time.monotonic()
        child.lives += 1
        log.debug("started the %s as process %s", child.name, child.process.pid)

    def _bury(self, child: Child) -> None:
        assert child.process is not None
        _close_pipe(child.process)
        child.process = None
        assert child.marks is not None
        self._on_death({child.token: child.marks.begun()})
        child.marks.close()

    def _seconds_until_restart(self) -> float:
        pauses = [c.restart_at - time.monotonic() for c in self._children if c.process is None]
        return max(0.0, min([LOOK_EVERY, *pauses]))

    def _end_children(self) -> None:
        self._pulse.turn(self._stop_timeout + KILL_AFTER)
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
            _close_pipe(child.process)
            if child.marks is not None:
                child.marks.close()
            if child.process.returncode:
                self._on_death({child.token: ()})

    def kill(self) -> None:
        """End every child at once, and have their jobs given back if the database answers soon."""
        living = [child.token for child in self._children if child.process is not None]
        self.forward(signal.SIGKILL)
        if not living:
            return
        buried = _thread.allocate_lock()
        buried.acquire()

        def bury() -> None:
            try:
                self._on_death(dict.fromkeys(living, ()))
            finally:
                buried.release()

        # In a handler, so not by `threading`: its locks may be held by what the signal interrupted.
        _thread.start_new_thread(bury, ())
        buried.acquire(timeout=BURY_WITHIN)


def _close_pipe(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def bury_in(url: str, schema: str) -> Bury:
    """What to do at a child's death: have the database give its jobs to others at once, if it can be reached."""

    def bury(begun: Mapping[str, Sequence[int] | None]) -> None:
        try:
            session = connect(url, schema, "supervisor")
            try:
                for token, jobs in begun.items():
                    processes.bury(session, token, begun=jobs)
            finally:
                session.close()
        except (*CONNECTION_LOST, DatabaseError) as error:
            log.debug("the death of a child could not be written: %s", error)

    return bury
