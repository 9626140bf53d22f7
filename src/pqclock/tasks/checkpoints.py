"""How far a long job has come: `yield Checkpoint(...)` in a task that is a generator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pqclock.errors import ArgumentError
from pqclock.rules.json_values import check_value


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything up to `cursor` (a JSON value) is done: from here the job goes on after a deploy or a crash.

    `done` of `total` is the progress that listings show, in whatever the task counts.
    """

    cursor: Any
    done: int | None = None
    total: int | None = None

    def __post_init__(self) -> None:
        for name, number in (("done", self.done), ("total", self.total)):
            if number is not None and (type(number) is not int or not 0 <= number < 2**53):
                raise ArgumentError(f"Checkpoint({name}={number!r:.40}) must be a whole number, not below 0")


@dataclass(frozen=True, slots=True)
class Reached:
    """A checkpoint as it is stored with its job; `spent` are the seconds of all runs so far."""

    cursor: str | None = None
    done: int | None = None
    total: int | None = None
    spent: float = 0.0

    @classmethod
    def parse(cls, stored: Mapping[str, Any] | None) -> Reached:
        """From the value in the database."""
        found = stored or {}
        cursor = None if found.get("cursor") is None else json.dumps(found["cursor"])
        return cls(cursor, found.get("done"), found.get("total"), float(found.get("spent") or 0.0))

    def at(self, point: Checkpoint, spent: float, task: str) -> Reached:
        """The next one; raises ArgumentError for a cursor that is no JSON value."""
        cursor = None if point.cursor is None else check_value(point.cursor, f"the checkpoint of task {task!r}: cursor")
        return Reached(cursor, point.done, point.total or self.total, spent)

    def value(self) -> Any:
        """The cursor, as it is given to the task."""
        return None if self.cursor is None else json.loads(self.cursor)

    def text(self) -> str:
        """As it is stored."""
        cursor = None if self.cursor is None else json.loads(self.cursor)
        return json.dumps({"cursor": cursor, "done": self.done, "total": self.total, "spent": round(self.spent, 3)})
