"""The child processes of a supervised role: how each is called, and what it is told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pqclock.address import Address
    from pqclock.settings import Settings
    from pqclock.supervisor import Child


def clock_child(settings: Settings) -> Child:
    """The clock as a child process."""
    from pqclock.schedule_files import declared_paths
    from pqclock.supervisor import Child

    flags = ["--set", settings.set, "--keep", settings.keep, "--watch" if settings.watch else "--no-watch"]
    if settings.allow_session_pooler:
        flags.append("--allow-session-pooler")
    for path in declared_paths(settings):
        flags += ["--schedules", path]
    return Child("clock", _command("clock", settings, *flags))


def worker_child(settings: Settings, number: int) -> Child:
    """One worker as a child process."""
    from pqclock.rules.durations import format_duration
    from pqclock.supervisor import Child

    stop_timeout = format_duration(settings.stop_timeout)
    flags = ["--queues", settings.queues, "--stop-timeout", stop_timeout]
    if settings.app is not None:
        flags += ["--app", settings.app]
    if settings.max_jobs is not None:
        flags += ["--max-jobs", str(settings.max_jobs)]
    if settings.max_memory is not None:
        flags += ["--max-memory", str(settings.max_memory)]
    if settings.poll_only:
        flags.append("--poll-only")
    return Child(f"worker {number}", _command("worker", settings, *flags))


def environment(settings: Settings, address: Address) -> dict[str, str]:
    """What children need to know of their parent's database; not on the command line, where everybody can read it."""
    from pqclock.settings import variable

    variables = {"PQCLOCK_SCHEMA": settings.schema}
    if address.url:
        variables["PQCLOCK_DATABASE_URL"] = address.url
    secrets = ("clock_database_url", "web_token", "web_view_token")
    alarms = ("alarm_task", "alarm_command", "alarm_ping", "alarm_sentry")
    variables |= {variable(name): value for name in (*secrets, *alarms) if (value := getattr(settings, name))}
    return variables


def _command(role: str, settings: Settings, *flags: str) -> list[str]:
    from pqclock.rules.durations import format_duration

    common = ["--wait", format_duration(settings.wait)]
    common += ["--log-level", settings.log_level, "--log-format", settings.log_format]
    return [sys.executable, "-m", "pqclock", role, "--supervised", *flags, *common]


def worker_children(settings: Settings) -> list[Child]:
    """As many workers as there are to be."""
    return [worker_child(settings, number + 1) for number in range(settings.processes)]
