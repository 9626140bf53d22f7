"""`pqclock status`: leader, workers, queues, next ticks and last failures, once or all the time."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from pqclock.cli.alarms import told_words
from pqclock.cli.gates import counted, reference
from pqclock.cli.options import Asked, asking
from pqclock.cli.output import cell, heading, plain, print_json, say, show, table
from pqclock.cli.root import EXIT_CODES
from pqclock.drift import Drift, Files
from pqclock.errors import DatabaseUnreachable
from pqclock.rules.moments import moment, relative, span
from pqclock.store import listings
from pqclock.store.gates import MOST_LISTED
from pqclock.store.jobs import LEASE_LENGTH
from pqclock.store.listing_rows import ProcessRow, Status

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pqclock.store.backlog import BacklogRow
    from pqclock.store.database import Session
    from pqclock.store.gate_rows import GateRow

# What is, and how the files that are here differ from what is in force.
Look = tuple[Status, Drift | None]

# Workers take a leader that has not beaten for so long for gone, and help themselves.
_SILENCE = timedelta(seconds=10)


@click.command(epilog=EXIT_CODES)
@click.option("--watch", is_flag=True, help="Look again and again, until interrupted.")
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True, help="Seconds between two looks."
)
@asking("database_url", "schema")
def status(asked: Asked, watch: bool, interval: float) -> None:
    """Show who leads and since when, alarms, the workers, the queues, the next ticks and the last failures.

    With --watch --json there is one object a line.

    \b
    Examples:
      pqclock status
      pqclock status --watch
    """
    if watch:
        _watch(asked, interval)
        return
    from pqclock.cli.connection import connected

    files = Files.of(asked.settings)
    with connected(asked.settings) as session:
        seen, drift = _look(session, files)
    if asked.json:
        print_json("status", [as_row(seen, drift)])
    else:
        show(*parts(seen, drift))


def _look(session: Session, files: Files | None) -> Look:
    if files is not None:
        # That may take its time, which a transaction does not have.
        files.read()
    with listings.reading(session):
        return listings.status(session), None if files is None else files.compare(session)


def as_row(seen: Status, drift: Drift | None) -> dict[str, Any]:
    """The status as one JSON object."""
    row: dict[str, Any] = plain(seen)
    row["files"] = plain(drift)
    beat = seen.leader.beat_at
    row["leader"]["beat_age"] = None if beat is None else round((seen.now - beat).total_seconds(), 3)
    row["standbys"] = len(_standbys(seen))
    row["workers"] = len(_alive(seen, "worker"))
    return row


def _alive(seen: Status, kind: str) -> list[ProcessRow]:
    return [one for one in seen.processes if one.kind == kind and one.beat_at > seen.now - LEASE_LENGTH]


def _standbys(seen: Status) -> list[ProcessRow]:
    return [one for one in _alive(seen, "clock") if not one.leader]


def parts(seen: Status, drift: Drift | None) -> list[RenderableType]:
    """What is shown to people, one below the other."""
    shown = [_summary(seen, drift)]
    for title, columns, rows in _tables(seen):
        if rows:
            shown += [heading(title), table(columns, rows)]
    return shown


def _tables(seen: Status) -> Iterator[tuple[str, tuple[str, ...], list[tuple[object, ...]]]]:
    """A title, columns and rows each; what has no rows is left out."""
    now = seen.now
    alarms = [(one.kind, one.subject, relative(one.raised_at, now), told_words(one)) for one in seen.alarms]
    yield "alarms", ("kind", "of", "since", "what is wrong"), [*alarms]
    queues = [
        (q.queue, _counted(q.scheduled, q), _counted(q.ready, q), q.running, _waited(q.oldest_ready_at, now))
        for q in seen.queues
    ]
    yield "queues", ("queue", "scheduled", "ready", "running", "oldest ready"), [*queues]
    paused = [(one.kind, one.name, moment(one.paused_until, now), one.note) for one in seen.pauses]
    yield "paused", ("kind", "name", "until", "note"), [*paused]
    columns = ("gate", "kind", "state", "running", "jobs behind it", "opens", "note")
    yield "gates that hold something back", columns, [_gate(one, now) for one in seen.gates]
    yield "set aside by the clock", ("schedule", "why"), [(one.key, one.fault) for one in seen.set_aside]
    yield "next ticks", ("schedule", "tick"), [(tick.key, moment(tick.tick, now)) for tick in seen.coming]
    failed = [
        (one.id, one.task, one.schedule_key, relative(one.finished_at, now), (one.error or "").partition("\n")[0])
        for one in seen.failures
    ]
    yield "last failures", ("job", "task", "schedule", "when", "error"), [*failed]


def _gate(one: GateRow, now: datetime) -> tuple[object, ...]:
    behind, opens = counted(one.waiting_jobs, MOST_LISTED), moment(one.opens_at, now)
    return reference(one.rule, one.key), one.kind, one.standing, one.running, behind, opens, one.note


def _counted(number: int, row: BacklogRow) -> str:
    return f"{number}+" if row.at_least and number else str(number)


def _waited(since: datetime | None, now: datetime) -> str:
    return "" if since is None else span(now - since)


def _summary(seen: Status, drift: Drift | None) -> RenderableType:
    from rich.text import Text

    leader, beat = seen.leader, seen.leader.beat_at
    silent = beat is None or seen.now - beat > _SILENCE
    if leader.pid is None or beat is None:
        text = "no clock leads: start one with `pqclock` or `pqclock clock`"
    else:
        since = "" if leader.elected_at is None else f", elected {relative(leader.elected_at, seen.now)}"
        state = f"has not beaten for {span(seen.now - beat)}" if silent else f"beat {relative(beat, seen.now)}"
        text = f"leader {cell(leader.host)}:{leader.pid}, term {leader.epoch}{since}, {state}"
    standbys, workers = len(_standbys(seen)), len(_alive(seen, "worker"))
    counted = f"{standbys} standing by, {workers} worker{'' if workers == 1 else 's'}"
    told = "" if drift is None or drift.fine else f"\n{drift.text}"
    return Text.assemble((text, "red" if silent else "green"), "\n", counted, (told, "yellow"))


def _watch(asked: Asked, interval: float) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if asked.json:
            for look in _looks(asked, interval):
                print_json("status", [as_row(*look)])
        elif sys.stdout.isatty():
            _repaint(asked, interval)
        else:
            for look in _looks(asked, interval):
                show(*parts(*look), heading(""))
                sys.stdout.flush()
    except KeyboardInterrupt:
        # This is how a watch ends.
        return


def _repaint(asked: Asked, interval: float) -> None:
    from rich.console import Group
    from rich.live import Live

    from pqclock.cli.console import Plain

    with Live(console=Plain(), screen=True, auto_refresh=False) as live:
        for look in _looks(asked, interval):
            live.update(Group(*parts(*look)), refresh=True)


def _looks(asked: Asked, interval: float) -> Iterator[Look]:
    """The status again and again; a database that goes away after the first look is waited for."""
    from pqclock.cli.connection import connected

    first, files = True, Files.of(asked.settings)
    while True:
        try:
            with connected(asked.settings) as session:
                while True:
                    found = _look(session, files)
                    first = False
                    yield found
                    time.sleep(interval)
        except DatabaseUnreachable as error:
            if first:
                raise
            say(f"pqclock: {error}")
            time.sleep(interval)
