"""`pqclock jobs retry|run|cancel|discard`: by id, or all that pass a filter, in slices, with a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from pqclock.cli.options import STORED_JOB_ID, TEXT, Asked, asking
from pqclock.cli.output import print_json, say
from pqclock.cli.replaying import Since
from pqclock.cli.root import EXIT_CODES
from pqclock.rules.job import LIVE, TERMINAL

if TYPE_CHECKING:
    from pqclock.store.database import Session
    from pqclock.store.job_orders import Changes, Filter
    from pqclock.store.job_verbs import Changed, How

# More jobs than this are not changed by a filter without being asked for twice.
_MANY = 1_000

_FILTERS = (
    click.option("--state", type=click.Choice([*LIVE, *TERMINAL]), multiple=True, help="Jobs in this state."),
    click.option("--queue", type=TEXT, help="Jobs of this queue."),
    click.option("--task", type=TEXT, help="Jobs of this task."),
    click.option("--label", type=TEXT, help="Jobs with this label."),
    click.option("--schedule", type=TEXT, metavar="KEY", help="Jobs of this schedule."),
    click.option("--error", type=TEXT, help="Jobs with this in their error, in any case of letters."),
    click.option("--since", type=Since(), metavar="D|T", help="Ended, or if live enqueued, at or after then ..."),
    click.option("--until", type=Since(), metavar="D|T", help="... and before then."),
    click.option("--plan", "plan_only", is_flag=True, help="Only tell how many jobs are meant."),
    click.option("--yes", is_flag=True, help=f"Do not ask before more than {_MANY} jobs."),
)
_REASON = click.option("--reason", type=TEXT, default="", help="Why, for those who look.")


def add_verbs(group: click.Group) -> None:
    """Give the group of jobs its verbs that change some."""
    succeeded = click.option("--succeeded", is_flag=True, help="Also jobs that have succeeded: they run again.")
    force = click.option("--force", is_flag=True, help="Do not wait for handlers: running jobs have ended at once.")
    for name, text, own in (
        ("retry", _RETRY, (succeeded,)),
        ("run", _RUN, ()),
        ("cancel", _CANCEL, (force, _REASON)),
        ("discard", _DISCARD, (_REASON,)),
    ):
        _add(group, name, text, (*_FILTERS, *own))


def _add(group: click.Group, name: str, text: str, options: tuple[Callable[..., Any], ...]) -> None:
    def verb(asked: Asked, job_ids: tuple[int, ...], **given: Any) -> int:
        return _do(asked, name, job_ids, given)

    command: Any = asking("database_url", "schema")(verb)
    for option in reversed(options):
        command = option(command)
    ids = click.argument("job_ids", nargs=-1, type=STORED_JOB_ID, metavar="[JOB]...")
    group.command(name, help=text, epilog=EXIT_CODES)(ids(command))


def _do(asked: Asked, name: str, ids: tuple[int, ...], given: dict[str, Any]) -> int:
    from pqclock.cli.connection import connected
    from pqclock.store import job_orders

    plan_only, yes = given.pop("plan_only"), given.pop("yes")
    how = _how(name, given)
    with connected(asked.settings) as session:
        wanted = _filter(session, given)
        if bool(ids) is not wanted.is_empty:
            raise click.UsageError(
                "jobs and a filter do not go together: give one of them."
                if ids
                else "no job is named: give JOB..., or a filter such as --task NAME."
            )
        found = job_orders.preview(session, name, ids, wanted, how)
        if not plan_only:
            if not ids and found.matched > _MANY and not yes and not _confirmed(name, found):
                say("nothing was changed")
                return 1
            with _bar(found.matched, shown=sys.stderr.isatty() and not asked.json) as draw:
                found = job_orders.carry_out(session, found, ids, wanted, how, draw)
    _tell(asked, found, plan_only)
    return 1 if found.left and ids else 0


def _how(name: str, given: dict[str, Any]) -> How:
    from getpass import getuser

    from pqclock.store.job_verbs import How
    from pqclock.tasks.jobs import because

    try:
        person = getuser()
    except (OSError, KeyError):
        # A container may run under a number that has no name.
        person = "hand"
    outcome = {"cancel": "cancelled", "discard": "discarded"}.get(name)
    reason = because(outcome, given.pop("reason"), person) if outcome else ""
    return How(given.pop("succeeded", False), given.pop("force", False), reason)


def _filter(session: Session, given: dict[str, Any]) -> Filter:
    from pqclock.store import listings
    from pqclock.store.job_orders import Filter

    def instant(value: datetime | timedelta | None) -> datetime | None:
        return listings.now(session) - value if isinstance(value, timedelta) else value

    since, until = instant(given.pop("since")), instant(given.pop("until"))
    return Filter(states=given.pop("state"), since=since, until=until, **given)


def _confirmed(name: str, found: Changes) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError(
            f"{found.matched} jobs are meant, and nobody is there to be asked: give --yes if that is so, or --plan first."
        )
    return click.confirm(f"{name} {_by_state(found)}?", err=True)


def _by_state(found: Changes) -> str:
    parts = [f"{number:,} {state}" for state, number in sorted(found.by_state.items())]
    return f"{found.matched:,} job{'' if found.matched == 1 else 's'}" + (f" ({', '.join(parts)})" if parts else "")


def _tell(asked: Asked, found: Changes, plan_only: bool) -> None:
    if asked.json:
        summary = {name: getattr(found, name) for name in ("verb", "matched", "done", "by_state", "left")}
        print_json("jobs", found.jobs, summary=[{**summary, "plan": plan_only}])
        return
    if plan_only:
        say(f"{found.verb}: {_by_state(found)} are meant; nothing was changed")
        return
    for job in found.jobs:
        say(f"job {job.id}: {_words(found.verb, job)}")
    told = sum(not job.done for job in found.jobs)
    left = sum(found.left.values())
    if len(found.jobs) != 1:
        kinds = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(found.left.items()))
        say(f"{found.verb}: {found.done:,} of {found.matched:,} jobs" + (f"; left alone: {kinds}" if left else ""))
    if left > told:
        say(f"and {left - told:,} more were left alone")


def _words(verb: str, job: Changed) -> str:
    if job.done:
        return {
            "ready": "it is ready again",
            "due": "it is due now",
            "held": "it is due, and held until the unfinished jobs of its schedule have ended",
            "asked": "it runs, and was asked to end; --force ends it at once",
        }.get(job.outcome, f"it is {job.state}")
    return "left alone: " + {
        "unique": f"its unique key is taken by job {job.holder}: wait until that one has ended, or cancel it",
        "succeeded": "it has succeeded: --succeeded runs it again",
        "locked": "a transaction of somebody else holds it, or its unique key: try again",
        "gone": "its history was dropped just now: enqueue it anew",
    }.get(job.outcome, _out_of_place(verb, job))


def _out_of_place(verb: str, job: Changed) -> str:
    cure = {
        "retry": "only what has ended can be tried again, and what is scheduled",
        "run": "`pqclock jobs retry` makes it live again"
        if job.state in TERMINAL
        else "only what is scheduled can be due",
        "cancel": "it has ended",
        "discard": "`pqclock jobs cancel` ends it" if job.state == "running" else "it has ended",
    }
    return f"it is {job.state}: {cure[verb]}"


@contextmanager
def _bar(total: int, *, shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """What draws the progress on stderr, where somebody looks on and it takes more than a moment."""
    if not shown or total <= _MANY:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        TextColumn("{task.completed}/{task.total} jobs, {task.fields[done]} done"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total, done=0)
        yield lambda looked_at, done: progress.update(task, completed=looked_at, done=done)


_RETRY = """Make jobs that have ended live again: ready now, under the same id.

Those that failed, were cancelled or discarded begin with their first attempt and the gates they had; the rows of their
attempts stay. One that is scheduled is due now. A filter without --state means failed jobs.

A job whose unique key another one has stays where it is. One of a schedule with an overlap other than allow waits for
the unfinished jobs of its schedule.

\b
Examples:
  pqclock jobs retry 4711
  pqclock jobs retry --task mail.send --error timeout --since 2h --plan
  pqclock jobs retry --state cancelled --state discarded --schedule nightly-report
"""
_RUN = """Make scheduled jobs due now.

\b
Examples:
  pqclock jobs run 4711
  pqclock jobs run --queue mails
"""
_CANCEL = """End jobs: waiting ones now, running ones when their handlers do.

A running handler finds `current_job().cancelled` true; what fails then is cancelled and not tried again. With --force the
job has ended at once, and the handler's outcome is refused. A filter without --state means all live jobs.

\b
Examples:
  pqclock jobs cancel 4711 --reason "wrong month"
  pqclock jobs cancel --task mail.send --label acme --plan
  pqclock jobs cancel 4711 --force
"""
_DISCARD = """End waiting jobs now, as discarded.

\b
Examples:
  pqclock jobs discard 4711
  pqclock jobs discard --queue mails --until 1d --reason "too late for these"
"""
