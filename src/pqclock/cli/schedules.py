"""`pqclock schedules`: what the database has of them, and what became of their ticks; verbs are in `scheduling`."""

from __future__ import annotations

from datetime import datetime

import click

from pqclock.cli.backfilling import backfill
from pqclock.cli.lazy import DefaultGroup
from pqclock.cli.options import MAX_LIMIT, TEXT, Asked, asking, paging
from pqclock.cli.output import details, heading, plain, print_json, print_table, say, show, table
from pqclock.cli.root import EXIT_CODES
from pqclock.cli.runs import COLUMNS, as_row, last_columns, measured_lines, measured_row, table_rows
from pqclock.cli.scheduling import pause, put, remove, resume, trigger
from pqclock.errors import UnknownSchedule
from pqclock.rules.moments import known_zone, moment
from pqclock.store import listings
from pqclock.store.listing_rows import ScheduleRow, TickRow
from pqclock.store.runs import LastTick, last_ticks, measure

STATES = ("active", "paused", "disabled", "removed")
_COLUMNS = ("key", "state", "when", "task", "queue", "last", "outcome", "next", "note")
_OPTIONAL = ("queue", "last", "task")
_MEASURED = 100
_RUNS_SHOWN = 10
# Rows of the ledger to find so many runs in: ticks in a row that did not run for one reason are one row.
_LEDGER_ROWS = 2 * _MEASURED


@click.group(cls=DefaultGroup, default="list", epilog=EXIT_CODES)
def schedules() -> None:
    """Schedules in the database; without a verb they are listed."""


for command in (put, remove, pause, resume, trigger, backfill):
    schedules.add_command(command)


@schedules.command("list", epilog=EXIT_CODES)
@click.option("--state", type=click.Choice(STATES), help="Only schedules in this state; removed ones show only so.")
@click.option("--task", type=TEXT, help="Only schedules of this task.")
@paging
@asking("database_url", "schema")
def list_schedules(asked: Asked, state: str | None, task: str | None, limit: int, cursor: str | None) -> None:
    """List schedules in the order of their keys, with their last tick that was due and what became of it.

    \b
    Examples:
      pqclock schedules
      pqclock schedules list --state paused --json
    """
    from pqclock.cli.connection import connected

    with connected(asked.settings) as session, listings.reading(session):
        page = listings.schedules(session, state=state, task=task, after=cursor or "", limit=limit)
        found = last_ticks(session, [row.key for row in page.rows])
        now = listings.now(session)
    last = {tick.ledger.schedule_key: tick for tick in found}
    if asked.json:
        print_json("schedules", [plain(row) | {"last": as_row(last.get(row.key))} for row in page.rows], page.next)
    elif page.rows:
        print_table(_COLUMNS, [_row(row, last.get(row.key), now) for row in page.rows], page.next, optional=_OPTIONAL)
    else:
        say("no such schedules" if state or task else "no schedules: `pqclock apply` puts schedule files into effect")


def _row(row: ScheduleRow, last: LastTick | None, now: datetime) -> list[object]:
    zone = known_zone(row.timezone)
    ticks = (*last_columns(last, now, zone), moment(row.next_tick, now, zone))
    return [row.key, row.state, _timing(row), row.task, row.queue, *ticks, _note(row, now)]


def _note(row: ScheduleRow, now: datetime) -> str | None:
    return _pause(row, now) or row.note


def _timing(row: ScheduleRow) -> str:
    if row.cron is not None:
        return f"{row.cron} ({row.timezone})"
    return f"every {row.every}" if row.every is not None else "once"


def _pause(row: ScheduleRow, now: datetime) -> str:
    if row.paused_until is None or row.paused_until <= now:
        return ""
    return f"paused until {moment(row.paused_until, now)}{f': {row.note}' if row.note else ''}"


@schedules.command("show", epilog=EXIT_CODES)
@click.argument("key", type=TEXT)
@click.option(
    "--ticks", type=click.IntRange(1, MAX_LIMIT), default=10, show_default=True, help="How many rows of the ledger."
)
@asking("database_url", "schema")
def show_schedule(asked: Asked, key: str, ticks: int) -> None:
    """Show one schedule, how late and how long its last runs were, and what became of its last ticks.

    Lateness is from when a job's last attempt was due to when its handler began; spread and jitter are no lateness.

    \b
    Example:
      pqclock schedules show nightly-report
    """
    from pqclock.cli.connection import connected

    with connected(asked.settings) as session, listings.reading(session):
        found = listings.schedule(session, key, ticks)
        keys = listings.schedule_keys(session) if found is None else []
        recent = [] if found is None else last_ticks(session, [key], _LEDGER_ROWS)
        now = listings.now(session)
    if found is None:
        from pqclock.rules.files.findings import hint
        from pqclock.rules.files.findings import show as shown

        raise UnknownSchedule(
            f"the database has no schedule {shown(key)}{hint(key, keys)}; see `pqclock schedules list`"
        )
    row, ledger = found
    runs = [tick for tick in recent if tick.ledger.job_id is not None][:_MEASURED]
    if asked.json:
        last = as_row(recent[0] if recent else None)
        one = plain(row) | {"last": last} | measured_row(measure(runs))
        print_json("schedules", [one], ticks=ledger, runs=[as_row(run) for run in runs[:_RUNS_SHOWN]])
    else:
        _show(row, ledger, runs, now)


def _show(row: ScheduleRow, ledger: list[TickRow], runs: list[LastTick], now: datetime) -> None:
    zone = known_zone(row.timezone)
    instants = ("next_tick", "watermark", "paused_until")
    values = {name: getattr(row, name) for name in ScheduleRow.__slots__}
    shown = [(name, moment(value, now, zone) if name in instants else value) for name, value in values.items()]
    show(details([*shown, *measured_lines(measure(runs))]))
    if runs:
        show(heading("last runs"), table(COLUMNS, table_rows(runs[:_RUNS_SHOWN], now, zone)))
    if ledger:
        rows = [
            (moment(tick.tick, now, zone), tick.count, tick.outcome, tick.reason, tick.origin, tick.job_id)
            for tick in ledger
        ]
        show(heading("last ticks"), table(("tick", "count", "outcome", "reason", "origin", "job"), rows))
