"""What a form may ask for, and how what was typed into it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pqclock.errors import ArgumentError, DurationError
from pqclock.rules.durations import parse_duration

LONGEST = 1_000


@dataclass(frozen=True, slots=True)
class Field:
    """One input: its name, its label and what it is for."""

    name: str
    label: str
    kind: Literal["text", "length", "end", "instant", "flag", "choice"] = "text"
    help: str = ""
    required: bool = False
    choices: tuple[str, ...] = ()


NOTE = Field("note", "Note", help="Why, for those who look.")
UNTIL = Field(
    "until", "Until", "end", "A length such as 2h, or an instant such as 2026-12-01T08:00Z. Empty: until it is resumed."
)


def read(fields: tuple[Field, ...], form: Mapping[str, str]) -> dict[str, Any]:
    """The values of a form; raises ArgumentError with what is wrong, where, and what would be right."""
    return {field.name: _read(field, form.get(field.name, "").strip()) for field in fields}


def _read(field: Field, text: str) -> Any:
    if len(text) > LONGEST:
        raise ArgumentError(f"{field.label}: more than {LONGEST} characters: write less")
    if not text:
        if field.required:
            raise ArgumentError(f"{field.label} is missing: fill it in")
        return False if field.kind == "flag" else None
    if field.kind == "flag":
        return True
    if field.kind == "choice" and text not in field.choices:
        raise ArgumentError(f"{field.label}: {text!r:.60} is none of {', '.join(field.choices)}: choose one of them")
    return _time(field, text) if field.kind in ("length", "end", "instant") else text


def _time(field: Field, text: str) -> datetime | timedelta:
    if field.kind != "instant":
        try:
            return parse_duration(text)
        except DurationError as error:
            if field.kind == "length" or text[:1].isdigit() is False:
                raise ArgumentError(f"{field.label}: {error}") from None
    try:
        moment = datetime.fromisoformat(text)
        # A browser's own field has no zone: it is asked for in UTC.
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ArgumentError(
            f"{field.label}: {text!r:.60} is no time: write a length such as 2h, or an instant such as 2026-12-01T08:00Z"
        ) from None
