"""What a check of `pqclock doctor` comes to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

Result = tuple[str, str]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Check:
    """What one check came to: `state` is ok, warning or problem."""

    name: str
    state: str
    message: str


def ok(message: str) -> Result:
    """In order."""
    return "ok", message


def warning(message: str) -> Result:
    """It works, and should be looked at."""
    return "warning", message


def problem(message: str) -> Result:
    """It does not work, or soon will not."""
    return "problem", message


def some(names: Collection[str]) -> str:
    """Names in a row, the first few of many."""
    shown = ", ".join(sorted(names)[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
