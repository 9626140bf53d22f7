"""A schedule as a value: when its ticks are, and what the job of a tick is.

It is the same value from a schedule file, from the API and from the database. `queue`, `priority`, `labels`
and `max_attempts` are None when the schedule does not say: the task's or the built-in default holds then,
merged in SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from pqclock.rules.calendars import Exclusion, exclusion_of
from pqclock.rules.cron import Cron
from pqclock.rules.cron.instants import END, START, second_at_or_after
from pqclock.rules.durations import format_duration, parse_duration
from pqclock.rules.excluding import Excluding
from pqclock.rules.intervals import At, Every
from pqclock.rules.moving import Law, Moving
from pqclock.rules.unique import Unique

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The days by which `on_excluded` moves a tick.
STEPS = {"next_business_day": 1, "previous_business_day": -1}
# With a shorter grace, ticks that are not inserted ahead would all be late.
LEAST_PATIENCE = timedelta(seconds=5)
_CACHED = 16_384


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule; instants are in UTC.

    `source`, where it was written, and `was`, its former keys, are no part of its meaning; nor is `unique_task`, whether
    its task says by itself that its jobs are unique.
    """

    key: str
    task: str
    cron: str | None = None
    every: timedelta | None = None
    at: datetime | None = None
    timezone: str = "UTC"
    args: dict[str, object] = field(default_factory=dict, hash=False)
    description: str | None = None
    queue: str | None = None
    priority: int | None = None
    labels: tuple[str, ...] | None = None
    enabled: bool = True
    start: datetime | None = None
    end: datetime | None = None
    gap: str = "shift"
    fold: str = "first"
    grace: timedelta = timedelta(minutes=1)
    catch_up: str = "latest"
    catch_up_window: timedelta = timedelta(days=1)
    catch_up_limit: int = 100
    overlap: str = "allow"
    spread: timedelta = timedelta()
    jitter: timedelta = timedelta()
    exclude: Exclusion | None = None
    on_excluded: str = "skip"
    expires_in: timedelta | None = None
    max_attempts: int | None = None
    timeout: timedelta | None = None
    history: str | None = None
    unique: Unique | None = None
    throttle: tuple[str, ...] | None = None
    fuse: tuple[str, ...] | None = None
    alert_after: timedelta | None = None
    unique_task: bool = field(default=False, compare=False)
    was: tuple[str, ...] = field(default_factory=tuple, compare=False)
    source: str = field(default="", compare=False)

    @property
    def judged_when_due(self) -> bool:
        """Whether its ticks are decided on at their time, by what is unfinished then, and not ahead."""
        return self.watches or self.is_unique

    @property
    def watches(self) -> bool:
        """Whether it matters if jobs of its own are unfinished."""
        return self.overlap != "allow"

    @property
    def is_unique(self) -> bool:
        """Whether its jobs may meet others that have their key."""
        return self.unique is not None or self.unique_task

    def carries(self) -> dict[str, object]:
        """What its jobs carry by its word, as the database reads it."""
        definition = self.to_definition()
        return {
            name: definition[name]
            for name in ("unique", "throttle", "fuse", "timeout", "history")
            if name in definition
        }

    @property
    def patience(self) -> timedelta:
        """How late a tick may be and still be on time: what is decided on at its time is so a little after it."""
        return max(self.grace, LEAST_PATIENCE) if self.judged_when_due else self.grace

    def timing(self) -> Cron | Every | At:
        """The instants that it names, before `start` and `end` cut them and calendars move them."""
        if self.cron is not None:
            return cron_of(self.cron, self.timezone, self.gap, self.fold)
        return _interval(self.every, self.at, self.start)

    def ticking(self) -> Cron | Every | At | Excluding:
        """The instants of its ticks, before `start` and `end` cut them."""
        if self.exclude is None:
            return self.timing()
        law = Law(STEPS.get(self.on_excluded, 0), self.gap, self.fold, *_seconds(self.start, self.end))
        return _excluding(self.cron, self.every, self.at, self.start, self.timezone, self.exclude, law)

    def to_definition(self) -> dict[str, object]:
        """What differs from the defaults, as JSON: what the database keeps in `schedule.definition`."""
        given = {name: getattr(self, name) for name in _DEFINED}
        return {name: _encoded(name, value) for name, value in given.items() if value != _DEFINED[name]}

    @classmethod
    def from_definition(cls, key: str, definition: Mapping[str, object], source: str = "") -> Schedule:
        """The schedule whose `to_definition` gave `definition`; names that are not known are left out."""
        values = {name: _decoded(name, value) for name, value in definition.items() if name in _DEFINED}
        return cls(key=key, source=source, **values)


@lru_cache(maxsize=_CACHED)
def cron_of(expr: str, timezone: str, gap: str, fold: str) -> Cron:
    """The compiled expression; equal ones are compiled once. Raises CronError."""
    return Cron(expr, timezone=timezone, gap=gap, fold=fold)


def _interval(every: timedelta | None, at: datetime | None, start: datetime | None) -> Every | At:
    if every is not None:
        return Every(every, start or EPOCH)
    assert at is not None
    return At(at)


def _seconds(start: datetime | None, end: datetime | None) -> tuple[int, int]:
    return second_at_or_after(start) if start else START, second_at_or_after(end) if end else END


@lru_cache(maxsize=_CACHED)
def _excluding(
    cron: str | None,
    every: timedelta | None,
    at: datetime | None,
    start: datetime | None,
    zone: str,
    exclusion: Exclusion,
    law: Law,
) -> Excluding:
    timing = cron_of(cron, zone, law.gap, law.fold) if cron is not None else _interval(every, at, start)
    if not law.step:
        return Excluding(timing, zone, exclusion)
    names = cron_of(cron, "UTC", "shift", "first") if cron is not None else None
    return Moving(timing, zone, exclusion, law, names)


def _encoded(name: str, value: Any) -> object:
    return _ENCODE[name](value) if name in _ENCODE and value is not None else value


def _decoded(name: str, value: Any) -> Any:
    return _DECODE[name](value) if name in _DECODE and value is not None else value


def _instant_text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


_DURATIONS = ("every", "grace", "catch_up_window", "spread", "jitter", "expires_in", "timeout", "alert_after")
_INSTANTS = ("at", "start", "end")

_ENCODE: dict[str, Callable[[Any], object]] = {
    **dict.fromkeys(_DURATIONS, format_duration),
    **dict.fromkeys(_INSTANTS, _instant_text),
    "labels": list,
    "exclude": Exclusion.plain,
    "unique": Unique.to_options,
    "throttle": list,
    "fuse": list,
}
_DECODE: dict[str, Callable[[Any], object]] = {
    **dict.fromkeys(_DURATIONS, parse_duration),
    **dict.fromkeys(_INSTANTS, _instant),
    "labels": tuple,
    "exclude": exclusion_of,
    "unique": Unique.from_options,
    "throttle": tuple,
    "fuse": tuple,
}
_DEFINED: dict[str, Any] = {
    entry.name: {} if entry.name == "args" else entry.default
    for entry in fields(Schedule)
    if entry.name not in ("key", "was", "source", "unique_task")
}
