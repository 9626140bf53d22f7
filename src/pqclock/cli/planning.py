"""`pqclock plan`: what applying schedule files would change, and what would be caught up; nothing is written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from pqclock.cli.checking import count
from pqclock.cli.options import Asked, asking
from pqclock.cli.output import cell, heading, print_json, say, show, table
from pqclock.cli.planning_rules import RuleChange, counted, plan_rules, plan_slos, show_rules
from pqclock.cli.root import EXIT_CODES
from pqclock.errors import ScheduleFileError, SettingsError

if TYPE_CHECKING:
    from pqclock.rules.files import FileSet
    from pqclock.rules.schedule import Schedule
    from pqclock.store.database import Session
    from pqclock.store.schedules import DueSchedule, KnownSchedule

_KINDS = ("added", "changed", "renamed", "removed", "moved")
_VALUE_WIDTH = 100
# One schedule's missed ticks are planned in slices; so many of them are looked at.
_MOST_SLICES = 100
_CATCH_UPS_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Field:
    """A field that differs; None stands for a field that is not given."""

    name: str
    old: object
    new: object


@dataclass(frozen=True, slots=True)
class Change:
    """What would happen to a schedule: `refused` for a key of somebody else's, with the reason."""

    key: str
    change: str
    source: str
    fields: tuple[Field, ...] = ()
    message: str | None = None


@dataclass(frozen=True, slots=True)
class CatchUp:
    """What becomes of a schedule's missed ticks: how many run after all, and why the others do not."""

    key: str
    since: datetime
    inserted: int
    skipped: dict[str, int]
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """Everything that was found; `files` is new, in force, or older."""

    set: str
    files: str
    changes: Sequence[Change]
    catch_up: Sequence[CatchUp]
    counts: Mapping[str, int]
    rules: Sequence[RuleChange]


@click.command(epilog=EXIT_CODES)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option(
    "--exit-code", is_flag=True, help="The code is 1 if something would be added, changed, renamed or removed."
)
@asking("database_url", "schema", "set", "schedules", multiple=("schedules",))
def plan(asked: Asked, paths: tuple[str, ...], exit_code: bool) -> int:
    """Show what applying schedule files would change, field by field, and what is to be caught up.

    Nothing is written: the database is looked at in one read-only transaction. The code is 1 for files that `apply`
    would refuse.

    \b
    Examples:
      pqclock plan
      pqclock plan schedules/billing.toml --exit-code
    """
    from pqclock.cli.connection import connected
    from pqclock.store import listings, migrate

    files = _read(asked, paths)
    with connected(asked.settings, migrated=False) as session:
        migrate.check_schema(session)
        with listings.reading(session):
            found = _plan(session, asked.settings.set, files)
    if asked.json:
        summary = [{"set": found.set, "files": found.files, **found.counts}]
        print_json("changes", found.changes, rules=found.rules, catch_up=found.catch_up, summary=summary)
    else:
        _show(found)
    refused = "refused" in {*(one.change for one in found.changes), *(one.change for one in found.rules)}
    differs = any(found.counts[name] for name in ("added", "changed", "renamed", "removed"))
    differs = differs or any(one.differs for one in found.rules)
    return 1 if refused or (exit_code and differs) else 0


def _read(asked: Asked, paths: tuple[str, ...]) -> FileSet:
    from pqclock.schedule_files import declared_paths, read_paths

    chosen = paths or declared_paths(asked.settings)
    if not chosen:
        folder = asked.settings.schedules[0]
        raise SettingsError([f"there are no schedule files: make the folder {folder!r}, or name the files"])
    files = read_paths(chosen)
    if not files.ok:
        raise ScheduleFileError([finding.render() for finding in files.findings if finding.severity == "error"])
    return files


def _plan(session: Session, set_name: str, files: FileSet) -> Planned:
    from pqclock.rules.applying import Standing, compare, renamings
    from pqclock.store import health, listings, schedules
    from pqclock.store.fitting import unfillable

    wanted = {schedule.key: schedule for schedule in files.schedules}
    rows = {row.key: row for row in health.known(session, set_name, wanted)}
    own = {key: row for key, row in rows.items() if row.set_name == set_name}
    refused = [_refused(wanted[key], row, set_name) for key, row in rows.items() if key not in own and _is_taken(row)]
    refused += [
        Change(key, "refused", wanted[key].source, message=fault)
        for key, fault in unfillable(session, files.schedules).items()
    ]
    foreign = {change.key for change in refused}
    standing = {key: Standing(key, row.source, row.state, row.definition) for key, row in own.items()}
    former = renamings(files.schedules, own, rows)
    difference = compare([one for one in files.schedules if one.key not in foreign], standing, former)
    changes = [
        _change(kind, key, wanted.get(key), own.get(former.get(key, key)))
        for kind in _KINDS
        for key in sorted(getattr(difference, kind))
    ]
    counts = {kind: len(getattr(difference, kind)) for kind in (*_KINDS, "unchanged")}
    contents = schedules.applied_contents(session, set_name)
    caught_up = _catch_up(session, listings.now(session), own, wanted)
    rules = [*plan_rules(session, set_name, files), *plan_slos(session, set_name, files)]
    return Planned(set_name, _age(files.content_hash, contents), [*refused, *changes], caught_up, counts, rules)


def _is_taken(row: KnownSchedule) -> bool:
    return row.state != "removed"


def _refused(schedule: Schedule, row: KnownSchedule, set_name: str) -> Change:
    owner = f"set {row.set_name!r} ({row.source})" if row.set_name else "the API"
    message = f"belongs to {owner}, not to set {set_name!r}: rename it here or remove it there"
    return Change(schedule.key, "refused", schedule.source, message=message)


def _change(kind: str, key: str, schedule: Schedule | None, row: KnownSchedule | None) -> Change:
    if schedule is None:
        return Change(key, kind, row.source if row else "")
    return Change(key, kind, schedule.source, tuple(_fields(schedule, row)) if row else ())


def _fields(schedule: Schedule, row: KnownSchedule) -> Iterator[Field]:
    from pqclock.rules.applying import state_of

    new = schedule.to_definition()
    if row.key != schedule.key:
        yield Field("key", row.key, schedule.key)
    for name in sorted({*new, *row.definition}):
        if row.definition.get(name) != new.get(name):
            yield Field(name, row.definition.get(name), new.get(name))
    if row.state != state_of(schedule):
        yield Field("state", row.state, state_of(schedule))
    if row.source != schedule.source:
        yield Field("source", row.source, schedule.source)


def _age(content_hash: str, contents: Sequence[str]) -> str:
    if contents[-1:] == [content_hash]:
        return "in force"
    return "older" if content_hash in contents else "new"


def _catch_up(
    session: Session, now: datetime, own: Mapping[str, KnownSchedule], wanted: Mapping[str, Schedule]
) -> list[CatchUp]:
    """What the clock would catch up now, and what comes back with schedules that were removed by mistake."""
    from pqclock.store import health

    back = [
        row
        for key, row in own.items()
        if row.state == "removed" and key in wanted and wanted[key].enabled
        and row.definition == wanted[key].to_definition() and row.planned_to < now
    ]  # fmt: skip
    rows: list[DueSchedule] = health.behind(session, now, health.MOST + 1)
    if len(rows) > health.MOST:
        rows = rows[: health.MOST]
        say(f"only {len(rows):,} of the schedules that are behind were looked at")
    found = [_missed(row, now) for row in rows] + [_missed(row, now) for row in back]
    return [one for one in found if one.inserted or one.skipped or one.message]


def _missed(row: DueSchedule | KnownSchedule, now: datetime) -> CatchUp:
    """The plans for a row up to now; one that cannot be read is said to be so."""
    from pqclock.rules.schedule import Schedule
    from pqclock.rules.ticks import plan as plan_ticks

    inserted, skipped, reached = 0, Counter[str](), row.planned_to
    try:
        schedule = Schedule.from_definition(row.key, row.definition)
        for _ in range(_MOST_SLICES):
            planned = plan_ticks(schedule, reached, row.created_at, now, timedelta())
            for entry in planned.entries:
                if entry.outcome == "inserted":
                    inserted += 1
                else:
                    skipped[entry.reason or entry.outcome] += entry.count
            reached = planned.planned_to
            if reached >= now:
                break
    except Exception as error:
        message = f"the definition cannot be read ({type(error).__name__}): apply the files again"
        return CatchUp(row.key, row.planned_to, 0, {}, message)
    return CatchUp(row.key, row.planned_to, inserted, dict(skipped))


def _show(found: Planned) -> None:
    for change in found.changes:
        click.echo(f"{change.change:<8} {cell(change.key)}" + (f"  ({cell(change.source)})" if change.source else ""))
        if change.message:
            click.echo(f"    error: {cell(change.message, 500)}")
        for one in change.fields:
            click.echo(f"    {cell(one.name)}: {_value(one.old)} -> {_value(one.new)}")
    show_rules(found.rules)
    if found.catch_up:
        rows = [(one.key, one.inserted, _skips(one)) for one in found.catch_up[:_CATCH_UPS_SHOWN]]
        show(heading("missed ticks"), table(("schedule", "caught up", "left out"), rows))
        if len(found.catch_up) > _CATCH_UPS_SHOWN:
            say(f"and {len(found.catch_up) - _CATCH_UPS_SHOWN:,} more schedules with missed ticks: --json has all")
    numbers = ", ".join(f"{found.counts[kind]} {kind}" for kind in (*_KINDS, "unchanged"))
    rules = counted(found.rules)
    say(f"set {found.set}: {numbers}" + (f"; rules: {rules}" if rules else ""))
    if found.files == "older":
        say("these files are older than the ones in force: a clock that starts leaves them alone, `apply` takes them")
    refused = sum(one.change == "refused" for one in found.changes)
    refused_rules = sum(one.change == "refused" for one in found.rules)
    if refused or refused_rules:
        words = [count(number, what) for number, what in ((refused, "schedule"), (refused_rules, "rule")) if number]
        say(f"`apply` would refuse these files: {' and '.join(words)}")


def _value(value: object) -> str:
    return "not set" if value is None else cell(json.dumps(value, ensure_ascii=False), _VALUE_WIDTH)


def _skips(one: CatchUp) -> str:
    return one.message or ", ".join(f"{number:,} ({reason})" for reason, number in one.skipped.items())
