"""`pqclock queues`, `tasks`, `labels` and `processes`: where jobs wait, what can be run, and who runs it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click

from pqclock.cli.lazy import DefaultGroup
from pqclock.cli.options import Asked, asking, paging
from pqclock.cli.output import print_json, print_table, say
from pqclock.cli.pausing import add_verbs
from pqclock.cli.root import EXIT_CODES
from pqclock.rules.moments import moment, relative
from pqclock.store import listings
from pqclock.store.listing_rows import LabelRow, TaskRow


@click.group(cls=DefaultGroup, default="list", epilog=EXIT_CODES)
def queues() -> None:
    """Queues; without a verb they are listed."""


@queues.command("list", epilog=EXIT_CODES)
@paging
@asking("database_url", "schema")
def list_queues(asked: Asked, limit: int, cursor: str | None) -> None:
    """List queues: what waits and runs in them, and how long the oldest ready job has waited.

    \b
    Example:
      pqclock queues --json
    """
    from pqclock.cli.connection import connected

    with connected(asked.settings) as session, listings.reading(session):
        page = listings.queues(session, after=cursor or "", limit=limit)
        now = listings.now(session)
    if asked.json:
        print_json("queues", page.rows, page.next)
    elif page.rows:
        columns = ("queue", "scheduled", "ready", "running", "oldest ready", "paused until", "note")
        rows = [
            (row.queue, row.scheduled, row.ready, row.running, moment(row.oldest_ready_at, now),
             moment(row.paused_until, now), row.note)
            for row in page.rows
        ]  # fmt: skip
        print_table(columns, rows, page.next)
    else:
        say("no queues: nothing waits and nothing runs")


@click.group(cls=DefaultGroup, default="list", epilog=EXIT_CODES)
def tasks() -> None:
    """Tasks that workers and Apps have published; without a verb they are listed."""


@tasks.command("list", epilog=EXIT_CODES)
@paging
@asking("database_url", "schema")
def list_tasks(asked: Asked, limit: int, cursor: str | None) -> None:
    """List published tasks with their defaults, and their live jobs: those among the newest 100,000.

    \b
    Example:
      pqclock tasks
    """
    from pqclock.cli.connection import connected

    with connected(asked.settings) as session, listings.reading(session):
        page = listings.tasks(session, after=cursor or "", limit=limit)
        now = listings.now(session)
    if asked.json:
        print_json("tasks", page.rows, page.next)
    elif page.rows:
        columns = ("task", "queue", "priority", "attempts", "labels", "version", "published", *_WAITING)
        rows = [
            (row.task, row.queue, row.priority, row.max_attempts, row.labels, row.code_version,
             moment(row.published_at, now), *_waiting(row, now))
            for row in page.rows
        ]  # fmt: skip
        print_table(columns, rows, page.next, optional=("published", "attempts", "version", "priority"))
        _say_how_many(page.rows)
    else:
        say("no tasks: a worker publishes its tasks when it starts")


@click.group(cls=DefaultGroup, default="list", epilog=EXIT_CODES)
def labels() -> None:
    """Labels of live jobs; without a verb they are listed."""


@labels.command("list", epilog=EXIT_CODES)
@paging
@asking("database_url", "schema")
def list_labels(asked: Asked, limit: int, cursor: str | None) -> None:
    """List the labels of live jobs, those among the newest 100,000, and paused ones.

    \b
    Example:
      pqclock labels
    """
    from pqclock.cli.connection import connected

    with connected(asked.settings) as session, listings.reading(session):
        page = listings.labels(session, after=cursor or "", limit=limit)
        now = listings.now(session)
    if asked.json:
        print_json("labels", page.rows, page.next)
    elif page.rows:
        print_table(("label", *_WAITING), [(row.label, *_waiting(row, now)) for row in page.rows], page.next)
        _say_how_many(page.rows)
    else:
        say("no labels: no live job has one")


_WAITING = ("scheduled", "ready", "running", "paused until", "note")


def _waiting(row: TaskRow | LabelRow, now: datetime) -> tuple[object, ...]:
    return row.scheduled, row.ready, row.running, moment(row.paused_until, now), row.note


def _say_how_many(rows: Sequence[TaskRow | LabelRow]) -> None:
    if rows[0].at_least:
        say(f"counted among the newest {listings.MOST_COUNTED:,} live jobs: there are more")


add_verbs(queues, "queue", listings.queues)
add_verbs(tasks, "task", listings.tasks)
add_verbs(labels, "label", listings.labels)


@click.command(epilog=EXIT_CODES)
@paging
@asking("database_url", "schema")
def processes(asked: Asked, limit: int, cursor: str | None) -> None:
    """List clocks and workers, and when each was last heard of.

    \b
    Example:
      pqclock processes
    """
    from pqclock.cli.connection import connected

    after = 0 if cursor is None else _id(cursor)
    with connected(asked.settings) as session, listings.reading(session):
        page = listings.processes(session, after=after, limit=limit)
        now = listings.now(session)
    if asked.json:
        print_json("processes", page.rows, page.next)
    elif page.rows:
        columns = ("id", "kind", "host", "pid", "leader", "term", "started", "beat")
        rows = [
            (row.id, row.kind, row.host, row.pid, "leader" if row.leader else "", row.epoch,
             moment(row.started_at, now), relative(row.beat_at, now))
            for row in page.rows
        ]  # fmt: skip
        print_table(columns, rows, page.next, optional=("started",))
    else:
        say("no processes: start some with `pqclock`, `pqclock clock` or `pqclock worker`")


def _id(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise click.BadParameter(
            f"{cursor!r:.60} is no cursor of processes: use the `next` of a page", param_hint="--cursor"
        )
    return int(cursor)
