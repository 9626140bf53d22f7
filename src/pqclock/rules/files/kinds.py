"""Kinds of values: each reads what a file gives, writes what the database stores, and tells the JSON Schema.

A kind's `read` returns the value, or raises BadValue with a fault for each thing that is wrong; a fault's
message continues a sentence that begins with the name of the field (with a colon, where it is a sentence itself).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pqclock.rules.files.findings import hint, show
from pqclock.rules.files.positions import Path

FAULTS_LIMIT = 200  # of one table; nobody reads more, and each costs time


class Fault(NamedTuple):
    """What is wrong with a value; `path` leads to it from the field, `offset` into its text."""

    message: str
    path: Path = ()
    severity: str = "error"
    on_key: bool = False
    offset: int | None = None
    length: int = 0


class BadValue(Exception):
    """A value that its field cannot take."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults


def must_be(words: str, value: object, more: str = "") -> BadValue:
    """`must be WORDS, not VALUE`."""
    return BadValue(Fault(f"must be {words}, not {show(value)}{more}"))


class Kind(Protocol):
    """What a field takes."""

    @property
    def words(self) -> str:
        """What it takes, for messages and the reference page."""

    def read(self, value: object) -> object:
        """The value that the rules work with."""

    def plain(self, value: object) -> object:
        """A value that was read, as JSON; `read` takes it back."""

    def schema(self) -> dict[str, object]:
        """Its JSON Schema, in keywords that draft-04 has."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text of some length, matching a pattern, without control characters."""

    words: str = "a text"
    most: int = 200
    pattern: str | None = None
    lines: bool = False

    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise must_be(self.words, value)
        if not 1 <= len(value) <= self.most:
            raise BadValue(Fault(f"must have 1 to {self.most:,} characters, not {len(value):,}"))
        if self.pattern is not None and not re.fullmatch(self.pattern, value, re.ASCII):
            raise must_be(self.words, value)
        if not value.isprintable() and not self._is_plain(value):
            raise BadValue(Fault("must not hold control characters"))
        return value

    def _is_plain(self, value: str) -> bool:
        breaks = "\n\t" if self.lines else ""
        # Separators and format characters that are no ASCII controls can be stored and shown; surrogates cannot.
        return not any(
            (char < " " and char not in breaks) or "\x7f" <= char <= "\x9f" or "\ud800" <= char <= "\udfff"
            for char in value
        )

    def plain(self, value: object) -> object:
        return value

    def schema(self) -> dict[str, object]:
        schema: dict[str, object] = {"type": "string", "minLength": 1, "maxLength": self.most}
        return schema | ({"pattern": f"^{self.pattern}$"} if self.pattern else {})


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    options: tuple[str, ...]

    @property
    def words(self) -> str:
        return either(self.options)

    def read(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.options:
            raise must_be(self.words, value, hint(value, self.options) if isinstance(value, str) else "")
        return value

    def plain(self, value: object) -> object:
        return value

    def schema(self) -> dict[str, object]:
        return {"enum": list(self.options)}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within bounds."""

    least: int
    most: int

    @property
    def words(self) -> str:
        return f"a whole number from {self.least:,} to {self.most:,}"

    def read(self, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not self.least <= value <= self.most:
            raise must_be(self.words, value)
        return value

    def plain(self, value: object) -> object:
        return value

    def schema(self) -> dict[str, object]:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the whole, above 0 and at most 1."""

    words: str = "a number above 0 and at most 1"

    def read(self, value: object) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= 1:
            raise must_be(self.words, value)
        return float(value)

    def plain(self, value: object) -> object:
        return value

    def schema(self) -> dict[str, object]:
        return {"type": "number", "minimum": 0, "maximum": 1}


@dataclass(frozen=True, slots=True)
class Switch:
    """true or false."""

    words: str = "true or false"

    def read(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise must_be(self.words, value)
        return value

    def plain(self, value: object) -> object:
        return value

    def schema(self) -> dict[str, object]:
        return {"type": "boolean"}


def either(words: Iterable[str]) -> str:
    """`"a", "b" or "c"`."""
    *first, last = map(show, words)
    return f"{', '.join(first)} or {last}" if first else last
