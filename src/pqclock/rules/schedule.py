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

from pqclock.rules.cron import Cron
from pqclock.rules.durations import format_duration, parse_duration
from pqclock.rules.intervals import At, Every

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CACHED = 16_384


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule; instants are in UTC. `source` is where it was written, and no part of its meaning."""

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
    spread: timedelta = timedelta()
    jitter: timedelta = timedelta()
    expires_in: timedelta | None = None
    max_attempts: int | None = None
    source: str = field(default="", compare=False)

    def timing(self) -> Cron | Every | At:
        """The instants of its ticks, before `start` and `end` cut them."""
        if self.cron is not None:
            return cron_of(self.cron, self.timezone, self.gap, self.fold)
        if self.every is not None:
            return Every(self.every, self.start or EPOCH)
        assert self.at is not None
        return At(self.at)

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


def _encoded(name: str, value: Any) -> object:
    return _ENCODE[name](value) if name in _ENCODE and value is not None else value


def _decoded(name: str, value: Any) -> Any:
    return _DECODE[name](value) if name in _DECODE and value is not None else value


def _instant_text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


_DURATIONS = ("every", "grace", "catch_up_window", "spread", "jitter", "expires_in")
_INSTANTS = ("at", "start", "end")

_ENCODE: dict[str, Callable[[Any], object]] = {
    **dict.fromkeys(_DURATIONS, format_duration),
    **dict.fromkeys(_INSTANTS, _instant_text),
    "labels": list,
}
_DECODE: dict[str, Callable[[Any], object]] = {
    **dict.fromkeys(_DURATIONS, parse_duration),
    **dict.fromkeys(_INSTANTS, _instant),
    "labels": tuple,
}
_DEFINED: dict[str, Any] = {
    entry.name: {} if entry.name == "args" else entry.default
    for entry in fields(Schedule)
    if entry.name not in ("key", "source")
}
