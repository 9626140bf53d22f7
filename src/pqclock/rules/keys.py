"""Templates of keys over the arguments of a job: `{account}`, `{customer.id}`; in schedule files `{args.account}`.

`{{` and `}}` stand for braces. Only their form is known here: one function of the database fills them, for every way in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pqclock.errors import ArgumentError

MAX_BYTES = 512
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FIELD = re.compile(r"[^\s{}.:!\[\]]+(\.[^\s{}.:!\[\]]+)*")
_RULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", re.ASCII)


def check_template(template: str) -> str:
    """The template, or ArgumentError with what is wrong in its form."""
    fields_of(template)
    return template


def check_reference(reference: str) -> str:
    """A reference to a gate, RULE or RULE:KEY where KEY is a template; or ArgumentError."""
    fields_of(reference)
    rule, colon, key = reference.partition(":")
    if not _RULE.fullmatch(rule) or (colon and not key):
        raise ArgumentError(
            f'{reference[:60]!r} must be the name of a rule, or NAME:KEY such as "stripe:{{account}}": names are up to '
            f"100 letters, digits, '_', '.' and '-'"
        )
    return reference


def check_file_template(template: str) -> str:
    """The same for a schedule, whose templates name `{args.FIELD}`."""
    for field in fields_of(template):
        if not field.startswith("args."):
            raise ArgumentError(
                f"{template[:60]!r} names {{{field[:60]}}}, but in a schedule an argument is {{args.{field[:60]}}}"
            )
    return template


def check_file_reference(reference: str) -> str:
    """A reference to a gate in a schedule."""
    return check_file_template(check_reference(reference))


def fields_of(template: str) -> tuple[str, ...]:
    """The fields that a template names, in their order; raises ArgumentError."""
    if not isinstance(template, str) or not template or not template.isprintable():
        raise ArgumentError(f"{template!r:.60} must be a printable text that is not empty")
    if len(template.encode()) > MAX_BYTES:
        raise ArgumentError(f"{template[:40]!r} ... must have at most {MAX_BYTES} bytes, not {len(template.encode())}")
    return tuple(_field(template, match) for match in _PIECE.finditer(template) if match[0] not in ("{{", "}}"))


def _field(template: str, match: re.Match[str]) -> str:
    if match[1] is None:
        raise ArgumentError(
            f'{template[:60]!r} has the brace "{match[0]}" without a partner: write "{match[0] * 2}" for a brace itself'
        )
    if not _FIELD.fullmatch(match[1]):
        raise ArgumentError(
            f"{template[:60]!r} names {match[0][:60]}, which is no argument: write the name of one, or NAME.FIELD, "
            f"without a format"
        )
    return match[1]


def unfit(template: str, args: Mapping[str, object]) -> str | None:
    """What keeps these arguments of a schedule from filling the template, as far as they are given; else None.

    An argument that is missing altogether may be a default of the task, which nobody here knows.
    """
    for field in fields_of(template):
        _, argument, *path = field.split(".")
        if argument not in args:
            continue
        value: object = args[argument]
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is None or isinstance(value, Mapping | list | tuple):
            kind = "missing or null" if value is None else "no single value"
            return f"names {{{field}}}, which is {kind} in these arguments"
    return None
