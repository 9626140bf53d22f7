"""Every exception of pqclock, under one base.

    PqclockError
    ├── CronError (ValueError)            an expression, zone or date that is no schedule
    ├── DurationError (ValueError)        a text that is no duration
    ├── SettingsError (ValueError)        settings: all faults of all sources at once
    ├── ScheduleFileError (ValueError)    schedule files: all findings of all files at once
    ├── ArgumentError (ValueError)        a task, job or call argument that cannot be taken
    ├── UnknownTask (LookupError)         a task name that nobody registered
    ├── UnknownJob (LookupError)          a job id that the database does not have (any more)
    ├── UnknownSchedule (LookupError)     a schedule key that the database does not have
    ├── UnknownGate (LookupError)         a gate that no job has met and no rule declares
    ├── UniqueConflict                    a unique key that is taken, where `raise` was asked for
    ├── UnknownRule (LookupError)         a throttle or fuse that the database does not have
    ├── JobFailed                         `JobHandle.result()` of a job that did not succeed
    ├── JobNotFinished (TimeoutError)     `JobHandle.wait()` or `.result()` came too early
    ├── DatabaseUnreachable               no connection, or none in time               (exit code 3)
    ├── EmbeddedServerError               the embedded server cannot be had            (exit code 3)
    └── Refused                           not safe to go on: schema version, pooler, lock (exit code 4)

A message says what is wrong, where, the value, and the way out, in one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence


class PqclockError(Exception):
    """Anything pqclock refuses or fails at; `code` names the kind in `--json` output."""

    code = "error"
    exit_code = 1


class CronError(PqclockError, ValueError):
    """A text that is not a cron expression, a zone nobody knows, or a date that never comes."""

    code = "cron"


class DurationError(PqclockError, ValueError):
    """A text that is not a duration such as `500ms`, `15s` or `1h30m`."""

    code = "duration"


class SettingsError(PqclockError, ValueError):
    """One or more settings are wrong; `faults` holds a sentence for each of them."""

    code = "settings"
    exit_code = 2

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class ScheduleFileError(PqclockError, ValueError):
    """Schedule files that cannot be applied; `findings` holds a rendered finding for each fault."""

    code = "schedule_file"

    def __init__(self, findings: Sequence[str]) -> None:
        super().__init__("\n".join(findings))
        self.findings = tuple(findings)


class ArgumentError(PqclockError, ValueError):
    """A task option, job option or job argument that cannot be taken."""

    code = "argument"
    exit_code = 2


class UnknownTask(PqclockError, LookupError):
    """A task name that nobody registered."""

    code = "unknown_task"


class UnknownJob(PqclockError, LookupError):
    """A job id that the database does not have, or not any more."""

    code = "unknown_job"


class UnknownSchedule(PqclockError, LookupError):
    """A schedule key that the database does not have."""

    code = "unknown_schedule"


class UnknownGate(PqclockError, LookupError):
    """The reference of a gate that no job has met, and whose rule nobody has declared."""

    code = "unknown_gate"


class UniqueConflict(PqclockError):
    """The unique key is taken, and nothing was inserted: by job `job_id`, or by another one of the same call (None)."""

    code = "unique_conflict"

    def __init__(self, message: str, job_id: int | None, state: str | None) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.state = state


class UnknownRule(PqclockError, LookupError):
    """A throttle or fuse that the database does not have."""

    code = "unknown_rule"


class JobFailed(PqclockError):
    """The job ended in another state than `succeeded`; `state` and `error` say which and why."""

    code = "job_failed"

    def __init__(self, message: str, state: str, error: str | None) -> None:
        super().__init__(message)
        self.state = state
        self.error = error


class JobNotFinished(PqclockError, TimeoutError):
    """The job has not ended within the time that the caller gave it."""

    code = "job_not_finished"


class DatabaseUnreachable(PqclockError):
    """No connection to PostgreSQL could be made, or none in time."""

    code = "database_unreachable"
    exit_code = 3


class EmbeddedServerError(PqclockError):
    """The embedded PostgreSQL cannot be found, started or used."""

    code = "embedded_server"
    exit_code = 3


class Refused(PqclockError):
    """It would not be safe to go on: wrong schema version, a transaction pooler, a foreign lock."""

    code = "refused"
    exit_code = 4


class LeaseLost(PqclockError):
    """The job belongs to another worker by now, or has ended: what this run does counts no more."""
