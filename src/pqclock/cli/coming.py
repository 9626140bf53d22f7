"""`pqclock next`: coming ticks, from the files, else from the database, or of an expression just typed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from pqclock.cli.options import Asked, asking
from pqclock.cli.output import plain, print_json, print_table, say
from pqclock.cli.root import EXIT_CODES
from pqclock.errors import ScheduleFileError, SettingsError, UnknownSchedule
from pqclock.rules.moments import absolute, known_zone, relative

if TYPE_CHECKING:
    from pqclock.rules.schedule import Schedule

_TYPED = "(typed)"
_FIRST_YEAR = 1900
_INSTANT = timedelta(microseconds=1)


class Instant(click.ParamType[datetime]):
    """A date, or a date and time; without an offset it is in UTC."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The aware datetime in UTC, or a usage error."""
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r:.60} is no instant: write for example 2026-10-25T00:00Z or 2026-10-25", param, ctx)
        if moment.year < _FIRST_YEAR:
            self.fail(f"{value!r:.60} lies before the year {_FIRST_YEAR}: give a later one", param, ctx)
        return moment


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick as it is shown."""

    key: str
    tick: datetime
    local: str
    timezone: str
    words: str
    note: str | None


@click.command("next", epilog=EXIT_CODES)
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("-n", "number", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many ticks.")
@click.option("--from", "since", type=Instant(), metavar="T", help="Ticks at or after this instant, instead of now.")
@click.option("--cron", "expression", metavar="EXPR", help="An expression to try, instead of schedules.")
@click.option("--timezone", metavar="ZONE", help="The zone of --cron.  [default: UTC]")
@asking("schedules", "database_url", "schema", multiple=("schedules",))
def coming(
    asked: Asked,
    *,
    keys: tuple[str, ...],
    number: int,
    since: datetime | None,
    expression: str | None,
    timezone: str | None,
) -> None:
    """Show the coming ticks of schedules, in words and times.

    They come from the schedule files; where there are none, from the database. Ticks beside a change of the clocks
    are marked. An instant without an offset is in UTC.

    \b
    Examples:
      pqclock next
      pqclock next nightly-report -n 5 --from 2026-10-24
      pqclock next --cron "30 2 * * *" --timezone Europe/Berlin --from 2026-10-24
    """
    from pqclock.loop import now

    moment = now()
    chosen = _typed(keys, expression, timezone) if expression is not None else _chosen(asked, keys, timezone)
    # A tick at `since` itself is asked for as well, and `next` is strictly after.
    after = moment if since is None else since - _INSTANT
    ticks = list(islice(_ticks(chosen, after), number))
    if asked.json:
        print_json("ticks", ticks)
    else:
        _show(ticks, moment, named=expression is None)
        if keys or expression is not None:
            _say_surprises(chosen, named=expression is None)


def _typed(keys: Sequence[str], expression: str, timezone: str | None) -> list[Schedule]:
    from pqclock.rules.cron import Cron
    from pqclock.rules.schedule import Schedule

    if keys:
        raise click.UsageError("--cron stands for itself: leave the keys out.")
    cron = Cron(expression, timezone=timezone or "UTC")
    return [Schedule(_TYPED, task="", cron=cron.expression, timezone=cron.timezone)]


def _chosen(asked: Asked, keys: Sequence[str], timezone: str | None) -> list[Schedule]:
    from pqclock.schedule_files import declared_paths, read_paths

    if timezone is not None:
        raise click.UsageError("--timezone belongs to --cron: a schedule has its own zone.")
    paths = declared_paths(asked.settings)
    if not paths:
        return _from_database(asked, keys)
    found = read_paths(paths)
    if not found.ok:
        raise ScheduleFileError([finding.render() for finding in found.findings if finding.severity == "error"])
    known = {schedule.key: schedule for schedule in found.schedules}
    for key in keys:
        if key not in known:
            raise _unknown(key, known, "the schedule files have")
    return [known[key] for key in dict.fromkeys(keys)] if keys else list(known.values())


def _from_database(asked: Asked, keys: Sequence[str]) -> list[Schedule]:
    from pqclock.cli.connection import connected
    from pqclock.rules.schedule import Schedule
    from pqclock.store import listings

    try:
        with connected(asked.settings) as session, listings.reading(session):
            rows = listings.definitions(session, keys or None)
            others = listings.schedule_keys(session) if len(rows) < len(set(keys)) else []
    except SettingsError as error:
        raise SettingsError(
            [f"there are no schedule files in {asked.settings.schedules[0]!r}", *error.faults]
        ) from error
    if len(rows) == listings.MOST_DEFINITIONS:
        say(f"only the {len(rows):,} schedules that come first now were looked at: name the keys of others")
    found = {key: Schedule.from_definition(key, definition) for key, definition in rows}
    for key in keys:
        if key not in found:
            raise _unknown(key, others, "the database has")
    return list(found.values())


def _unknown(key: str, known: Iterable[str], who: str) -> UnknownSchedule:
    from pqclock.rules.files.findings import hint, show

    return UnknownSchedule(f"{who} no active schedule {show(key)}{hint(key, known)}")


def _ticks(schedules: Iterable[Schedule], after: datetime) -> Iterator[Tick]:
    """The ticks of all schedules in order of time, computed as they are asked for."""
    streams = [_stream(schedule, after) for schedule in schedules if schedule.enabled]
    return merge(*streams, key=lambda tick: (tick.tick, tick.key))


def _stream(schedule: Schedule, after: datetime) -> Iterator[Tick]:
    from pqclock.rules.ticks import next_tick
    from pqclock.rules.words import describe

    zone, words, before = known_zone(schedule.timezone), describe(schedule), None
    tick = next_tick(schedule, after)
    while tick is not None:
        local = tick.astimezone(zone).isoformat()
        yield Tick(schedule.key, tick, local, schedule.timezone, words, _note(tick, before, zone))
        before, tick = tick, next_tick(schedule, tick)


def _note(tick: datetime, before: datetime | None, zone: tzinfo) -> str | None:
    """What a change of the clocks has to do with this tick."""
    local = tick.astimezone(zone)
    if local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset():
        return f"this local time comes twice: the {'second' if local.fold else 'first'} one"
    earlier = (before or tick - timedelta(days=1)).astimezone(zone)
    if earlier.utcoffset() == local.utcoffset():
        return None
    return f"after a change of the clocks: {earlier:%z} to {local:%z}"


def _show(ticks: Sequence[Tick], now: datetime, named: bool) -> None:
    if not ticks:
        say("no ticks to come")
        return
    rows = [_row(tick, now) for tick in ticks]
    columns = ("key", "local", "UTC", "when", "words")
    hidden = 0 if named else 1
    print_table(columns[hidden:], [row[hidden:] for row in rows], optional=("UTC",))


def _row(tick: Tick, now: datetime) -> list[object]:
    local = absolute(tick.tick, known_zone(tick.timezone))
    words = f"{tick.words} ({tick.note})" if tick.note else tick.words
    return [tick.key, local, plain(tick.tick), relative(tick.tick, now), words]


def _say_surprises(schedules: Sequence[Schedule], named: bool) -> None:
    for schedule in schedules:
        about = f"{schedule.key}: " if named else ""
        if not schedule.enabled:
            say(f"{about}not enabled, so it has no ticks")
        elif schedule.cron is not None:
            timing: Any = schedule.timing()
            for note in timing.notes():
                say(f"{about}note: {note}")
