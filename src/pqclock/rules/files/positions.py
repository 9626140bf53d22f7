"""Where every key and every value of a TOML text stands: the position index.

tomli gives the values and the syntax errors, but not the places of what it parsed. This reads the same text a
second time, for places alone. It is lenient: it never judges a document, it stops where it no longer understands
it. The set of its paths is that of tomli's result (a property test holds the two together); should they ever
disagree, `find` answers with the nearest table above.

It runs before tomli, since it also bounds the work: keys with very many parts, deep nesting, endless numbers and
huge arrays are found here, in one pass, and are not given to tomli.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from contextlib import suppress
from typing import NamedTuple

Path = tuple[str | int, ...]

DEPTH_LIMIT = 100  # tables and arrays in each other
PARTS_LIMIT = 20  # parts of one dotted key
VALUES_LIMIT = 300_000  # keys and array items of one document
NUMBER_LIMIT = 400  # characters of one number or date

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*+)*+")
_SPACE = re.compile(r"[ \t]*+")
_BARE_KEY = re.compile(r"([A-Za-z0-9_-]++)[ \t]*+")
_QUOTED_KEY = re.compile(r"""("(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+""")
# Whole lines of the commonest shapes. Most of a long file are such: gone over at once, and read when asked for.
_SIMPLE_KEY = r"[ \t]*+[A-Za-z0-9_-]++[ \t]*+=[ \t]*+"
_SIMPLE = r'(?:"[^"\\\n]++"|true|false|-?[0-9]{1,18}(?![0-9A-Za-z:._-]))[ \t]*+'
_FLAT_ARRAY = rf"\[[ \t]*+(?:{_SIMPLE}(?:,[ \t]*+)?)*+\][ \t]*+"
_FLAT_TABLE = rf"\{{(?:{_SIMPLE_KEY}{_SIMPLE},?)*+[ \t]*+\}}[ \t]*+"
_LINES = re.compile(rf"(?:{_SIMPLE_KEY}(?:{_SIMPLE}|{_FLAT_ARRAY}|{_FLAT_TABLE})(?:#[^\n]*+)?\n)++")
_HEADER_END = re.compile(r"\]\]?")
_SCALAR = re.compile(
    r'"""(?:[^"\\]++|\\[\s\S]|"(?!""))*+"{3,5}'
    r"|'''(?:[^']++|'(?!''))*+'{3,5}"
    r'|"(?:[^"\\\n]++|\\.)*+"'
    r"|'[^'\n]*+'"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9:.]++(?:[Zz]|[+-][0-9:]++)?"
    r"|[A-Za-z0-9+-][A-Za-z0-9+._:-]*+"
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|(.))")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


class Place(NamedTuple):
    """A stretch of one line; line and column count from 1, in characters."""

    line: int
    column: int
    length: int


class TooMuch(Exception):
    """The document goes beyond a limit; `offset` says where."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class _Lost(Exception):
    """The text is not understood from here on."""


# Offsets: start and end of a key, start and end of its value; of a table, of the header's key and of the header.
Span = tuple[int, int, int, int]


class Positions:
    """The index of one document; made by `index_positions`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.read: dict[Path, Span] = {}
        self.unread: list[tuple[Path, int, int]] = []  # stretches of simple lines, by their table
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    @property
    def spans(self) -> dict[Path, Span]:
        """The span of each path."""
        unread, self.unread = self.unread, []
        for table, start, end in unread:
            _Reader(self).read_lines(table, start, end)
        return self.read

    def find(self, path: Path) -> Span:
        """The span of `path`, else of the nearest table above it, else of the top of the document."""
        if path in self.read:
            return self.read[path]
        for size in range(len(path), 0, -1):
            span = self.spans.get(path[:size])
            if span is not None:
                return span
        return (0, 0, 0, 0)

    def key(self, path: Path) -> Place:
        """Where the key stands (an array item has none: where the item stands)."""
        start, end, _, _ = self.find(path)
        return self.place(start, end)

    def value(self, path: Path) -> Place:
        """Where the value stands; a value of several lines is cut at the end of its first."""
        _, _, start, end = self.find(path)
        return self.place(start, end)

    def line_of(self, path: Path) -> int:
        """The line of the key."""
        return bisect_right(self._lines, self.find(path)[0])

    def place(self, start: int, end: int) -> Place:
        """The place of two offsets, cut at the end of the line."""
        line = bisect_right(self._lines, start)
        newline = self.text.find("\n", start, end)
        stop = end if newline < 0 else newline
        return Place(line, start - self._lines[line - 1] + 1, max(stop - start, 1))

    def line(self, number: int) -> str:
        """The text of a line, without its end."""
        if not 1 <= number <= len(self._lines):
            return ""
        start = self._lines[number - 1]
        end = self._lines[number] - 1 if number < len(self._lines) else len(self.text)
        return self.text[start:end]


def index_positions(text: str) -> Positions:
    """Index a TOML text whose line ends are plain newlines; raises TooMuch where it goes beyond a limit."""
    index = Positions(text)
    with suppress(_Lost):  # tomli has the syntax error
        _Reader(index).read_document()
    return index


class _Reader:
    def __init__(self, index: Positions) -> None:
        self.text = index.text
        self.index = index
        self.spans = index.read
        self.passed = 0  # keys and items gone over, and not read
        self.lists: dict[Path, int] = {}  # arrays of tables: how many so far
        self.explicit: set[Path] = set()  # tables that have a header of their own

    def read_document(self) -> None:
        text, offset = self.text, 0
        table: Path = ()
        # A header or a long value ends before its newline, so blanks come first.
        while (offset := self.blank(self.pass_lines(self.blank(offset), table))) < len(text):
            if text.startswith("[", offset):
                offset, table = self.read_header(offset)
            else:
                offset = self.read_pair(offset, table, self.lists)

    def pass_lines(self, offset: int, table: Path) -> int:
        """Go over lines of the commonest shapes, as many as there are."""
        match = _LINES.match(self.text, offset)
        if match is None:
            return offset
        end = match.end()
        self.index.unread.append((table, offset, end))
        self.passed += self.text.count("\n", offset, end) + self.text.count(",", offset, end)
        self.check_size(offset)
        return end

    def read_lines(self, table: Path, offset: int, end: int) -> None:
        """Read the lines that `pass_lines` went over."""
        with suppress(_Lost, TooMuch):
            while offset < end:
                offset = self.blank(self.read_pair(self.blank(offset), table, {}))

    def read_header(self, start: int) -> tuple[int, Path]:
        listed = self.text.startswith("[[", start)
        offset, parts = self.read_key(self.space(start + 1 + listed))
        end = _HEADER_END.match(self.text, offset)
        if end is None:
            raise _Lost
        path = self.enter((), parts[:-1], end.end(), self.lists)
        name, key_start, key_end = parts[-1]
        path = (*path, name)
        span = (key_start, key_end, start, end.end())
        if listed:
            self.spans.setdefault(path, span)
            self.lists[path] = number = self.lists.get(path, -1) + 1
            path = (*path, number)
        if path not in self.explicit:
            self.explicit.add(path)
            self.add(path, span)
        return end.end(), path

    def read_pair(self, start: int, table: Path, lists: dict[Path, int]) -> int:
        offset, parts = self.read_key(start)
        if not self.text.startswith("=", offset):
            raise _Lost
        path = self.enter(table, parts[:-1], offset, lists)
        name, key_start, key_end = parts[-1]
        return self.read_value(self.space(offset + 1), (*path, name), key_start, key_end)

    def read_key(self, offset: int) -> tuple[int, list[tuple[str, int, int]]]:
        """The parts of a dotted key, each with its place; the offset after it and the space behind it."""
        parts = []
        while True:
            match = _BARE_KEY.match(self.text, offset) or _QUOTED_KEY.match(self.text, offset)
            if match is None:
                raise _Lost
            parts.append((_plain(match[1]), match.start(1), match.end(1)))
            if len(parts) > PARTS_LIMIT:
                raise TooMuch(f"a key of more than {PARTS_LIMIT} parts", parts[0][1])
            offset = match.end()
            if not self.text.startswith(".", offset):
                return offset, parts
            offset = self.space(offset + 1)

    def enter(self, path: Path, parts: list[tuple[str, int, int]], end: int, lists: dict[Path, int]) -> Path:
        """The path that `parts` lead to from `path`, through the last items of arrays of tables."""
        for name, key_start, key_end in parts:
            path = (*path, name)
            if path not in self.spans:
                self.add(path, (key_start, key_end, parts[0][1], end))
            if path in lists:
                path = (*path, lists[path])
        return path

    def read_value(self, start: int, path: Path, key_start: int, key_end: int) -> int:
        match = _SCALAR.match(self.text, start)
        if match is not None:
            end = match.end()
            if end - start > NUMBER_LIMIT and self.text[start] not in "\"'":
                raise TooMuch(f"a number of more than {NUMBER_LIMIT} characters", start)
            self.add(path, (key_start, key_end, start, end))
            return end
        # The end of a container is not known yet: until it is, the opening bracket stands for it.
        self.add(path, (key_start, key_end, start, start + 1))
        if self.text.startswith("[", start):
            end = self.read_array(start + 1, path)
        elif self.text.startswith("{", start):
            end = self.read_inline_table(start + 1, path)
        else:
            raise _Lost
        self.spans[path] = (key_start, key_end, start, end)
        return end

    def read_array(self, offset: int, path: Path) -> int:
        number = 0
        while not self.text.startswith("]", offset := self.blank(offset)):
            offset = self.blank(self.read_value(offset, (*path, number), offset, offset + 1))
            offset = self.comma(offset, "]")
            number += 1
        return offset + 1

    def read_inline_table(self, offset: int, path: Path) -> int:
        while not self.text.startswith("}", offset := self.blank(offset)):
            offset = self.comma(self.blank(self.read_pair(offset, path, {})), "}")
        return offset + 1

    def comma(self, offset: int, closing: str) -> int:
        if self.text.startswith(",", offset):
            return offset + 1
        if self.text.startswith(closing, offset):
            return offset
        raise _Lost

    def add(self, path: Path, span: Span) -> None:
        self.spans[path] = span
        if len(path) > DEPTH_LIMIT:
            raise TooMuch(f"nesting of more than {DEPTH_LIMIT} levels", span[2])
        self.check_size(span[2])

    def check_size(self, offset: int) -> None:
        if len(self.spans) + self.passed > VALUES_LIMIT:
            raise TooMuch(f"more than {VALUES_LIMIT:,} keys and array items", offset)

    def blank(self, offset: int) -> int:
        match = _BLANK.match(self.text, offset)
        return match.end() if match else offset

    def space(self, offset: int) -> int:
        match = _SPACE.match(self.text, offset)
        return match.end() if match else offset


def _plain(key: str) -> str:
    """The name that a bare or quoted key stands for."""
    if key[0] == '"':
        return _ESCAPE.sub(_unescape, key[1:-1]) if "\\" in key else key[1:-1]
    return key[1:-1] if key[0] == "'" else key


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code is None:
        return _ESCAPED.get(match[4], match[4])
    if int(code, 16) > 0x10FFFF:
        raise _Lost
    return chr(int(code, 16))
