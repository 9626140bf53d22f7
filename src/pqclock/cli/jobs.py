"""`pqclock jobs`: what waits, runs and is done."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from pqclock.cli.family import Family, awaiting_words, parts_words
from pqclock.cli.job_verbs import add_verbs
from pqclock.cli.lazy import DefaultGroup
from pqclock.cli.options import JOB_ID, TEXT, Asked, asking, paging
from pqclock.cli.output import details, heading, plain, print_json, print_table, say, show, table
from pqclock.cli.root import EXIT_CODES
from pqclock.errors import UnknownJob
from pqclock.rules.job import LIVE, TERMINAL
from pqclock.rules.moments import moment
from pqclock.rules.progress import progress_words
from pqclock.store import after, listings
from pqclock.store.listing_rows import AttemptRow, JobRow

_COLUMNS = ("id", "state", "task", "queue", "schedule", "attempt", "when", "error or progress")


@click.group(cls=DefaultGroup, default="list", epilog=EXIT_CODES)
def jobs() -> None:
    """Jobs, live and finished; without a verb they are listed."""


add_verbs(jobs)


@jobs.command("list", epilog=EXIT_CODES)
@click.option("--state", type=click.Choice([*LIVE, *TERMINAL]), help="Only jobs in this state.")
@click.option("--queue", type=TEXT, help="Only jobs of this queue.")
@click.option("--task", type=TEXT, help="Only jobs of this task.")
@click.option("--schedule", type=TEXT, metavar="KEY", help="Only jobs of this schedule.")
@click.option("--label", type=TEXT, help="Only jobs with this label.")
@click.option("--parent", type=click.IntRange(min=0), metavar="ID", help="Only the parts of this job or fan-out.")
@paging
@asking("database_url", "schema")
def list_jobs(asked: Asked, limit: int, cursor: str | None, parent: int | None, **filters: Any) -> None:
    """List jobs, the newest first.

    \b
    Examples:
      pqclock jobs --state failed
      pqclock jobs list --task reports.nightly --limit 5 --json
    """
    from pqclock.cli.connection import connected

    before = None if cursor is None else _id(cursor)
    with connected(asked.settings) as session, listings.reading(session):
        page = listings.jobs(session, **filters, parent=parent, before=before, limit=limit)
        waiting = after.waiting(session, [job.id for job in page.rows if job.state == "scheduled"], 1)
        progress = listings.progress(session, [job.id for job in page.rows])
        now = listings.now(session)
    if asked.json:
        print_json("jobs", page.rows, page.next)
    elif page.rows:
        print_table(
            _COLUMNS,
            [_row(job, progress.get(job.id), waiting.get(job.id), now) for job in page.rows],
            page.next,
            optional=("queue", "schedule"),
        )
    else:
        say("no such jobs" if any(filters.values()) or parent is not None else "no jobs")


def _id(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit():
        raise click.BadParameter(
            f"{cursor!r:.60} is no cursor of jobs: use the `next` of a page", param_hint="--cursor"
        )
    return int(cursor[:20])


def _row(job: JobRow, progress: dict[str, Any] | None, waiting: after.Awaited | None, now: datetime) -> list[object]:
    attempt, when = f"{job.attempt}/{job.max_attempts}", moment(_instant(job), now)
    # What a job that runs has come to goes before what stopped it earlier.
    words = progress_words(progress)
    last = awaiting_words(waiting) or (words if job.state == "running" else "") or _first_line(job.error) or words
    return [job.id, job.state, job.task, job.queue, job.schedule_key, attempt, when, last]


def _instant(job: JobRow) -> datetime:
    """The time that matters in its state: when it is due, began, or ended."""
    return job.finished_at or job.started_at or job.run_at


def _first_line(error: str | None) -> str:
    return (error or "").strip().partition("\n")[0]


@jobs.command("show", epilog=EXIT_CODES)
@click.argument("job_id", type=JOB_ID, metavar="JOB")
@asking("database_url", "schema")
def show_job(asked: Asked, job_id: int) -> None:
    """Show one job with all its attempts.

    \b
    Example:
      pqclock jobs show 4711
    """
    from pqclock.cli.connection import connected

    with connected(asked.settings) as session, listings.reading(session):
        found = listings.job(session, job_id)
        progress = listings.progress(session, [job_id]).get(job_id)
        trace_id = listings.trace_id(session, job_id)
        family = Family.of(session, job_id)
        now = listings.now(session)
    if found is None and family.whole is not None:
        _show_fan_out(asked, family.whole, family.parts, now)
        return
    if found is None:
        raise UnknownJob(f"the database has no job {job_id}, or not any more: see `pqclock jobs list`")
    job, attempts = found
    if asked.json:
        told: dict[str, Any] = {
            "progress": [progress] if progress else [],
            "trace": [trace_id] if trace_id else [],
            **family.as_json(),
        }
        print_json("jobs", [job], None, attempts=attempts, **told)
    else:
        _show(job, attempts, {"progress": progress_words(progress), "trace": trace_id, **family.words()}, now)


def _show(job: JobRow, attempts: list[AttemptRow], beside: dict[str, Any], now: datetime) -> None:
    instants = ("run_at", "tick", "created_at", "started_at", "finished_at")
    values = {name: getattr(job, name) for name in JobRow.__slots__}
    values |= beside
    show(details((name, moment(value, now) if name in instants else value) for name, value in values.items()))
    if not attempts:
        return
    rows = [
        (run.attempt, run.outcome, run.worker_id, moment(run.started_at, now), moment(run.finished_at, now), _why(run))
        for run in attempts
    ]
    show(heading("attempts"), table(("attempt", "outcome", "worker", "started", "finished", "error"), rows))
    last = next((run.traceback for run in reversed(attempts) if run.traceback), None)
    if last:
        show(heading("last traceback"), details(("", line) for line in last.splitlines()))


def _why(run: AttemptRow) -> str:
    return _first_line(run.error) or run.error_type or ""


def _show_fan_out(asked: Asked, whole: after.FanOutRow, parts: after.Progress | None, now: datetime) -> None:
    counted = parts or after.Progress(0, 0, whole.total)
    if asked.json:
        print_json("jobs", [], fan_outs=[{**plain(whole), **counted._asdict()}])
        return
    values = {
        "fan-out": whole.id,
        "task": whole.task,
        "created_at": moment(whole.created_at, now),
        "parts": parts_words(counted),
    }
    show(details(values.items()))
