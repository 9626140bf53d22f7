"""The long-running roles: clock, worker, everything in one, and the application of files."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import click

from pqclock.cli.children import clock_child, environment, worker_children
from pqclock.cli.options import Asked, asking
from pqclock.cli.root import EXIT_CODES
from pqclock.cli.serving import WEB, web_children

if TYPE_CHECKING:
    from pqclock.address import Address
    from pqclock.settings import Settings
    from pqclock.supervisor import Child, Supervisor

_DATABASE = ("database_url", "schema", "wait", "health", "health_hosts")
_CLOCK = ("clock_database_url", "allow_session_pooler", "set", "schedules", "watch", "keep")
_WORKER = ("app", "queues", "processes", "max_jobs", "max_memory", "poll_only", "stop_timeout")
_ALARMS = ("alarm_task", "alarm_command", "alarm_ping", "alarm_sentry")
_LOG = ("log_format", "log_level")
_SEVERAL = ("schedules", "health_hosts")

_supervised = click.option("--supervised", is_flag=True, hidden=True)


@click.command(epilog=EXIT_CODES)
@_supervised
@asking(*_DATABASE, *_CLOCK, *_ALARMS, *_LOG, multiple=_SEVERAL)
def clock(asked: Asked, supervised: bool) -> int:
    """Run a clock: it applies the schedule files, then leads or stands by until it is stopped.

    With --watch they are applied again whenever they were changed and have stood still for a second.

    \b
    Examples:
      pqclock clock
      pqclock clock --watch
      pqclock clock --schedules etc/schedules --set billing
    """
    from pqclock import signals
    from pqclock.cli.telling import told_of
    from pqclock.clock.service import ClockService
    from pqclock.marks import Marks
    from pqclock.pulse import Pulse
    from pqclock.scraping import prepare
    from pqclock.store.processes import TOKEN_VARIABLE
    from pqclock.watchdog import end_process

    address = _prepare(asked.settings)
    if not supervised:
        # One that a job's handler starts inherits its worker's token, but is not that worker's supervisor's child.
        os.environ.pop(TOKEN_VARIABLE, None)
    prepare(asked.settings)
    pulse = Pulse.of(Marks.inherited())
    service = ClockService(asked.settings, address, on_hang=end_process, pulse=pulse)
    signals.on_hangup(service.reload)
    if supervised:
        signals.on_stop(service.stop)
        signals.stop_with_parent(service.stop)
        service.run()
    else:
        began = time.monotonic()
        with told_of(asked.settings, address.url, lambda: {"clock": pulse.read(began)}, service.stop):
            service.run()
    return 0


@click.command(epilog=EXIT_CODES)
@_supervised
@asking(*_DATABASE, *_WORKER, *_ALARMS, *_LOG, multiple=("health_hosts",))
def worker(asked: Asked, supervised: bool) -> int:
    """Run workers: a supervising parent and its worker processes.

    \b
    Examples:
      pqclock worker --app shop.jobs:app
      pqclock worker --app shop.jobs:app --queues "mice:2;elephants:1" --processes 2
    """
    return _work(asked.settings) if supervised else _supervise_workers(asked.settings)


@click.command(hidden=True, epilog=EXIT_CODES)
@asking(*_DATABASE, *_CLOCK, *_WORKER, *_ALARMS, *WEB, "folder", *_LOG, multiple=(*_SEVERAL, "web_hosts", "web_args"))
def everything(asked: Asked) -> int:
    """Run clock, workers and dashboard in one supervised process, on the embedded server unless an address is set.

    On the embedded server changed schedule files are applied unless --no-watch is given.
    """
    from pqclock.cli.embedding import find_or_start
    from pqclock.worker.loading import refuse_no_app

    _set_up_log(asked.settings)
    # Before a server is made for nothing.
    refuse_no_app(asked.settings.app)
    address = find_or_start(asked.settings)
    try:
        settings = watching_at_home(asked.settings, address)
        children = [clock_child(settings), *worker_children(settings), *web_children(settings)]
        supervisor = _supervisor(settings, address, children)
        return _run(supervisor, settings, address.url)
    finally:
        address.close()


@click.command(epilog=EXIT_CODES)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@asking("database_url", "schema", "set", "schedules", multiple=("schedules",))
def apply(asked: Asked, paths: tuple[str, ...]) -> int:
    """Put schedule files into effect now, also files that newer ones had replaced.

    \b
    Examples:
      pqclock apply
      pqclock apply schedules/billing.toml
    """
    from dataclasses import replace

    from pqclock.cli.connection import connected
    from pqclock.cli.output import print_json
    from pqclock.clock.service import apply_files
    from pqclock.errors import SettingsError

    settings = asked.settings
    if paths:
        settings = replace(settings, schedules=paths, origins={**settings.origins, "schedules": "the arguments"})
    with connected(settings) as session:
        applied = apply_files(session, settings, explicit=True)
    if applied is None or applied.difference is None:
        raise SettingsError(
            [f"there are no schedule files: make the folder {settings.schedules[0]!r}, or name the files"]
        )
    rows = {name: list(getattr(applied.difference, name)) for name in ("added", "changed", "removed", "unchanged")}
    rules = {name: list(getattr(applied.rules, name)) for name in rows} if applied.rules else {}
    if asked.json:
        print_json("applied", [{"set": settings.set, **rows, "withdrawn": applied.withdrawn, "rules": rules}])
        return 0
    for name in ("added", "changed", "removed"):
        for key in (*rows[name], *(f"[{label}]" for label in rules.get(name, ()))):
            click.echo(f"{name:<8} {key}")
    click.echo(f"set {settings.set}: {len(rows['unchanged'])} unchanged, {applied.withdrawn} ticks withdrawn", err=True)
    return 0


@click.command(epilog=EXIT_CODES)
@click.option("--for", "length", metavar="T", help="Stop by itself after this duration, such as 20s.")
@asking("database_url", "schema", "wait", "folder")
def demo(asked: Asked, length: str | None) -> int:
    """Watch a sample schedule at work: ticks inserted, promoted and run, until Ctrl-C.

    \b
    Examples:
      pqclock demo
      pqclock demo --for 20s
      pqclock demo --json --for 20s
    """
    from pqclock.cli.demonstrating import demonstrate
    from pqclock.errors import DurationError
    from pqclock.rules.durations import parse_duration

    try:
        seconds = None if length is None else parse_duration(length)
    except DurationError as error:
        raise click.BadParameter(str(error), param_hint="--for") from None
    return demonstrate(asked, seconds)


def watching_at_home(settings: Settings, address: Address) -> Settings:
    """On the embedded server somebody is at work on the files; elsewhere a deploy may be copying them one by one."""
    from dataclasses import replace

    return settings if address.server is None or settings.is_set("watch") else replace(settings, watch=True)


def _work(settings: Settings) -> int:
    """The child's part: one worker in this process."""
    from pqclock import signals
    from pqclock.loop import Stop

    stop = Stop()
    signals.on_stop(stop.ask)
    signals.on_hangup(lambda: None)
    signals.stop_with_parent(stop.ask)
    from pqclock.supervisor import RECYCLED
    from pqclock.worker.service import worker_service

    work = worker_service(settings, _prepare(settings), stop.wait)
    if work is None:
        return 0
    stop.hand_over(work.stop)
    # What is there by now stays: nobody need look through it again and again.
    gc.collect()
    gc.freeze()
    in_time = work.run()
    code = RECYCLED if work.recycled else 0
    if not in_time:
        # Handlers that do not end would keep the process; their jobs have gone back already.
        sys.stderr.flush()
        os._exit(code)
    return code


def _supervise_workers(settings: Settings) -> int:
    address = _prepare(settings)
    try:
        return _run(_supervisor(settings, address, worker_children(settings)), settings, address.url)
    finally:
        address.close()


def _supervisor(settings: Settings, address: Address, children: list[Child]) -> Supervisor:
    from pqclock.scraping import prepare
    from pqclock.supervisor import Supervisor, bury_in

    prepare(settings)
    return Supervisor(
        children,
        environment(settings, address),
        wait=settings.wait.total_seconds(),
        stop_timeout=settings.stop_timeout.total_seconds(),
        on_death=bury_in(address.url, settings.schema),
    )


def _run(supervisor: Supervisor, settings: Settings, url: str) -> int:
    from pqclock import signals
    from pqclock.cli.telling import told_of

    signals.on_hangup(lambda: supervisor.forward(signal.SIGHUP))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: supervisor.wake())
    with told_of(settings, url, supervisor.readings, supervisor.stop, supervisor.kill):
        return supervisor.run()


def _prepare(settings: Settings) -> Address:
    from pqclock.address import find_address

    _set_up_log(settings)
    return find_address(settings=settings)


def _set_up_log(settings: Settings) -> None:
    from pqclock.logs import set_up
    from pqclock.tasks.log_fields import JobFields

    set_up(settings.log_format, settings.log_level, fields=JobFields())
