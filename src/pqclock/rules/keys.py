"""Templates of keys over the arguments of a job: `{account}`, `{customer.id}`; in schedule files `{args.account}`.

`{{` and `}}` stand for braces. Only their form is known here: one function of the database fills them, for every way in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pqclock.errors import ArgumentError

MAX_BYTES = 512
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FIELD = re.compile(r"[^\s{}.:!\[\]]+(\.[^\s{}.:!\[\]]+)*")
# How people write that they mean the gate of one kind: as listings name it, or as rules are named.
_KIND = re.compile(r"(throttle|fuse)[.:](?=.)", re.ASCII)
_HOLE = re.compile(r"\{[A-Za-z_][\w.]*\}", re.ASCII)
_RULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", re.ASCII)


def check_template(template: str) -> str:
    """The template, or ArgumentError with what is wrong in its form."""
    fields_of(template)
    return template


def check_reference(reference: str) -> str:
    """A reference to a gate, RULE or RULE:KEY where KEY is a template; or ArgumentError."""
    fields_of(reference)
    kind, rest = split_kind(reference)
    if kind is not None:
        raise ArgumentError(
            f"{reference[:60]!r} begins with the kind of a rule: write its name alone, {rest[:60]!r}, under {kind}"
        )
    _check_shape(reference)
    return reference


def check_gate(reference: object) -> str:
    """The reference of one gate, RULE or RULE:KEY with the key itself; a kind before it is left out. Or ArgumentError."""
    if not isinstance(reference, str) or not reference or not reference.isprintable():
        raise ArgumentError(f"{reference!r:.60} must be a printable text that is not empty")
    if len(reference.encode()) > MAX_BYTES:
        raise ArgumentError(
            f"{reference[:40]!r} ... must have at most {MAX_BYTES} bytes, not {len(reference.encode())}"
        )
    reference = split_kind(reference)[1]
    if hole := _HOLE.search(reference):
        raise ArgumentError(f"{reference[:60]!r} has {hole[0][:60]} in it: fill it in, as an f-string does")
    _check_shape(reference)
    return reference


def split_kind(reference: str) -> tuple[str | None, str]:
    """The kind that somebody wrote before a reference, if any, and the reference: `fuse:bank:a`, `throttle.stripe`."""
    match = _KIND.match(reference)
    return (match[1], reference[match.end() :]) if match else (None, reference)


def _check_shape(reference: str) -> None:
    rule, colon, key = reference.partition(":")
    if not _RULE.fullmatch(rule) or (colon and not key):
        raise ArgumentError(
            f'{reference[:60]!r} must be the name of a rule, or NAME:KEY such as "stripe:{{account}}": names are up to '
            f"100 letters, digits, '_', '.' and '-'"
        )


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


def unfit(template: str, args: Mapping[str, object], reference: bool = False) -> str | None:
    """What keeps these arguments of a schedule from filling the template, as far as they are given; else None.

    The key of a reference to a gate must not be empty either.

    An argument that is missing altogether may be a default of the task, which nobody here knows.
    """
    for field in fields_of(template):
        _, argument, *path = field.split(".")
        if argument in args and (kind := _unfit_value(_value(args, (argument, *path)))):
            return f"names {{{field}}}, which is {kind} in these arguments"
    if reference and ":" in template and _key_of(template, args) == "":
        return "has a key that these arguments leave empty"
    return None


def unknown_field(template: str, args: Mapping[str, object]) -> str | None:
    """The first field of a template of a schedule whose argument is not among these; None when all are."""
    return next((field for field in fields_of(template) if field.split(".")[1] not in args), None)


def lacks(template: str, args: Mapping[str, object], prefix: str = "") -> str | None:
    """The first field that these arguments, with the defaults of the task, cannot fill; None when they fill all.

    Fields of a schedule have the prefix `args.`.
    """
    for field in fields_of(template):
        if _unfit_value(_value(args, field.removeprefix(prefix).split("."))):
            return field
    return None


def _unfit_value(value: object) -> str | None:
    if value is None:
        return "missing or null"
    return "no single value" if isinstance(value, Mapping | list | tuple) else None


def _value(args: Mapping[str, object], path: Iterable[str]) -> object:
    value: object = args
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _key_of(reference: str, args: Mapping[str, object]) -> str | None:
    """The key of a reference, filled; None where an argument is missing."""
    key = reference.partition(":")[2]
    if any(field.split(".")[1] not in args for field in fields_of(key)):
        return None
    return _PIECE.sub(lambda hole: str(_value(args, hole[1].split(".")[1:])) if hole[1] else hole[0], key)
