"""`pqclock schedules put|remove|pause|resume|trigger`: schedules changed by hand, at run time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pqclock.cli.coming import Instant
from pqclock.cli.options import TEXT, Asked, asking
from pqclock.cli.output import print_json, say
from pqclock.cli.root import EXIT_CODES
from pqclock.errors import DurationError, PqclockError
from pqclock.rules.durations import parse_duration
from pqclock.rules.moments import moment

if TYPE_CHECKING:
    from pqclock.store.database import Session

Result = TypeVar("Result")


class Duration(click.ParamType[timedelta]):
    """A length of time such as `30m`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The timedelta, or a usage error."""
        try:
            return parse_duration(value)
        except DurationError as error:
            self.fail(str(error), param, ctx)


class Length(Duration):
    """A length of time that is not nothing."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The timedelta, or a usage error."""
        length = super().convert(value, param, ctx)
        if not length:
            self.fail(f"{value!r:.40} is over at once: give a longer time, such as 10m", param, ctx)
        return length


class JsonObject(click.ParamType[dict[str, Any]]):
    """A JSON object."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """The dict, or a usage error."""
        import json

        try:
            found = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError) as error:
            self.fail(f'{value!r:.60} is no JSON ({error}): write for example \'{{"day": "x"}}\'', param, ctx)
        if not isinstance(found, dict):
            self.fail(f'{value!r:.60} is no JSON object: write for example \'{{"day": "x"}}\'', param, ctx)
        return found


_key = click.argument("key", type=TEXT)
_args = click.option("--args", type=JsonObject(), metavar="JSON", help="Arguments of the job, a JSON object.")

# The fields of a schedule that `put` has options for, beside those with a type of their own.
_TEXTS = {
    "cron": ("EXPR", "When, as a cron expression."),
    "every": ("DURATION", "When, as a period."),
    "at": ("T", "When, as a single instant."),
    "timezone": ("ZONE", "The zone of --cron.  [default: UTC]"),
    "queue": ("NAME", "The queue of the job; else that of the task."),
    "description": ("TEXT", "For people."),
    "start": ("T", "No tick before it."),
    "end": ("T", "No tick at or after it."),
    "grace": ("DURATION", "A tick at most this late is on time.  [default: 1m]"),
    "catch_up": ("WHICH", "Which of the missed ticks still run: none, latest or all.  [default: latest]"),
    "expires_in": ("DURATION", "A job not started by then is discarded."),
    "alert_after": ("DURATION", "No run begun so long after a tick: the alarm."),
}


def _texts(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, (metavar, text) in reversed(_TEXTS.items()):
        command = click.option(f"--{name.replace('_', '-')}", name, type=TEXT, metavar=metavar, help=text)(command)
    return command


@click.command(epilog=EXIT_CODES)
@_key
@click.option("--task", type=TEXT, required=True, metavar="NAME", help="Registered name of the task to run.")
@_texts
@_args
@click.option("--priority", type=int, help="Lower runs first; else that of the task.")
@click.option("--max-attempts", type=int, help="Runs before the job fails for good; else that of the task.")
@click.option("--label", "labels", type=TEXT, multiple=True, help="A label of the job; may be given again.")
@asking("database_url", "schema")
def put(asked: Asked, key: str, labels: tuple[str, ...], **fields: Any) -> None:
    """Add a schedule, or change it in place; those that files declare are changed there.

    What is not given is as the task or the built-in default says, also where the schedule said otherwise before.

    \b
    Examples:
      pqclock schedules put customer-42 --task reports.send --cron "0 8 * * *" --timezone Europe/Berlin
      pqclock schedules put probe --task site.probe --every 30s --args '{"url": "https://example.org"}'
    """
    from pqclock.rules.files import schedule_from_fields
    from pqclock.store import runtime

    wanted = schedule_from_fields(key, {**fields, "labels": list(labels) or None})
    written = _change(asked, key, lambda session: runtime.put(session, [wanted]))
    _tell(asked, f"schedule {key}: put" if written else f"schedule {key}: it is so already, nothing changed")


@click.command(epilog=EXIT_CODES)
@_key
@asking("database_url", "schema")
def remove(asked: Asked, key: str) -> None:
    """Remove a schedule that was put at run time; its history stays.

    \b
    Example:
      pqclock schedules remove customer-42
    """
    from pqclock.store import runtime

    _change(asked, key, lambda session: runtime.remove(session, key))
    _tell(asked, f"schedule {key}: removed")


@click.command(epilog=EXIT_CODES)
@_key
@click.option("--until", type=Instant(), metavar="T", help="The end; without an offset it is in UTC.")
@click.option("--for", "length", type=Length(), metavar="D", help="How long, from now on.")
@click.option("--note", type=TEXT, metavar="TEXT", help="Why, for those who look.")
@asking("database_url", "schema")
def pause(asked: Asked, key: str, until: datetime | None, length: timedelta | None, note: str | None) -> None:
    """Skip the ticks of a schedule, of files or not, until an instant, for a time, or until it is resumed.

    \b
    Examples:
      pqclock schedules pause nightly-report --for 2h --note "warehouse is moved"
      pqclock schedules pause nightly-report
    """
    from pqclock.store import listings, runtime

    if until is not None and length is not None:
        raise click.UsageError("--until and --for both say when the pause ends: give one of them.")
    end = length if length is not None else until

    def change(session: Session) -> str:
        runtime.pause(session, key, end, note)
        found = listings.schedule(session, key, 1)
        if not end or not found:
            return "; `pqclock schedules resume` ends it"
        return f" until {moment(found[0].paused_until, listings.now(session))}"

    _tell(asked, f"schedule {key}: paused{_change(asked, key, change)}")


@click.command(epilog=EXIT_CODES)
@_key
@asking("database_url", "schema")
def resume(asked: Asked, key: str) -> None:
    """End the pause of a schedule now; the ticks that it skipped stay skipped.

    \b
    Example:
      pqclock schedules resume nightly-report
    """
    from pqclock.store import runtime

    was_paused = _change(asked, key, lambda session: runtime.resume(session, key))
    _tell(asked, f"schedule {key}: " + ("resumed" if was_paused else "it was not paused, nothing changed"))


@click.command(epilog=EXIT_CODES)
@_key
@_args
@asking("database_url", "schema")
def trigger(asked: Asked, key: str, args: dict[str, Any] | None) -> None:
    """Insert a job of a schedule now, beside its ticks; --args go before the schedule's, name by name.

    \b
    Examples:
      pqclock schedules trigger nightly-report
      pqclock schedules trigger nightly-report --args '{"day": "2026-11-22"}'
    """
    from pqclock.cli.connection import connected
    from pqclock.store import listings, runtime

    with connected(asked.settings) as session:
        job = runtime.trigger(session, key, args)
        found = listings.job(session, job.id)
    if asked.json:
        print_json("jobs", [found[0]] if found else [])
    said = f"job {job.id} is {job.state}" if job.inserted else f"job {job.id}, which is {job.state}, has its unique key"
    _tell(asked, f"schedule {key}: {said}; see `pqclock jobs show {job.id}`")


def _change(asked: Asked, key: str, change: Callable[[Session], Result]) -> Result:
    """Do it; with --json, the row of the schedule as it is then goes to stdout."""
    from pqclock.cli.connection import connected
    from pqclock.store import listings

    with connected(asked.settings) as session:
        result = change(session)
        found = listings.schedule(session, key, 1) if asked.json else None
    if asked.json:
        if found is None:
            raise PqclockError(f"schedule {key!r:.60} is not there any more: look again with `pqclock schedules list`")
        print_json("schedules", [found[0]])
    return result


def _tell(asked: Asked, text: str) -> None:
    if not asked.json:
        say(text)
