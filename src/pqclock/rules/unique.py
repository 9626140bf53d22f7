"""Unique jobs: the terms under which one job with a key keeps others with the same key out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pqclock.errors import ArgumentError, DurationError
from pqclock.rules.durations import format_duration, parse_duration
from pqclock.rules.keys import fields_of

CONFLICTS = ("skip", "replace", "raise")
REPLACEABLE = ("args", "run_at", "priority", "queue", "labels", "max_attempts")
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Unique:
    """Lets one job with the same key in; keys are scoped to the task.

    `key` is a template over the arguments, such as "report:{day}". It is taken `until` the job is "finished", or
    "started" for the first time, or for a duration from the enqueue on, which outlives the job. A job that meets a taken
    key is left out (`on_conflict="skip"`), or changes the waiting job in its place ("replace": its args, run_at and
    priority, or those fields that `replace` names), or raises UniqueConflict ("raise").
    """

    key: str
    until: str | timedelta = "finished"
    on_conflict: str = "skip"
    replace: Sequence[str] = ()

    def __post_init__(self) -> None:
        try:
            fields_of(self.key)
        except ArgumentError as error:
            raise ArgumentError(f"Unique: key {error}") from None
        if self.until not in ("started", "finished"):
            object.__setattr__(self, "until", format_duration(_length(self.until)))
        if self.on_conflict not in CONFLICTS:
            raise ArgumentError(
                f"Unique(on_conflict={self.on_conflict!r}) is not known: choose one of {', '.join(CONFLICTS)}"
            )
        if isinstance(self.replace, str) or not all(name in REPLACEABLE for name in self.replace):
            raise ArgumentError(f"Unique(replace={self.replace!r}) must be a list of {', '.join(REPLACEABLE)}")
        if self.replace and self.on_conflict != "replace":
            raise ArgumentError('Unique(replace=...) names what on_conflict="replace" changes: give that too')
        object.__setattr__(self, "replace", tuple(dict.fromkeys(self.replace)))

    def to_options(self) -> dict[str, object]:
        """The terms as JSON values, as the database reads them."""
        options: dict[str, object] = {"key": self.key, "until": self.until, "on_conflict": self.on_conflict}
        return {**options, "replace": list(self.replace)} if self.replace else options

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Unique:
        """The terms that `to_options` wrote."""
        return cls(**options)


def _length(until: str | timedelta) -> timedelta:
    try:
        length = parse_duration(until)
    except DurationError:
        length = timedelta()
    if length < _SECOND:
        raise ArgumentError(
            f"Unique(until={until!r:.60}) must be started, finished, or a duration of a second at least, such as 1h"
        )
    return length
