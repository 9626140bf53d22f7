"""Moved time: enqueues, schedules, promotion and runs take it as an argument, and no clock is patched."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from pqclock import __version__
from pqclock.clock.applier import apply
from pqclock.clock.planner import Planner
from pqclock.errors import ArgumentError, ScheduleFileError
from pqclock.rules.durations import parse_duration
from pqclock.schedule_files import read_paths
from pqclock.store import after, jobs, leadership, processes, schedules
from pqclock.store.database import Session
from pqclock.tasks.app import App

SLICE = 1_000
# When planning does not say when to look again, although something is due: no schedule ticks more often.
STEP = timedelta(seconds=1)


class Moments:
    """The time of a test: the database's, until `move_to` sets it; from then on it stands still."""

    def __init__(self, app: App, session: Session) -> None:
        self._app = app
        self._session = session
        self._planner: Planner | None = None

    @property
    def now(self) -> datetime:
        """The time as jobs and schedules see it."""
        return schedules.database_now(self._session, self._app.as_of)

    def move_to(self, when: datetime | str) -> datetime:
        """Let the time be `when`, aware or ISO 8601 text with an offset; gives it.

        What a leading clock does in between is done: ticks of schedules are inserted, each at its time, and what is due
        by then is ready. Nothing is run: `pqclock_drain` does that. Back in time nothing is undone.
        """
        moment = _checked(when)
        at = self.now
        while at < moment:
            at = min(moment, self._plan(at))
        self._app.as_of = moment
        self._plan(moment)
        while after.resolve(self._session, SLICE, moment).more:
            pass
        while jobs.promote(self._session, SLICE, moment).promoted == SLICE:
            pass
        return moment

    def move_by(self, length: str | timedelta) -> datetime:
        """Move on by a duration such as "1h30m"; gives the time then."""
        return self.move_to(self.now + parse_duration(length))

    def apply(self, *paths: str | Path, set: str = "default") -> None:
        """Apply schedule files and folders at this time. Raises ScheduleFileError with every finding."""
        files = read_paths(paths)
        if not files.ok:
            raise ScheduleFileError([finding.render() for finding in files.findings])
        apply(
            self._session, set, files.content_hash, files.schedules, files.rules, files.slos, explicit=True,
            now=self._app.as_of,
        )  # fmt: skip

    def _plan(self, at: datetime) -> datetime:
        """Insert the ticks that a leader would at this time; gives when it would look again."""
        if self._planner is None:
            process_id = processes.register(
                self._session, "clock", pid=os.getpid(), host=socket.gethostname(), code_version=__version__
            )
            self._planner = Planner(self._session, leadership.elect(self._session, process_id, at))
        while (planned := self._planner.step(at)).more:
            pass
        return _later(at, [planned.plan_again_at])


def _later(at: datetime, instants: Iterable[datetime | None]) -> datetime:
    """The first of the instants, but later than `at`; without any, far away."""
    first = min((instant for instant in instants if instant is not None), default=None)
    return datetime.max.replace(tzinfo=at.tzinfo) if first is None else max(first, at + STEP)


def _checked(when: datetime | str) -> datetime:
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when)
        except ValueError:
            raise ArgumentError(f"move_to({when!r:.60}): write a time such as '2026-11-22T09:00:00+00:00'") from None
    if not isinstance(when, datetime) or when.tzinfo is None:
        raise ArgumentError(f"move_to({when!r:.60}): give an aware datetime, such as one with tzinfo=UTC")
    return when
