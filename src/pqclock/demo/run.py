"""Run the demo: a clock, a worker with two pools, and the view; at the end a summary, and everything is put away.

One demo runs at a time on a schema: another one would share its set, and put away what the first one still shows.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from rich.console import Console
from rich.live import Live

from pqclock.clock.applier import apply
from pqclock.demo.jobs import app
from pqclock.demo.view import Scene, draw
from pqclock.errors import PqclockError, Refused
from pqclock.loop import Wakeup
from pqclock.settings import Settings
from pqclock.store import alone, jobs, lateness, listings, schedules
from pqclock.store.database import CONNECTION_LOST, DatabaseError, Session
from pqclock.supervisor import Supervisor

SET = "demo"
APP = "pqclock.demo.jobs:app"
POOLS = "fast:4;slow:2"
REFRESH = 0.2
# Lines of the screen that the view needs beside the latest ticks and a line for each schedule.
FRAME = 12
UP_WITHIN = 30.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run of the demo came to; lateness is due -> handler begins, for first attempts."""

    seconds: float
    ticks_inserted: int
    jobs_run: int
    attempts: dict[str, int]
    lateness_p50_ms: float | None
    lateness_p99_ms: float | None
    lateness_max_ms: float | None


def demo_settings(settings: Settings) -> Settings:
    """The settings of the demo's own clock and worker."""
    origins = {**settings.origins, "schedules": "the demo"}
    return replace(
        settings, set=SET, schedules=(str(schedule_file()),), watch=False, app=APP, queues=POOLS, processes=1,
        log_level="warning", origins=origins,
    )  # fmt: skip


def schedule_file() -> Path:
    """`schedules/demo.toml`: inside the installed package, or in the source tree that this runs from."""
    packaged = Path(str(files("pqclock.demo").joinpath("schedules", "demo.toml")))
    return packaged if packaged.exists() else Path(__file__).parents[3] / "schedules" / "demo.toml"


def be_the_only_one(session: Session) -> None:
    """Hold the demo's place until the session ends; raises Refused when another demo holds it."""
    if not alone.take(session, "demo"):
        raise Refused("a demo runs on this database already: end that one first")


class Demo:
    """One run of the demo, on a session that holds the demo's place; `run()` until its time is over or `stop()`."""

    def __init__(self, session: Session, supervisor: Supervisor, seconds: float | None, *, watch: bool) -> None:
        self._session = session
        self._supervisor = supervisor
        self._seconds = seconds
        self._watch = watch
        self._wakeup = Wakeup()
        # Plain, as a signal handler sets it: the lock of an Event may be held by what it interrupts.
        self._stopping = False
        self._code = 0
        self._failure: BaseException | None = None
        self._children = threading.Thread(target=self._keep_children, name="pqclock-demo", daemon=True)

    def stop(self) -> None:
        """Have `run()` come to its end."""
        self._stopping = True
        self._wakeup.wake()

    def run(self) -> Summary:
        """Show ticks on their way; raises PqclockError when the clock or the worker cannot run."""
        self._children.start()
        try:
            since, begun = self._wait_until_up()
            self._show(since, begun)
            summary = summarize(self._session, since, time.monotonic() - begun)
        finally:
            self._supervisor.stop()
            self._children.join()
            with suppress(PqclockError, DatabaseError, *CONNECTION_LOST):
                put_away(self._session)
            self._wakeup.close()
        self._refuse_dead_children()
        return summary

    def _keep_children(self) -> None:
        try:
            self._code = self._supervisor.run()
        except BaseException as error:
            self._failure = error
        finally:
            self.stop()

    def _refuse_dead_children(self) -> None:
        if self._failure is not None:
            raise PqclockError(
                f"the demo's clock and worker could not be kept running ({self._failure}): see the log named above"
            ) from self._failure
        if self._code:
            raise PqclockError("the demo's clock or worker could not be started: see the log named above")

    def _wait_until_up(self) -> tuple[datetime, float]:
        """When a leader and a worker were both there, by the database's clock and by ours."""
        deadline = time.monotonic() + UP_WITHIN
        while not self._stopping and time.monotonic() < deadline:
            rows = listings.processes(self._session).rows
            if any(row.leader for row in rows) and any(row.kind == "worker" for row in rows):
                break
            self._wakeup.wait(0.05)
        self._refuse_dead_children()
        if time.monotonic() >= deadline:
            raise PqclockError(
                f"the demo's clock and worker were not up after {UP_WITHIN:g} s: see the log named above"
            )
        return schedules.database_now(self._session), time.monotonic()

    def _show(self, since: datetime, begun: float) -> None:
        if not self._watch:
            self._until_over(begun, lambda: None, pause=60.0)
        elif not sys.stdout.isatty():
            self._print_lines(since, begun)
        else:
            console = Console()
            with Live(screen=True, auto_refresh=False, console=console) as live:

                def repaint() -> None:
                    live.update(draw(self._scene(since, begun, console.height)), refresh=True)

                self._until_over(begun, repaint, pause=REFRESH)

    def _print_lines(self, since: datetime, begun: float) -> None:
        """Where nobody can repaint a screen, a line for each tick whose job has ended."""
        seen: set[tuple[str, datetime]] = set()

        def print_new() -> None:
            for row in reversed(lateness.recent(self._session, SET, since, 50)):
                if row.finished_at is not None and (row.key, row.tick) not in seen:
                    seen.add((row.key, row.tick))
                    print(f"{row.tick:%H:%M:%S} {row.key}: {row.state}, attempt {row.attempt}", flush=True)

        self._until_over(begun, print_new, pause=REFRESH)

    def _until_over(self, begun: float, step: Callable[[], None], *, pause: float) -> None:
        while not self._stopping:
            step()
            left = pause if self._seconds is None else begun + self._seconds - time.monotonic()
            if left <= 0:
                return
            self._wakeup.wait(min(pause, left))

    def _scene(self, since: datetime, begun: float, height: int) -> Scene:
        session = self._session
        rows = listings.processes(session).rows
        leader = next((f"leading: term {row.epoch}" for row in rows if row.leader), "no leader")
        ahead = lateness.ahead(session, SET)
        return Scene(
            now=schedules.database_now(session),
            seconds=time.monotonic() - begun,
            leader=leader,
            schedules=ahead,
            ticks=lateness.recent(session, SET, since, max(1, height - FRAME - len(ahead))),
            lateness=lateness.summary(session, SET, since),
            outcomes=lateness.outcomes(session, SET, since),
            hint="Ctrl-C ends. In another terminal, in this folder: pqclock status, pqclock jobs, pqclock schedules",
        )


def summarize(session: Session, since: datetime, seconds: float) -> Summary:
    """Count and measure what happened since an instant."""
    late = lateness.summary(session, SET, since)
    attempts = lateness.outcomes(session, SET, since)
    return Summary(
        seconds=round(seconds, 1),
        ticks_inserted=late.ticks_inserted,
        jobs_run=late.ticks_begun,
        attempts=attempts,
        lateness_p50_ms=_rounded(late.lateness_p50_ms),
        lateness_p99_ms=_rounded(late.lateness_p99_ms),
        lateness_max_ms=_rounded(late.lateness_max_ms),
    )


def put_away(session: Session) -> None:
    """Remove the demo's schedules and cancel what still waits, so that nothing ticks for tasks that nobody runs."""
    apply(session, SET, "ended", (), explicit=True)
    jobs.cancel_tasks(session, sorted(app.tasks), "the demo has ended")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
