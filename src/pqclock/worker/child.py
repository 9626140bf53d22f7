"""A child process of a worker: it runs one job after the other, each as the worker tells it, and needs no database.

Started as `python -m pqclock.worker.child APP READ WRITE [FORMAT LEVEL]`: the numbers of its ends of two pipes, and how it
is to log, where the worker's log was set up by a command.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from datetime import datetime
from functools import partial
from typing import IO, Any

from pqclock import logs
from pqclock.loop import DatabaseClock
from pqclock.rules.job import Outcome
from pqclock.store.jobs import ClaimedJob
from pqclock.tasks.app import App
from pqclock.tasks.context import Dialogue
from pqclock.tasks.log_fields import JobFields
from pqclock.tasks.signals import Cancelled, Timeout
from pqclock.worker import execution, outcomes, pipes
from pqclock.worker.loading import load_app
from pqclock.worker.run import Run

# What an idle child may take to end when the worker wants it no more.
END_WITHIN = 3.0
_INTERRUPTIONS = {kind.__name__: kind for kind in (Timeout, Cancelled)}


class ChildProcess:
    """The jobs of one child process, on its main thread; what is said meanwhile is heard on another one."""

    def __init__(self, app: App, words: IO[bytes], answers: IO[bytes]) -> None:
        self._app = app
        self._words = words
        self._answers = answers
        self._sending = threading.Lock()
        self._clock = DatabaseClock()
        self._come = threading.Semaphore(0)
        self._jobs: list[dict[str, Any]] = []
        self._run: Run | None = None
        self._turn = threading.Lock()
        self._busy = self._gone = False
        self._lock = threading.Lock()
        # What was said of jobs, by their leases, that have not begun yet.
        self._said: dict[int, list[str]] = {}
        self._pid = os.getpid()

    def work(self) -> None:
        """Run jobs until the worker is gone, which ends a job that runs at once: it is given to others then."""
        threading.Thread(target=self._hear, name="pqclock-worker", daemon=True).start()
        while True:
            self._come.acquire()
            with self._turn:
                if self._gone:
                    return
                self._busy = True
            self._answer(self._jobs.pop(0))

    def _hear(self) -> None:
        try:
            while (message := pipes.receive(self._words)) is not None:
                self._take(message)
        finally:
            with self._turn:
                self._gone = True
                busy = self._busy
            if not busy:
                # Reports of the last job may be under way, and libraries that send them at the interpreter's end.
                self._come.release()
                time.sleep(END_WITHIN)
            os._exit(0)

    def _take(self, message: dict[str, Any]) -> None:
        with self._lock:
            if "job" in message:
                self._said[message["job"]["lease"]] = []
                self._jobs.append(message)
                self._come.release()
            elif self._run is not None and message["for"] == self._run.job.lease:
                _pass_on(self._run, message["word"])
            elif message["for"] in self._said:
                self._said[message["for"]].append(message["word"])

    def _answer(self, message: dict[str, Any]) -> None:
        job = pipes.read_job(message["job"])
        moment = time.monotonic()
        self._clock.read(datetime.fromisoformat(message["now"]), moment, moment)
        task = self._app.tasks[job.task]
        run = Run(task, job, Dialogue(), moment - message["ran"], self._clock, self._save)
        with self._lock:
            self._run = run
            for word in self._said.pop(job.lease):
                _pass_on(run, word)
        try:
            outcome, error = self._ran(run)
        except BaseException as ended:
            # A coroutine that a handler has started wanted to end the program.
            outcome, error = outcomes.failed(run, ended), ended
        if os.getpid() != self._pid:
            # A fork that the handler has made came back here as well.
            os._exit(0)
        with self._lock:
            self._run = None
        self._busy = False
        failure = None if error is None else outcomes.failure(run, outcome, error)
        tells = failure is not None and bool(self._app.hooks.reports)
        self._say({"outcome": pipes.outcome_message(outcome), "tells": tells})
        if failure is not None and tells:
            self._app.hooks.tell(failure)
            self._say({"told": job.lease})

    def _ran(self, run: Run) -> tuple[Outcome, BaseException | None]:
        around = self._app.hooks.around
        if run.task.options.batch is not None:
            if run.task.is_async:
                return asyncio.run(execution.run_batch_async([run], around))[0]
            return execution.run_batch_here([run], around)[0]
        return asyncio.run(execution.run_async(run, around)) if run.task.is_async else execution.run_here(run, around)

    def _save(self, job: ClaimedJob, checkpoint: str) -> None:
        self._say({"checkpoint": checkpoint, "for": job.lease})

    def _say(self, message: dict[str, Any]) -> None:
        with self._sending:
            pipes.send(self._answers, message)


def _pass_on(run: Run, word: str) -> None:
    if word == "cancel":
        run.dialogue.cancel()
    elif word == "want back":
        run.dialogue.want_back()
    else:
        run.interrupt(_INTERRUPTIONS[word])


def _part_from_the_worker(*pipe_ends: int) -> None:
    """In a fork: what it holds of the pipes would hide the death of this process, and it may be ended by signals."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for end in pipe_ends:
        os.dup2(nowhere, end, inheritable=False)
    os.close(nowhere)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> None:
    """The program of a child process."""
    place, reading, writing, *logging_as = sys.argv[1:]
    if logging_as:
        logs.set_up(logging_as[0], logging_as[1], fields=JobFields())
    # The worker says when to end: a signal of the terminal, or of a service manager for all processes, is meant for it.
    # Not ignored, since commands that handlers start would go on to ignore them.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    for end in (int(reading), int(writing)):
        os.set_inheritable(end, False)
    os.register_at_fork(after_in_child=partial(_part_from_the_worker, int(reading), int(writing)))
    app = load_app(place)
    with os.fdopen(int(reading), "rb") as words, os.fdopen(int(writing), "wb") as answers:
        try:
            pipes.send(answers, {"pid": os.getpid()})
        except BrokenPipeError:
            # The worker died meanwhile, and nobody needs this process: not even to flush what was not sent.
            os._exit(0)
        ChildProcess(app, words, answers).work()


if __name__ == "__main__":
    main()
