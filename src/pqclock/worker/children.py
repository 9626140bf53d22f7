"""The child processes of a worker: for tasks that want one, and for jobs under suspicion of killing their process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from pqclock import logs
from pqclock.loop import DatabaseClock
from pqclock.rules.job import Outcome
from pqclock.store.jobs import CRASH_LIMIT, ClaimedJob
from pqclock.worker import pipes
from pqclock.worker.recycling import Limits
from pqclock.worker.run import Run

log = logging.getLogger("pqclock.worker")

# A child that is not there after so long never will be.
START_WITHIN = 60.0
END_WITHIN = 0.5
LAST = f", and that was the last of {CRASH_LIMIT} times"

# Starting more of them than there are processors for takes longer, for each of them and for their neighbours; and while
# one starts, another often comes free.
START_AT_ONCE = max(1, (os.cpu_count() or 1) // 2)


# A child that was told to end, and does not, is killed. It ends itself before, unless it cannot.
BURY_AFTER = 5.0


class Crashed(Exception):
    """The child process died, and how."""


class Child:
    """One child process. Its pipes are its own: what handlers print goes where the worker's prints go."""

    def __init__(self, place: str) -> None:
        words, to_child = os.pipe()
        from_child, answers = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pqclock.worker.child", place, str(words), str(answers), *(logs.chosen() or ())],
                stdin=subprocess.DEVNULL, pass_fds=(words, answers),
            )  # fmt: skip
        except BaseException:
            os.close(to_child)
            os.close(from_child)
            raise
        finally:
            os.close(words)
            os.close(answers)
        self._words = os.fdopen(to_child, "wb")
        self._answers = os.fdopen(from_child, "rb")
        self._sending = threading.Lock()
        _living.add(self)
        self.jobs = 0
        # It has given its outcome, and tells its reports of it.
        self.tells = False

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """False once the process has ended."""
        return self._process.poll() is None

    def say(self, message: dict[str, Any]) -> None:
        """Send a message; one that died meanwhile does not hear it."""
        with self._sending, suppress(OSError, ValueError):
            pipes.send(self._words, message)

    def hear(self) -> dict[str, Any]:
        """Wait for a message. Raises Crashed at the end of the process."""
        try:
            message = pipes.receive(self._answers)
        except (OSError, ValueError):
            message = None
        if message is not None:
            return message
        try:
            # Its pipes close a moment before it has ended, and how it ended is worth knowing.
            status = self._process.wait(END_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        raise Crashed(f"by signal {-status}" if status < 0 else f"with exit code {status}")

    def forget_after_fork(self) -> None:
        """In a fork of the worker: what it holds of the pipes would hide the worker's death from the child."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        with suppress(OSError, ValueError):
            for pipe in (self._words, self._answers):
                os.dup2(nowhere, pipe.fileno(), inheritable=False)
        os.close(nowhere)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def close(self) -> None:
        """Have it end, and forget it. It hears so by its pipe, and tells its last reports first, if it has any."""
        with self._sending, suppress(OSError):
            self._words.close()
        if self.alive:
            threading.Thread(target=self._bury, name="pqclock-child-end", daemon=True).start()
        else:
            self._bury()

    def _bury(self) -> None:
        try:
            self._process.wait(BURY_AFTER)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with suppress(OSError):
            self._answers.close()


def _forget_after_fork() -> None:
    for child in list(_living):
        child.forget_after_fork()


_living: WeakSet[Child] = WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


class Children:
    """As many children as run jobs at the same time; idle ones are used again. `place` is where the app is found."""

    def __init__(self, place: str | None, clock: DatabaseClock, limits: Limits) -> None:
        self._limits = limits
        self._place = place
        self._clock = clock
        self._lock = threading.Lock()
        # One may come free, or another may be started.
        self._changed = threading.Condition(self._lock)
        self._starting = 0
        self._idle: list[Child] = []
        self._all: set[Child] = set()
        self._closed = False

    @property
    def possible(self) -> bool:
        """False where no child could find the app: it was made in this process."""
        return self._place is not None

    def take(self) -> Child:
        """An idle child, else a new one; waits while enough of them are starting. Raises Crashed when none comes to life."""
        with self._lock:
            while (child := self._find_idle()) is None and self._starting >= START_AT_ONCE and not self._closed:
                self._changed.wait()
            if child is not None:
                return child
            if self._closed:
                raise Crashed("since the worker stops")
            assert self._place is not None
            child = Child(self._place)
            self._all.add(child)
            self._starting += 1
        hanging = threading.Timer(START_WITHIN, child.kill)
        try:
            hanging.start()
            child.hear()
        except BaseException:
            self._forget(child)
            raise
        finally:
            hanging.cancel()
            with self._lock:
                self._starting -= 1
                self._changed.notify()
        return child

    def _find_idle(self) -> Child | None:
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            self._all.discard(child)
            child.close()
        return None

    def run(self, run: Run, child: Child) -> Outcome:
        """Run a job in a child to its end, on the thread that calls; a child that dies is an outcome too."""
        try:
            ran = time.monotonic() - run.began
            child.say({"job": pipes.job_message(run.job), "now": self._clock.now().isoformat(), "ran": ran})
            # What is said to it comes behind the job.
            run.attach(child.say, child.kill)
            while "outcome" not in (answer := child.hear()):
                run.saved(answer["checkpoint"])
            child.tells = bool(answer.get("tells"))
            return pipes.read_outcome(answer["outcome"])
        except Crashed as error:
            self._forget(child)
            return crashed(run, f"its process died while it ran, {error}", self._clock)
        except (ValueError, LookupError, TypeError):
            self._forget(child)
            return crashed(run, "its process wrote into the worker's pipe, and was ended", self._clock)
        finally:
            run.leave()

    def end(self, child: Child) -> None:
        """Its job has ended: wait until its reports were told of that, then the next job may have it."""
        if child.tells:
            try:
                child.hear()
            except Crashed as error:
                log.warning("a child process died, %s, before its reports were told of a failure", error)
                self._forget(child)
                return
            child.tells = False
        self.put_back(child)

    def put_back(self, child: Child) -> None:
        """It is idle: the next job may have it."""
        child.jobs += 1
        with self._lock:
            if not self._closed and self._limits.reached(child.jobs, child.pid) is None:
                self._idle.append(child)
                self._changed.notify()
                return
        self._forget(child)

    def _forget(self, child: Child) -> None:
        with self._lock:
            self._all.discard(child)
        child.close()

    def close(self) -> None:
        """End all of them, also those that run jobs."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()
            idle, self._idle = self._idle, []
            busy = self._all.difference(idle)
        for child in idle:
            self._forget(child)
        for child in busy:
            # Whoever waits for its answer sees its end, and forgets it.
            if child.tells:
                child.close()
            else:
                child.kill()


def crashed(run: Run, how: str, clock: DatabaseClock) -> Outcome:
    """What a job came to whose child process died: as when its worker does."""
    job = run.job
    last = not run.came_further and job.crashes + 1 >= CRASH_LIMIT
    if run.task.options.on_crash == "hold":
        state, error = "held", f"crashed: {how}, and it is held until a person has looked at it"
    elif last:
        state, error = "failed", f"crashed: {how}{LAST}"
    else:
        state, error = "ready", f"crashed: {how}"
    return Outcome(
        job.id, job.lease, state, "crashed", charged=state == "failed", error_type="Crashed", error=error,
        started_at=run.started_at, finished_at=clock.now(), gated=job.gated, error_names=("Crashed",), crashed=True,
        keeps_place=True, checkpoint=run.told,
    )  # fmt: skip


def reconsidered(outcome: Outcome, crashes: int) -> Outcome:
    """A last crash, by the number that the database has: a checkpoint in the handler's own transaction, of which nobody
    else knows, may have begun to count anew."""
    if crashes + 1 >= CRASH_LIMIT:
        return outcome
    return outcome._replace(state="ready", charged=False, error=(outcome.error or "").removesuffix(LAST))


def is_suspect(job: ClaimedJob) -> bool:
    """True when a process has died while it ran this job: nobody else is to share its process any more."""
    return job.crashes > 0
