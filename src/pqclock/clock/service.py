"""The clock as a service: the first connection, the files, the signals."""

from __future__ import annotations

import logging
import threading

from pqclock.address import Address
from pqclock.alarm_hooks import hooks_of
from pqclock.clock.applier import Applied, apply
from pqclock.clock.clock import Clock
from pqclock.clock.watching import LOOK_EVERY, ScheduleFiles
from pqclock.errors import PqclockError, ScheduleFileError
from pqclock.loop import Stop, Wakeup, backoff
from pqclock.pulse import Pulse
from pqclock.rules.applying import Difference
from pqclock.rules.files import FileSet
from pqclock.rules.retention import parse_keep
from pqclock.schedule_files import Reading
from pqclock.settings import Settings
from pqclock.store import leadership, migrate, poolers, schedules, tasks
from pqclock.store.database import DatabaseError, Session
from pqclock.store.waiting import within
from pqclock.watchdog import OnHang, report_hang

log = logging.getLogger("pqclock.clock")

# The watcher is woken for what it is to do; this only bounds a sleep.
WATCHER_TURN = 60.0
# It may be at work on files, or on a connection to a database that is away.
WATCHER_ENDS_WITHIN = 5.0
# How long a changed content waits at most for a database that is away.
RETRY_LIMIT = 30.0
NOT_APPLIED = "the schedule files were not applied, the ones applied before stay in force"
_SHOWN = 5


class ClockService:
    """A clock with its schedule files: `run()` until `stop()`; `reload()` applies the files again.

    `on_hang` is called by another thread when the clock's loop does not turn any more.
    """

    def __init__(
        self, settings: Settings, address: Address, on_hang: OnHang = report_hang, pulse: Pulse | None = None
    ) -> None:
        self._settings = settings
        self._address = address
        self._url = settings.clock_database_url or address.url
        self._clock = Clock(
            self._url,
            settings.schema,
            allow_session_pooler=settings.allow_session_pooler,
            keep=parse_keep(settings.keep),
            on_hang=on_hang,
            pulse=pulse,
            hooks=hooks_of(settings),
        )
        self._stop = Stop()
        self._stop.hand_over(self._clock.stop)
        self._files = ScheduleFiles(settings)
        # What this clock last applied or found older: the same meaning again, as with another comment, is no change.
        self._meaning: str | None = None
        # Plain, as a signal handler sets it: the lock of an Event may be held by what it interrupts.
        self._reload_asked = False
        self._watcher_wakeup = Wakeup()

    def run(self) -> None:
        """Connect, apply the files, lead or stand by; once. Raises DatabaseUnreachable, Refused or ScheduleFileError."""
        try:
            self._run()
        finally:
            self._clock.close()
            self._stop.close()
            self._watcher_wakeup.close()

    def _run(self) -> None:
        session = within(self._settings.wait, self._connect, self._stop.wait)
        if session is None:
            return
        try:
            if not poolers.is_direct(session):
                log.warning(
                    "the clock connects through a pooler: how soon a leader that hangs or vanishes loses its lock is now up "
                    "to the pooler, whose own TCP settings hold; a direct address, PQCLOCK_CLOCK_DATABASE_URL, is safer"
                )
            # Only the embedded server is ours to change unasked.
            if self._address.server is not None:
                migrate.migrate(session)
            migrate.check_schema(session)
            self._apply_at_start(session)
        finally:
            session.close()
        if self._settings.watch:
            log.info("the schedule files are watched: %s", ", ".join(self._settings.schedules))
        watcher = threading.Thread(target=self._tend_files, name="pqclock-files", daemon=True)
        watcher.start()
        try:
            self._clock.run()
        finally:
            self.stop()
            watcher.join(WATCHER_ENDS_WITHIN)

    @property
    def state(self) -> str:
        """`starting`, `standby` or `leading`."""
        return self._clock.state

    def stop(self) -> None:
        """Have `run()` return."""
        self._stop.ask()
        self._watcher_wakeup.wake()

    def reload(self) -> None:
        """Read the files again and apply them, beside the clock's own work."""
        self._reload_asked = True
        self._watcher_wakeup.wake()

    def _connect(self) -> Session:
        allowed = self._settings.allow_session_pooler
        return leadership.connect_direct(self._url, self._settings.schema, "clock", allow_session_pooler=allowed)

    def _tend_files(self) -> None:
        while not self._stop.asked:
            try:
                idle = not self._tend_files_once()
            except Exception as error:
                # Else nobody would look at the files any more, and nobody would know.
                _complain("the schedule files were not applied, by a fault of pqclock itself", error)
                idle = True
            if idle:
                self._watcher_wakeup.wait(LOOK_EVERY if self._settings.watch else WATCHER_TURN)

    def _tend_files_once(self) -> bool:
        """Do what is to be done with the files; False when there is nothing."""
        if self._reload_asked:
            self._reload_asked = False
            self._apply_again()
            return True
        changes = self._files.changed() if self._settings.watch else []
        if changes:
            log.info("the schedule files were changed: %s", _some(changes))
            self._apply_change()
        return bool(changes)

    def _apply_at_start(self, session: Session) -> None:
        """Broken files are no reason to stand still when older ones rule; when none do, they are."""
        try:
            applied = self._apply(session, self._files.read(), explicit=False)
        except ScheduleFileError as error:
            if not schedules.applied_contents(session, self._settings.set):
                raise
            _complain("the schedule files cannot be applied, so the ones applied before stay in force", error)
        else:
            _report(applied, self._settings.set)

    def _apply_again(self) -> None:
        try:
            self._apply_once(self._files.read())
        except (PqclockError, DatabaseError) as error:
            _complain(NOT_APPLIED, error)

    def _apply_change(self) -> None:
        """Apply what the files hold now; a database that is away is waited for."""
        # Read once, while they stand still: what changes meanwhile is the next change.
        reading = self._files.read()
        failures = 0
        while not self._stop.asked:
            try:
                self._apply_if_new(reading)
                return
            except ScheduleFileError as error:
                _complain(NOT_APPLIED, error)
                return
            except (PqclockError, DatabaseError) as error:
                if not failures:
                    _complain("the changed schedule files cannot be applied now, which is tried again and again", error)
                failures += 1
                self._watcher_wakeup.wait(max(LOOK_EVERY, backoff(failures, RETRY_LIMIT)))

    def _apply_if_new(self, reading: Reading | None) -> None:
        if reading is None:
            raise ScheduleFileError([_nothing_left(self._settings)])
        if reading.files.ok and not reading.empty and reading.files.content_hash == self._meaning:
            log.info("the schedule files mean what they meant before")
        else:
            self._apply_once(reading)

    def _apply_once(self, reading: Reading | None) -> None:
        session = self._connect()
        try:
            _report(self._apply(session, reading, explicit=True), self._settings.set)
        finally:
            session.close()

    def _apply(self, session: Session, reading: Reading | None, *, explicit: bool) -> Applied | None:
        if reading is None:
            return None
        contents = schedules.applied_contents(session, self._settings.set)
        # A volume that is not mounted, or a deploy that has just cleared the folder, is no wish to remove everything.
        if reading.empty and contents and contents[-1] != reading.files.content_hash:
            faults = [finding.render() for finding in reading.files.findings if finding.severity == "error"]
            raise ScheduleFileError([*faults, _nothing_left(self._settings)])
        applied = apply_reading(session, self._settings, reading.files, explicit=explicit)
        self._meaning = reading.files.content_hash
        return applied


def apply_files(session: Session, settings: Settings, *, explicit: bool) -> Applied | None:
    """Apply the files that the settings name; None where nobody named any and the default folder is missing.

    Raises ScheduleFileError with every finding.
    """
    reading = ScheduleFiles(settings).read()
    return None if reading is None else apply_reading(session, settings, reading.files, explicit=explicit)


def apply_reading(session: Session, settings: Settings, files: FileSet, *, explicit: bool) -> Applied:
    """Apply files that were read; raises ScheduleFileError with every finding."""
    if not files.ok:
        raise ScheduleFileError([finding.render() for finding in files.findings])
    _warn(files)
    applied = apply(
        session, settings.set, files.content_hash, files.schedules, files.rules, files.slos, explicit=explicit
    )
    _warn_of_unknown_tasks(session, files)
    return applied


def _nothing_left(settings: Settings) -> str:
    where = " ".join(map(repr, settings.schedules))
    return (
        f"no *.toml file is left in {where}, and set {settings.set!r} has been applied: put the files back, "
        f"or remove its schedules by `pqclock apply` with an empty folder there"
    )


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
    """One record, whatever is wrong: the places of the first faults, without the lines of the files."""
    if isinstance(error, ScheduleFileError):
        first = "; ".join(finding.partition("\n")[0] for finding in error.findings[:_SHOWN])
        more = len(error.findings) - _SHOWN
        rest = f"; and {more} more" if more > 0 else ""
        log.error("%s: %s%s: see `pqclock check`", what, first, rest)
    else:
        log.error("%s: %s", what, " ".join((str(error) or repr(error)).split()))


def _some(changes: list[str]) -> str:
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return "; ".join(changes[:_SHOWN]) + more


def _report(applied: Applied | None, set_name: str) -> None:
    if applied is None:
        log.info("no schedule files here: what was applied or put before goes on")
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
        _report_rules(applied.rules, set_name)


def _report_rules(rules: Difference | None, set_name: str) -> None:
    if rules is not None and not rules.empty:
        named = [
            f"{kind}: {', '.join(getattr(rules, kind))}"
            for kind in ("added", "changed", "removed")
            if getattr(rules, kind)
        ]
        log.info("rules of set %s: %s", set_name, _some(named))
