"""The clock as a service: the first connection, the files, the signals."""

from __future__ import annotations

import logging
import threading

from pqclock.address import Address
from pqclock.clock.applier import Applied, apply
from pqclock.clock.clock import Clock
from pqclock.errors import PqclockError, ScheduleFileError
from pqclock.loop import Stop, Wakeup
from pqclock.rules.files import FileSet
from pqclock.schedule_files import declared_paths, read_paths
from pqclock.settings import Settings
from pqclock.store import leadership, migrate, schedules, tasks
from pqclock.store.database import DatabaseError, Session
from pqclock.store.waiting import within

log = logging.getLogger("pqclock.clock")

# The watcher is woken for what it is to do; this only bounds a sleep.
WATCHER_TURN = 60.0


class ClockService:
    """A clock with its schedule files: `run()` until `stop()`; `reload()` applies the files again."""

    def __init__(self, settings: Settings, address: Address) -> None:
        self._settings = settings
        self._address = address
        self._url = settings.clock_database_url or address.url
        self._clock = Clock(self._url, settings.schema)
        self._stop = Stop()
        self._stop.hand_over(self._clock.stop)
        # Plain, as a signal handler sets it: the lock of an Event may be held by what it interrupts.
        self._reload_asked = False
        self._watcher_wakeup = Wakeup()

    def run(self) -> None:
        """Connect, apply the files, lead or stand by. Raises DatabaseUnreachable, Refused or ScheduleFileError."""
        session = within(self._settings.wait, self._connect, self._stop.wait)
        if session is None:
            return
        try:
            # Only the embedded server is ours to change unasked.
            if self._address.server is not None:
                migrate.migrate(session)
            migrate.check_schema(session)
            self._apply_at_start(session)
        finally:
            session.close()
        watcher = threading.Thread(target=self._watch, name="pqclock-files", daemon=True)
        watcher.start()
        self._clock.run()

    def stop(self) -> None:
        """Have `run()` return."""
        self._stop.ask()
        self._watcher_wakeup.wake()

    def reload(self) -> None:
        """Read the files again and apply them, beside the clock's own work."""
        self._reload_asked = True
        self._watcher_wakeup.wake()

    def _connect(self) -> Session:
        return leadership.connect_direct(self._url, self._settings.schema, "clock")

    def _watch(self) -> None:
        while not self._stop.asked:
            if self._reload_asked:
                self._reload_asked = False
                self._apply_again()
            else:
                self._watcher_wakeup.wait(WATCHER_TURN)

    def _apply_at_start(self, session: Session) -> None:
        """Broken files are no reason to stand still when older ones rule; when none do, they are."""
        try:
            applied = apply_files(session, self._settings, explicit=False)
        except ScheduleFileError as error:
            if not schedules.applied_contents(session, self._settings.set):
                raise
            _complain("the schedule files are broken, so the ones applied before stay in force", error)
        else:
            _report(applied, self._settings.set)

    def _apply_again(self) -> None:
        try:
            session = self._connect()
            try:
                _report(apply_files(session, self._settings, explicit=True), self._settings.set)
            finally:
                session.close()
        except (PqclockError, DatabaseError) as error:
            _complain("the schedule files were not applied, the ones applied before stay in force", error)


def apply_files(session: Session, settings: Settings, *, explicit: bool) -> Applied | None:
    """Apply the files that the settings name; None where nobody named any and the default folder is missing.

    Raises ScheduleFileError with every finding.
    """
    paths = declared_paths(settings)
    if not paths:
        return None
    files = read_paths(paths)
    if not files.ok:
        raise ScheduleFileError([finding.render() for finding in files.findings])
    _warn(files)
    applied = apply(session, settings.set, files.content_hash, files.schedules, explicit=explicit)
    _warn_of_unknown_tasks(session, files)
    return applied


def _warn(files: FileSet) -> None:
    for finding in files.findings:
        log.warning("%s:%s: %s", finding.file, finding.line, finding.message)


def _warn_of_unknown_tasks(session: Session, files: FileSet) -> None:
    """Where workers have published their tasks, a name that none of them has is more likely misspelt than early."""
    from difflib import get_close_matches

    published = tasks.names(session)
    for schedule in files.schedules:
        if published and schedule.task not in published:
            close = get_close_matches(schedule.task, published, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "its jobs wait until one has"
            log.warning("%s: no worker has published the task %r: %s", schedule.source, schedule.task, hint)


def _complain(what: str, error: Exception) -> None:
    """An error of many lines, a record a line: the log escapes what would break a line."""
    log.error("%s:", what)
    for line in str(error).splitlines():
        log.error("%s", line)


def _report(applied: Applied | None, set_name: str) -> None:
    if applied is None:
        log.info("no schedule files: only schedules put at run time tick")
    elif applied.difference is None:
        log.warning(
            "the schedule files of set %s are older than the ones in force and were not applied: "
            "`pqclock apply` or HUP applies them all the same", set_name,
        )  # fmt: skip
    else:
        d = applied.difference
        log.info(
            "applied set %s: %s added, %s changed, %s renamed, %s removed, %s unchanged; %s ticks withdrawn",
            set_name, len(d.added), len(d.changed), len(d.renamed), len(d.removed), len(d.unchanged) + len(d.moved),
            applied.withdrawn,
        )  # fmt: skip
