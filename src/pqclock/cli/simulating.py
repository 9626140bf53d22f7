"""`pqclock simulate`: what schedule files come to over a range of time; offline, nothing is run."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from pqclock.cli.checking import count
from pqclock.cli.coming import Instant
from pqclock.cli.options import Asked, asking
from pqclock.cli.output import heading, plain, print_json, say, show, table
from pqclock.cli.root import EXIT_CODES
from pqclock.errors import ScheduleFileError
from pqclock.rules.moments import absolute, known_zone, span

if TYPE_CHECKING:
    from pqclock.rules.schedule import Schedule
    from pqclock.rules.simulation import ClockChange, Load, Meeting, Range

_YEAR = timedelta(days=365)
_LONGEST = timedelta(days=100 * 366)
_LAST_YEAR = 9000
_BUSIEST = 10
_KEYS_SHOWN = 5
_DATES_SHOWN = 40
_CHANGES_SHOWN = 100
_SCHEDULES_SHOWN = 100
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SHADES = " ░▒▓█"
_EFFECTS = {
    "shifted": "runs at the first instant after the gap",
    "merged": "the skipped times fall together with a tick after the gap",
    "skipped": "the skipped times do not run",
    "doubled": "the repeated times run twice",
    "once": "the repeated times run once",
}


@dataclass(frozen=True, slots=True)
class Simulated:
    """Everything that was found."""

    span: Range
    load: Load
    schedules: Sequence[dict[str, Any]]
    queues: Sequence[dict[str, Any]]
    busiest: Sequence[Meeting]
    changes: Sequence[ClockChange]
    empty: Sequence[date]


@click.command(epilog=EXIT_CODES)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--from", "since", type=Instant(), metavar="T", help="Where the range begins.  [default: now]")
@click.option("--to", "until", type=Instant(), metavar="T", help="Where it ends.  [default: a year later]")
@click.option("--window", "length", default="1w", show_default=True, metavar="T", help="How much of it is walked over.")
@asking("schedules", multiple=("schedules",))
def simulate(asked: Asked, paths: tuple[str, ...], since: datetime | None, until: datetime | None, length: str) -> None:
    """Show what schedule files come to: ticks, load by queue, busy minutes, changes of the clocks, empty dates.

    Ticks are counted exactly over the whole range. The load, which heeds spread and jitter, is exact to the minute in
    a window at the beginning of the range. It needs no database; calendars are heeded. Instants without an offset, and
    the hours of the heat map, are in UTC.

    \b
    Examples:
      pqclock simulate
      pqclock simulate schedules/ --from 2027-01-01 --to 2028-01-01
      pqclock simulate --window 1d --json
    """
    spanned = _range(since, until)
    window = _window(spanned, length)
    schedules = _read(asked, paths)
    found = _simulate([schedule for schedule in schedules if schedule.enabled], spanned, window)
    if asked.json:
        _print_json(found)
    else:
        _show(found, disabled=sum(not schedule.enabled for schedule in schedules), cut=found.load.window != window)


def _range(since: datetime | None, until: datetime | None) -> Range:
    from pqclock.loop import now
    from pqclock.rules.simulation import Range

    begin = now().replace(second=0, microsecond=0) if since is None else since
    if begin.year >= _LAST_YEAR or (until is not None and until.year >= _LAST_YEAR):
        raise click.UsageError(f"the range ends after the year {_LAST_YEAR}: give an earlier one")
    end = begin + _YEAR if until is None else until
    if end <= begin:
        raise click.UsageError(f"--to {plain(end)} is not after --from {plain(begin)}: give a later one")
    if end - begin > _LONGEST:
        raise click.UsageError("the range is longer than 100 years: give a shorter one")
    return Range(begin, end)


def _window(spanned: Range, length: str) -> Range:
    from pqclock.rules.durations import parse_duration
    from pqclock.rules.simulation import Range

    try:
        parsed = parse_duration(length)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--window") from error
    if parsed < timedelta(minutes=1):
        raise click.BadParameter(f"{length!r:.60} is too short: give a minute or more", param_hint="--window")
    return Range(spanned.since, min(spanned.until, spanned.since + min(parsed, _LONGEST)))


def _read(asked: Asked, paths: tuple[str, ...]) -> Sequence[Schedule]:
    from pqclock.schedule_files import read_paths

    found = read_paths(paths or asked.settings.schedules)
    if not found.ok:
        raise ScheduleFileError([finding.render() for finding in found.findings if finding.severity == "error"])
    return found.schedules


def _simulate(schedules: Sequence[Schedule], spanned: Range, window: Range) -> Simulated:
    from pqclock.rules import simulation

    loaded = simulation.load(schedules, simulation.fitting(schedules, window))
    rows = [
        {"key": schedule.key, "queue": schedule.queue, "ticks": simulation.count(schedule, spanned)}
        for schedule in schedules
    ]
    busiest = loaded.busiest(_BUSIEST)
    changes = simulation.clock_changes(schedules, spanned)
    empty = simulation.empty_dates(schedules, spanned) if schedules else []
    return Simulated(spanned, loaded, rows, _by_queue(rows, loaded), busiest, changes, empty)


def _by_queue(rows: Iterable[dict[str, Any]], loaded: Load) -> list[dict[str, Any]]:
    from pqclock.rules.simulation import peak

    members: dict[str | None, list[int]] = defaultdict(list)
    for row in rows:
        members[row["queue"]].append(row["ticks"])
    found = []
    for queue in sorted(members, key=lambda name: (name is None, name or "")):
        most = peak(loaded, queue)
        one = {"queue": queue, "schedules": len(members[queue]), "ticks": sum(members[queue])}
        found.append({**one, "busiest_minute": most.minute if most else None, "most": most.ticks if most else 0})
    return found


def _print_json(found: Simulated) -> None:
    window = found.load.window
    ranges = {"since": found.span.since, "until": found.span.until}
    print_json(
        "schedules",
        found.schedules,
        range=[{**ranges, "window_since": window.since, "window_until": window.until}],
        queues=found.queues,
        busiest=[meeting._asdict() for meeting in found.busiest],
        heat=found.load.heat(),
        clock_changes=[{**change._asdict(), **_offsets(change)} for change in found.changes],
        empty_dates=[day.isoformat() for day in found.empty],
    )


def _offsets(change: ClockChange) -> dict[str, float]:
    """The offsets from UTC in seconds; a duration has no sign."""
    return {"before": change.before.total_seconds(), "after": change.after.total_seconds()}


def _show(found: Simulated, disabled: int, cut: bool) -> None:
    ticks = sum(row["ticks"] for row in found.schedules)
    spanned, window = found.span, found.load.window
    say(f"{count(len(found.schedules), 'schedule')} from {plain(spanned.since)} to {plain(spanned.until)}: "
        f"{count(ticks, 'tick')}")  # fmt: skip
    if disabled:
        say(f"{count(disabled, 'schedule')} not enabled, so without ticks")
    if cut:
        say(f"the window was made shorter, to {span(window.until - window.since)}: longer ones have too many ticks")
    if not found.schedules:
        return
    _show_schedules(found.schedules)
    _show_load(found)
    _show_changes(found.changes)
    if found.empty:
        days = ", ".join(day.isoformat() for day in found.empty[:_DATES_SHOWN])
        more = len(found.empty) - _DATES_SHOWN
        show(heading("dates without any tick"), table((f"{len(found.empty)} in the range",), [[days]]))
        if more > 0:
            say(f"and {more} more dates: --json has all")


def _show_schedules(rows: Sequence[dict[str, Any]]) -> None:
    shown = rows
    if len(rows) > _SCHEDULES_SHOWN:
        shown = sorted(rows, key=lambda one: -one["ticks"])[:_SCHEDULES_SHOWN]
        say(f"the {len(shown)} schedules with the most ticks are shown: --json has all")
    show(table(("schedule", "ticks", "queue"), [(one["key"], f"{one['ticks']:,}", one["queue"]) for one in shown]))


def _show_load(found: Simulated) -> None:
    window = found.load.window
    show(heading("queues (empty: that of the task)"))
    columns = ("queue", "schedules", "ticks", "most in a minute", "when")
    show(table(columns, [
        (one["queue"], one["schedules"], f"{one['ticks']:,}", one["most"], plain(one["busiest_minute"]))
        for one in found.queues
    ]))  # fmt: skip
    if not found.busiest:
        return
    show(heading(f"busiest minutes from {plain(window.since)} to {plain(window.until)}"))
    show(table(("minute", "ticks", "schedules"), [
        (plain(one.minute), one.ticks, _keys(one.keys)) for one in found.busiest
    ]))  # fmt: skip
    show(heading("ticks by weekday and hour in UTC"), *_heat(found.load.heat()))


def _keys(keys: Sequence[str]) -> str:
    shown = ", ".join(keys[:_KEYS_SHOWN])
    return f"{shown} and {len(keys) - _KEYS_SHOWN} more" if len(keys) > _KEYS_SHOWN else shown


def _heat(cells: Sequence[Sequence[int]]) -> list[Any]:
    """Blocks on a terminal, numbers in a pipe."""
    if not sys.stdout.isatty():
        return [table(("", *(f"{hour:02}" for hour in range(24))),
                      [(day, *hours) for day, hours in zip(_WEEKDAYS, cells, strict=True)])]  # fmt: skip
    from rich.text import Text

    most = max(max(hours) for hours in cells)
    shade = [[_SHADES[-(-ticks * (len(_SHADES) - 1) // max(most, 1))] for ticks in hours] for hours in cells]
    lines = [f"{day}  {''.join(mark * 2 + ' ' for mark in marks)}" for day, marks in zip(_WEEKDAYS, shade, strict=True)]
    hours = "     " + "".join(f"{hour:02} " for hour in range(24))
    return [Text("\n".join([hours, *lines, f"     █ up to {most:,} an hour"]))]


def _show_changes(changes: Sequence[ClockChange]) -> None:
    if not changes:
        return
    show(heading("changes of the clocks"))
    rows = [
        (
            absolute(one.instant, known_zone(one.timezone)),
            one.timezone,
            one.key,
            one.effect,
            one.ticks,
            _EFFECTS[one.effect],
        )
        for one in changes[:_CHANGES_SHOWN]
    ]
    show(table(("when", "zone", "schedule", "effect", "times", "meaning"), rows))
    if len(changes) > _CHANGES_SHOWN:
        say(f"and {len(changes) - _CHANGES_SHOWN} more changes: --json has all")
