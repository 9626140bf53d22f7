"""pqclock: a leader-elected clock and a job queue on PostgreSQL.

The public names are loaded when they are first used: `import pqclock` alone costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pqclock.errors import (
        ArgumentError,
        CronError,
        DatabaseUnreachable,
        JobFailed,
        JobNotFinished,
        LeaseLost,
        PqclockError,
        Refused,
        SettingsError,
        UniqueConflict,
        UnknownJob,
    )
    from pqclock.rules.cron import Cron
    from pqclock.rules.retry import Retry
    from pqclock.rules.unique import Unique
    from pqclock.tasks.app import App
    from pqclock.tasks.checkpoints import Checkpoint
    from pqclock.tasks.context import current_job
    from pqclock.tasks.fan_out import FanOut
    from pqclock.tasks.handle import JobHandle
    from pqclock.tasks.hooks import Failure
    from pqclock.tasks.job import Job
    from pqclock.tasks.signals import Cancel, Cancelled, Cooldown, Snooze, Timeout
    from pqclock.tasks.task import Task

__version__ = "0.1.0"

_HOMES = {
    "App": "pqclock.tasks.app",
    "ArgumentError": "pqclock.errors",
    "Cancel": "pqclock.tasks.signals",
    "Cancelled": "pqclock.tasks.signals",
    "Checkpoint": "pqclock.tasks.checkpoints",
    "Cooldown": "pqclock.tasks.signals",
    "Cron": "pqclock.rules.cron",
    "CronError": "pqclock.errors",
    "DatabaseUnreachable": "pqclock.errors",
    "Failure": "pqclock.tasks.hooks",
    "FanOut": "pqclock.tasks.fan_out",
    "Job": "pqclock.tasks.job",
    "JobFailed": "pqclock.errors",
    "JobHandle": "pqclock.tasks.handle",
    "JobNotFinished": "pqclock.errors",
    "LeaseLost": "pqclock.errors",
    "PqclockError": "pqclock.errors",
    "Refused": "pqclock.errors",
    "Retry": "pqclock.rules.retry",
    "SettingsError": "pqclock.errors",
    "Snooze": "pqclock.tasks.signals",
    "Task": "pqclock.tasks.task",
    "Timeout": "pqclock.tasks.signals",
    "Unique": "pqclock.rules.unique",
    "UniqueConflict": "pqclock.errors",
    "UnknownJob": "pqclock.errors",
    "current_job": "pqclock.tasks.context",
}

__all__ = [
    "App",
    "ArgumentError",
    "Cancel",
    "Cancelled",
    "Checkpoint",
    "Cooldown",
    "Cron",
    "CronError",
    "DatabaseUnreachable",
    "Failure",
    "FanOut",
    "Job",
    "JobFailed",
    "JobHandle",
    "JobNotFinished",
    "LeaseLost",
    "PqclockError",
    "Refused",
    "Retry",
    "SettingsError",
    "Snooze",
    "Task",
    "Timeout",
    "Unique",
    "UniqueConflict",
    "UnknownJob",
    "current_job",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pqclock' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
