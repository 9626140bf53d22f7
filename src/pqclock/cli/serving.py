"""`pqclock web`: the dashboard, alone or beside clock and workers."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from pqclock.cli.options import Asked, asking
from pqclock.cli.root import EXIT_CODES
from pqclock.errors import SettingsError

if TYPE_CHECKING:
    from pqclock.settings import Settings
    from pqclock.supervisor import Child

NEEDED = ("starlette", "uvicorn", "jinja2")
# Tokens come from the environment or a file: a command line can be read by everybody on the machine.
WEB = ("web", "web_hosts", "web_read_only", "web_args")
OFF = "off"


@click.command(epilog=EXIT_CODES)
@click.option("--supervised", is_flag=True, hidden=True)
@asking(
    "database_url", "schema", "wait", "health", "health_hosts", *WEB, "set", "schedules", "log_format", "log_level",
    multiple=("schedules", "health_hosts", "web_hosts", "web_args"),
)  # fmt: skip
def web(asked: Asked, supervised: bool) -> int:
    """Serve the dashboard: schedules, jobs, gates, queues, processes, and what the database suffers from.

    On loopback everybody may act who can reach it; elsewhere a token is asked for, as password beside any name.

    \b
    Examples:
      pqclock web
      PQCLOCK_WEB_TOKEN=... pqclock web --web :8484 --web-hosts clock.example.org
      pqclock web --web-read-only
    """
    from pqclock import signals
    from pqclock.address import find_address
    from pqclock.cli.telling import told_of
    from pqclock.logs import set_up
    from pqclock.pulse import Pulse

    set_up(asked.settings.log_format, asked.settings.log_level)
    settings = _placed(asked.settings)
    from pqclock.schedule_files import declared_paths
    from pqclock.web.serving import Service

    address = find_address(settings=settings)
    try:
        pulse = Pulse()
        service = Service(settings, address.url, declared_paths(settings), pulse)
        signals.on_hangup(lambda: None)
        if supervised:
            signals.on_stop(service.stop)
            signals.stop_with_parent(service.stop)
            service.run()
        else:
            began = time.monotonic()
            with told_of(settings, address.url, lambda: {"web": pulse.read(began)}, service.stop):
                service.run()
    finally:
        address.close()
    return 0


def _placed(settings: Settings) -> Settings:
    """With a place to listen; raises SettingsError where there is none."""
    if settings.web == OFF:
        raise SettingsError([f"{settings.origin('web')}: the dashboard is off: give --web HOST:PORT"])
    refuse_without_extra()
    from pqclock.web.serving import free_endpoint

    return settings if settings.is_set("web") else replace(settings, web=str(free_endpoint(settings)))


def installed() -> bool:
    """Whether what the dashboard needs is there."""
    return all(find_spec(name) is not None for name in NEEDED)


def refuse_without_extra() -> None:
    """Raises SettingsError where the dashboard cannot be served."""
    if not installed():
        raise SettingsError(["the dashboard needs an extra that is not installed: pip install 'pqclock[web]'"])


def web_children(settings: Settings) -> list[Child]:
    """The dashboard as a child that work does not depend on; none where it is off, or its extra is not installed.

    Raises SettingsError where it would be open to everybody, or was asked for and cannot be served.
    """
    if settings.web == OFF or (not settings.is_set("web") and not installed()):
        return []
    refuse_without_extra()
    from pqclock.schedule_files import declared_paths
    from pqclock.supervisor import Child
    from pqclock.web.serving import access_of, free_endpoint

    access_of(settings)
    flags = ["--web", str(free_endpoint(settings)), "--set", settings.set]
    flags.append("--web-read-only" if settings.web_read_only else "--no-web-read-only")
    for name, values in (("hosts", settings.web_hosts), ("args", settings.web_args)):
        for value in values:
            flags += [f"--web-{name}", value]
    for path in declared_paths(settings):
        flags += ["--schedules", path]
    common = ["--log-level", settings.log_level, "--log-format", settings.log_format]
    return [Child("web", [sys.executable, "-m", "pqclock", "web", "--supervised", *flags, *common], optional=True)]
