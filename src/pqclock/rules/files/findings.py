"""Findings: what is wrong in a schedule file, where, and what would be right, as a compiler says it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

_LINE_WIDTH = 120
_COMPARED = 500  # more names, or longer words, are not compared: it would be slow
_WORD_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault (`error`) or doubt (`warning`) of a schedule file; lines and columns count from 1.

    `source_line` is the line, or the part of a long one around the fault; `caret` is the fault's column in it.
    """

    severity: str
    file: str
    line: int
    column: int
    length: int
    key: str
    value: str
    message: str
    source_line: str
    caret: int

    def render(self) -> str:
        """`file:line:column: error: message`, the line itself, carets under the fault; safe to print."""
        place = f"{printable(self.file)}:{self.line}:{self.column}"
        first = f"{place}: {self.severity}: {printable(self.message)}"
        return "\n".join((first, *_marked(self.source_line, self.caret - 1, self.length)))

    def as_dict(self) -> dict[str, object]:
        """The fields, for `--json`."""
        return {name: getattr(self, name) for name in self.__slots__}


def printable(text: str, width: int | None = None) -> str:
    """`text` with what a terminal would obey or hide written as escapes, cut to `width` characters."""
    if width is not None and len(text) > width:
        text = text[: width - 3] + "..."
    return text if text.isprintable() else "".join(map(_escaped, text))


def show(value: object) -> str:
    """A value in a message: as TOML would write it, short and printable."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{printable(value, 60)}"'
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "a huge number"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, (list, tuple)):
        return "a list"
    return printable(str(value), 60)


def dotted(path: Iterable[str | int]) -> str:
    """A key path as people write it: `schedule.nightly.labels[2]`, with quotes where TOML wants them."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        bare = part.isascii() and part.replace("-", "").replace("_", "").isalnum()
        text += ("." if text else "") + (printable(part, 100) if bare else show(part))
    return text


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name that `word` was probably meant to be."""
    names = tuple(names)
    if len(word) > _WORD_WIDTH or len(names) > _COMPARED:
        return None
    return _nearest(word.lower(), names)


def hint(word: str, names: Iterable[str]) -> str:
    """`; did you mean "name"?`, or nothing."""
    name = nearest(word, names)
    return f"; did you mean {show(name)}?" if name else ""


@lru_cache(maxsize=1024)
def _nearest(word: str, names: tuple[str, ...]) -> str | None:
    from difflib import get_close_matches

    close = get_close_matches(word, names, n=1, cutoff=0.6)
    return close[0] if close else None


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def excerpt(line: str, column: int) -> tuple[str, int]:
    """A line, or the part of a long one around the column; and the column in it."""
    start = max(0, column - 1 - _LINE_WIDTH // 2) if len(line) > _LINE_WIDTH else 0
    return line[start : start + _LINE_WIDTH], column - start


def _marked(line: str, fault: int, length: int) -> tuple[str, ...]:
    """The line, and carets under the fault."""
    if not line.strip():
        return ()
    before, under = _visible(line[:fault]), _visible(line[fault : fault + length])
    return (
        f"  {before}{under}{_visible(line[fault + length :])}",
        f"  {' ' * _columns(before)}{'^' * max(1, _columns(under))}",
    )


def _visible(text: str) -> str:
    return printable(text.replace("\t", " "))


def _columns(text: str) -> int:
    """The width on a terminal: East Asian characters take two columns, combining ones none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)
