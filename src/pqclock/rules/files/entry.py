"""One schedule: from the plain values of its fields to a Schedule, with every fault.

Files and the run-time API come through here alike, so they take and refuse the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from pqclock.errors import ArgumentError, CronError
from pqclock.rules.calendars import Calendar
from pqclock.rules.cron import Cron
from pqclock.rules.durations import format_duration
from pqclock.rules.files.exclusions import moving_faults, resolve
from pqclock.rules.files.fields import NOT_DEFAULTS, SECTIONS, Section
from pqclock.rules.files.findings import dotted, show
from pqclock.rules.files.gates import read_gates
from pqclock.rules.files.kinds import Fault
from pqclock.rules.files.tables import read_fields
from pqclock.rules.schedule import Schedule, cron_of

TIMINGS = ("cron", "every", "at")
_DAY = timedelta(days=1)
_SCHEDULE = SECTIONS["schedule"]
_BUILT_IN = {field.name: field.kind.read(field.default) for field in _SCHEDULE.table if field.default is not None}
_NOT_DEFAULTS = [(name,) for name in NOT_DEFAULTS]
_KEPT = [field.name for field in _SCHEDULE.table if field.supported]


def schedule_from_fields(key: str, fields: Mapping[str, object]) -> Schedule:
    """The schedule that plain Python values describe; raises ArgumentError with a line for each fault.

    Durations are texts or timedeltas, instants aware datetimes or ISO 8601 texts; None is not given.
    """
    fields = {name: value for name, value in fields.items() if value is not None}
    faults = [] if _SCHEDULE.accepts(key) else [Fault(f"the key {show(key)} must match {_SCHEDULE.pattern}")]
    schedule, more = read_schedule(key, fields, {})
    errors = [fault for fault in (*faults, *more) if fault.severity == "error"]
    if errors or schedule is None:
        raise ArgumentError("\n".join(map(sentence, errors)))
    return schedule


def sentence(fault: Fault) -> str:
    """A fault as a sentence that begins with the path of the value."""
    path = dotted(fault.path)
    return f"{path}{'' if fault.message.startswith(':') or not path else ' '}{fault.message}"


def read_section(section: Section, given: Mapping[str, object]) -> tuple[dict[str, object], list[Fault]]:
    """The values of a table, and the faults of its fields each by itself."""
    values, faults = read_fields(section.fields, given)
    if section.name == "defaults":
        faults = [_no_default(fault) for fault in faults]
    severity = "error" if section.name in ("schedule", "defaults") else "warning"
    for name in (name for name in values if name in section.unsupported):
        field = section.fields[name]
        if not field.is_default(values[name]):
            faults.append(Fault(_unsupported(field.default), (name,), severity, on_key=True))
    missing = [name for name in section.required if name not in given]
    faults += [Fault(f"the field {show(name)} is missing") for name in missing]
    return values, faults


def _no_default(fault: Fault) -> Fault:
    if fault.path in _NOT_DEFAULTS:
        return Fault("cannot be a default: write it in each schedule", fault.path, on_key=True)
    return fault


def _unsupported(default: object) -> str:
    return "is not supported yet" + (f": only {show(default)} is" if default is not None else "")


def read_schedule(
    key: str,
    given: Mapping[str, object],
    defaults: Mapping[str, object],
    source: str = "",
    calendars: Mapping[str, Calendar] | None = None,
) -> tuple[Schedule | None, list[Fault]]:
    """The schedule, unless there is an error, and all faults; `defaults` were read and reported before."""
    own, faults = read_section(_SCHEDULE, given)
    # A timing of its own replaces a default `at`: both together would never be meant.
    hidden = ("at",) if any(name in given for name in TIMINGS) else ()
    values: dict[str, Any] = {**_BUILT_IN, **{k: v for k, v in defaults.items() if k not in hidden}, **own}
    faults += _timing_faults(given, values)
    faults += _instant_faults(values, "timezone" in given or "timezone" in defaults)
    faults += resolve(values, calendars)
    faults += read_gates(values)
    if any(fault.severity == "error" for fault in faults):
        return None, faults
    kept = {name: values[name] for name in _KEPT if name in values}
    schedule = Schedule(key=key, source=source, **kept)
    more = [*_window_faults(schedule), *moving_faults(schedule), *_overlap_faults(schedule)]
    return None if any(fault.severity == "error" for fault in more) else schedule, faults + more


def _timing_faults(given: Mapping[str, object], values: Mapping[str, Any]) -> list[Fault]:
    named = [name for name in TIMINGS if name in given]
    if not named and "at" not in values:
        return [Fault("exactly one of cron, every and at is needed; none is given")]
    message = f"is one too many: exactly one of cron, every and at is needed; {' and '.join(named)} are given"
    return [Fault(message, (name,), on_key=True) for name in named[1:]]


def _instant_faults(values: dict[str, Any], zoned: bool) -> list[Fault]:
    """The faults between fields; a local `at` becomes an instant in `values`."""
    faults = []
    if "cron" in values:
        faults += _cron_faults(values)
    if "at" in values and values["at"].tzinfo is None:
        faults += _place_at(values, zoned)
    if "every" in values and "start" not in values:
        faults += _anchor_faults(values["every"])
    return faults + _bounds_faults(values)


def _cron_faults(values: Mapping[str, Any]) -> list[Fault]:
    try:
        cron = cron_of(values["cron"], values["timezone"], values["gap"], values["fold"])
    except CronError as error:
        return [Fault(f": {error}", ("cron",))]
    return [Fault(f": {note}", ("cron",), "warning") for note in _notes(cron)]


@lru_cache(maxsize=1024)
def _notes(cron: Cron) -> list[str]:
    return cron.notes()


def _place_at(values: dict[str, Any], zoned: bool) -> list[Fault]:
    local, zone = values["at"], values["timezone"]
    if not zoned:
        more = f"give a timezone, or an offset as in {local.isoformat()}Z"
        return [Fault(f"is a local time, and no timezone says where: {more}", ("at",))]
    instants = local_instants(local, zone, values["gap"], values["fold"])
    if len(instants) == 1:
        values["at"] = instants[0]
        return []
    problem = f"exists twice in {zone}: write fold" if instants else f"does not exist in {zone}: write gap"
    option = '"first" or "second"' if instants else '"shift"'
    return [Fault(f"{problem} = {option}, or an offset", ("at",))]


def local_instants(local: datetime, zone: str, gap: str, fold: str) -> list[datetime]:
    """The instants of a local time, by the law of cron: it is the fixed entry that names this one time."""
    entry = cron_of(f"{local:%S %M %H %d %m} *", zone, gap, fold)
    try:
        around = (local.replace(tzinfo=UTC) - 2 * _DAY, local.replace(tzinfo=UTC) + 2 * _DAY)
    except OverflowError:
        return []
    return list(entry.ticks(*around))


def _anchor_faults(every: timedelta) -> list[Fault]:
    if every < _DAY:
        return []
    when = "at instants that may surprise"
    if not every % _DAY:
        when = "at 00:00 UTC" if every % (7 * _DAY) else "on Thursdays at 00:00 UTC"
    origin = "is counted from 1970-01-01T00:00Z, a Thursday"
    message = f"= {show(format_duration(every))} {origin}, and ticks {when}: give start to choose"
    return [Fault(message, ("every",), "warning")]


def _bounds_faults(values: Mapping[str, Any]) -> list[Fault]:
    start, end, at = values.get("start"), values.get("end"), values.get("at")
    if start is not None and end is not None and end <= start:
        return [Fault(f"must be after start, {_text(start)}, not {_text(end)}", ("end",))]
    if at is None or at.tzinfo is None:
        return []
    if start is not None and at < start:
        return [Fault(f"= {_text(at)} never ticks: it is before start, {_text(start)}", ("at",))]
    if end is not None and at >= end:
        return [Fault(f"= {_text(at)} never ticks: it is not before end, {_text(end)}", ("at",))]
    return []


def _window_faults(schedule: Schedule) -> list[Fault]:
    """A doubt about `end` when no tick falls between `start` and `end`."""
    if schedule.start is None or schedule.end is None or schedule.at is not None:
        return []
    try:
        ticks = schedule.timing().ticks(schedule.start - timedelta(seconds=1), schedule.end)
    except OverflowError:
        return []
    if next(ticks, None) is not None:
        return []
    return [Fault("leaves no tick: none falls between start and end", ("end",), "warning")]


def _overlap_faults(schedule: Schedule) -> list[Fault]:
    """A doubt where missed ticks, which come all at once, would stand in each other's way."""
    if schedule.catch_up != "all" or not schedule.watches:
        return []
    effect = {"skip": "one of them", "wait": "two of them", "replace": "the last one"}[schedule.overlap]
    message = f'= "all" inserts missed ticks at once, of which overlap = {show(schedule.overlap)} lets {effect} run'
    return [Fault(message, ("catch_up",), "warning")]


def _text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
