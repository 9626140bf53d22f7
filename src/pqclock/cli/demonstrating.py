"""`pqclock demo`: the processes around the demo, and its summary."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import click

from pqclock import signals
from pqclock.address import Address
from pqclock.cli.children import clock_child, environment, worker_child
from pqclock.cli.embedding import find_or_start
from pqclock.cli.options import Asked
from pqclock.cli.output import VERSION, plain
from pqclock.cli.serving import web_children
from pqclock.clock.service import apply_files
from pqclock.demo.run import Demo, Summary, be_the_only_one, demo_settings
from pqclock.demo.view import milliseconds
from pqclock.loop import Stop
from pqclock.settings import Settings
from pqclock.store import migrate
from pqclock.store.database import Session, connect
from pqclock.store.waiting import within
from pqclock.supervisor import Supervisor, bury_in


def demonstrate(asked: Asked, length: timedelta | None) -> int:
    """Run the demo for so long, or until it is interrupted, and tell what it came to."""
    stop = Stop()
    signals.on_stop(stop.ask)
    settings = demo_settings(asked.settings)
    address = find_or_start(settings)
    try:
        session = within(settings.wait, lambda: connect(address.url, settings.schema, "demo"), stop.wait)
        if session is None:
            return 0
        try:
            _put_up(settings, session)
            summary = _run(asked, settings, address, session, length, stop)
        finally:
            session.close()
    finally:
        address.close()
    _tell(asked, summary)
    return 0


def _put_up(settings: Settings, session: Session) -> None:
    """Apply the demo's schedules, whatever became of them when an earlier demo ended."""
    migrate.check_schema(session)
    be_the_only_one(session)
    apply_files(session, settings, explicit=True)


def _run(
    asked: Asked, settings: Settings, address: Address, session: Session, length: timedelta | None, stop: Stop
) -> Summary:
    web = [] if asked.json else web_children(settings)
    log_path = Path(settings.folder) / "demo.log"
    log_path.parent.mkdir(exist_ok=True)
    with log_path.open("wb") as log:
        supervisor = Supervisor(
            [clock_child(settings), worker_child(settings, 1), *web],
            environment(settings, address),
            wait=settings.wait.total_seconds(),
            stop_timeout=settings.stop_timeout.total_seconds(),
            on_death=bury_in(address.url, settings.schema),
            output=log,
        )
        seconds = None if length is None else length.total_seconds()
        demo = Demo(session, supervisor, seconds, watch=not asked.json)
        signals.on_stop(stop.ask, supervisor.kill)
        stop.hand_over(demo.stop)
        for child in web:
            click.echo(
                f"pqclock: the dashboard is at http://{child.command[child.command.index('--web') + 1]}/", err=True
            )
        click.echo(f"pqclock: the clock and the worker write to {log_path}", err=True)
        return demo.run()


def _tell(asked: Asked, summary: Summary) -> None:
    if asked.json:
        click.echo(json.dumps({"version": VERSION, "demo": plain(summary)}))
        return
    attempts = ", ".join(f"{count} {name}" for name, count in summary.attempts.items())
    click.echo(f"\nticks inserted   {summary.ticks_inserted} in {summary.seconds:g} s")
    click.echo(f"jobs run         {summary.jobs_run} (attempts: {attempts or 'none'})")
    click.echo(
        f"lateness         p50 {milliseconds(summary.lateness_p50_ms)}, p99 {milliseconds(summary.lateness_p99_ms)}, "
        f"max {milliseconds(summary.lateness_max_ms)} (due -> handler begins)"
    )
