"""Templates in the arguments of a schedule: `{tick:%Y-%m-%d}`, `{tick}`, `{previous_tick}`, `{key}`.

Every string of the arguments, however deep, is a template; the keys of tables are not. Bare instants are
ISO 8601 in UTC; `:FORMAT` is written in the schedule's zone with the directives of strftime that mean the same
everywhere (names are English whatever the locale). `{{` and `}}` stand for braces. The renderer is our own:
`str.format` would let a template reach into objects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

from pqclock.errors import ArgumentError

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip
_NAMES = ("tick", "previous_tick", "key")
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)


class TemplateFault(NamedTuple):
    """What is wrong in a template: the path of its string in the arguments, the stretch of it, a sentence."""

    path: tuple[str | int, ...]
    offset: int
    length: int
    message: str


class Hole(NamedTuple):
    """A place to fill: `name` of what comes in, and the strftime format, if any."""

    name: str
    format: str | None


class Text(NamedTuple):
    """A string with holes."""

    pieces: tuple[str | Hole, ...]


# What compiling makes of arguments: the same tree, with a Text in place of each string that has holes.
Tree = object


@dataclass(frozen=True, slots=True)
class ArgsTemplate:
    """Compiled arguments; made by `compile_args`, filled by `render`."""

    tree: Tree
    fixed: bool  # no holes anywhere: every tick gets the same arguments


class _Tick(NamedTuple):
    """An instant in the schedule's zone, and the date that it is named by (`local_date`, else its own)."""

    instant: datetime
    day: date


def compile_args(args: Mapping[str, object]) -> ArgsTemplate:
    """Compile the arguments of a schedule; raises ArgumentError with a line for each fault."""
    template, faults = read_args(args)
    if faults:
        raise ArgumentError("\n".join(f"{_where(fault.path)}: {fault.message}" for fault in faults))
    return template


def read_args(args: Mapping[str, object]) -> tuple[ArgsTemplate, list[TemplateFault]]:
    """Compile the arguments of a schedule and list every fault in their templates."""
    faults: list[TemplateFault] = []
    tree = _compile(args, (), faults)
    return ArgsTemplate(tree, _is_fixed(tree)), faults


def render(
    template: ArgsTemplate,
    *,
    tick: datetime,
    previous_tick: datetime | None,
    key: str,
    zone: tzinfo,
    local_date: date | None = None,
) -> dict[str, object]:
    """The arguments of the job of `tick`, as a new dict.

    `local_date` is the date by which the schedule names the tick, where that is not the date of the instant:
    23:30 on Saturday, moved out of a gap to midnight, still belongs to Saturday.
    """
    previous = _tick(previous_tick, zone) if previous_tick is not None else None
    values = {"tick": _tick(tick, zone, local_date), "previous_tick": previous}

    def fill(hole: Hole) -> str:
        return key if hole.name == "key" else _written(values[hole.name], hole.format)

    filled = _render(template.tree, fill)
    assert isinstance(filled, dict)
    return filled


def _tick(instant: datetime, zone: tzinfo, local_date: date | None = None) -> _Tick:
    local = instant.astimezone(zone)
    return _Tick(local, local_date or local.date())


def _written(tick: _Tick | None, pattern: str | None) -> str:
    if tick is None:
        return ""
    if pattern is None:
        return tick.instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return _DIRECTIVE.sub(lambda match: _DIRECTIVES[match[1]](tick), pattern)


def _render(node: Tree, fill: Callable[[Hole], str]) -> object:
    if isinstance(node, Text):
        return "".join(piece if isinstance(piece, str) else fill(piece) for piece in node.pieces)
    if isinstance(node, dict):
        return {name: _render(item, fill) for name, item in node.items()}
    if isinstance(node, list):
        return [_render(item, fill) for item in node]
    return node


def _compile(node: object, path: tuple[str | int, ...], faults: list[TemplateFault]) -> Tree:
    if isinstance(node, str):
        return _compile_text(node, path, faults)
    if isinstance(node, Mapping):
        return {name: _compile(item, (*path, name), faults) for name, item in node.items()}
    if isinstance(node, (list, tuple)):
        return [_compile(item, (*path, number), faults) for number, item in enumerate(node)]
    return node


def _is_fixed(node: Tree) -> bool:
    if isinstance(node, dict):
        return all(map(_is_fixed, node.values()))
    if isinstance(node, list):
        return all(map(_is_fixed, node))
    return not isinstance(node, Text)


def _compile_text(text: str, path: tuple[str | int, ...], faults: list[TemplateFault]) -> str | Text:
    if "{" not in text and "}" not in text:
        return text
    pieces: list[str | Hole] = []
    end = 0
    for match in _PIECE.finditer(text):
        pieces.append(text[end : match.start()])
        end = match.end()
        try:
            pieces.append(_piece(match))
        except _BadPiece as fault:
            faults.append(TemplateFault(path, match.start(), end - match.start(), str(fault)))
    pieces.append(text[end:])
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(map(str, pieces))
    return Text(tuple(piece for piece in pieces if piece != ""))


class _BadPiece(Exception):
    """A sentence about one pair of braces."""


def _piece(match: re.Match[str]) -> str | Hole:
    if match[0] in ("{{", "}}"):
        return match[0][0]
    if match[1] is None:
        raise _BadPiece(f'the brace "{match[0]}" has no partner; write "{match[0] * 2}" for a brace itself')
    name, colon, pattern = match[1].partition(":")
    if name not in _NAMES:
        known = "{tick}, {tick:FORMAT}, {previous_tick}, {previous_tick:FORMAT} and {key}"
        raise _BadPiece(
            f'"{match[0][:60]}" is nothing a template knows: there are {known}; write {{{{ and }}}} for braces'
        )
    if not colon:
        return Hole(name, None)
    _check_format(name, pattern)
    return Hole(name, pattern)


def _check_format(name: str, pattern: str) -> None:
    if name == "key":
        raise _BadPiece("{key} takes no format")
    if not pattern:
        raise _BadPiece(f"the format of {{{name}:}} is empty: write for example {{{name}:%Y-%m-%d}}")
    for match in _DIRECTIVE.finditer(pattern):
        if match[1] not in _DIRECTIVES:
            allowed = " ".join(f"%{letter}" for letter in _DIRECTIVES)
            raise _BadPiece(f'"%{match[1]}" in a format is not one of {allowed}')


def _where(path: tuple[str | int, ...]) -> str:
    return "args" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _week(day: date, first: int) -> int:
    """The week of the year, weeks beginning on `first` (0 is Monday); days before the first one are week 0."""
    return (day.timetuple().tm_yday + 6 - (day.weekday() - first) % 7) // 7


def _offset(instant: datetime) -> str:
    minutes = (instant.utcoffset() or timedelta()) // timedelta(minutes=1)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"


# Written out rather than left to strftime, whose padding and names depend on the platform and the locale.
_DIRECTIVES: dict[str, Callable[[_Tick], str]] = {
    "Y": lambda tick: f"{tick.day.year:04}",
    "y": lambda tick: f"{tick.day.year % 100:02}",
    "m": lambda tick: f"{tick.day.month:02}",
    "B": lambda tick: _MONTHS[tick.day.month - 1],
    "b": lambda tick: _MONTHS[tick.day.month - 1][:3],
    "d": lambda tick: f"{tick.day.day:02}",
    "j": lambda tick: f"{tick.day.timetuple().tm_yday:03}",
    "A": lambda tick: _DAYS[tick.day.weekday()],
    "a": lambda tick: _DAYS[tick.day.weekday()][:3],
    "u": lambda tick: str(tick.day.isoweekday()),
    "w": lambda tick: str(tick.day.isoweekday() % 7),
    "G": lambda tick: f"{tick.day.isocalendar().year:04}",
    "V": lambda tick: f"{tick.day.isocalendar().week:02}",
    "U": lambda tick: f"{_week(tick.day, 6):02}",
    "W": lambda tick: f"{_week(tick.day, 0):02}",
    "H": lambda tick: f"{tick.instant.hour:02}",
    "I": lambda tick: f"{(tick.instant.hour + 11) % 12 + 1:02}",
    "p": lambda tick: "AM" if tick.instant.hour < 12 else "PM",
    "M": lambda tick: f"{tick.instant.minute:02}",
    "S": lambda tick: f"{tick.instant.second:02}",
    "f": lambda tick: f"{tick.instant.microsecond:06}",
    "z": lambda tick: _offset(tick.instant),
    "Z": lambda tick: tick.instant.tzname() or "",
    "%": lambda _: "%",
}
DIRECTIVES = tuple(_DIRECTIVES)
