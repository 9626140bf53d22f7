"""What goes to stdout: JSON objects for tools, tables for people; and hints for people on stderr.

Texts from the database come from anybody: on a terminal they are shown with escapes, never obeyed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pqclock.cli.widths import GAP, fit, least_width, natural_width, spared
from pqclock.logs import printable, storable
from pqclock.rules.durations import format_duration

if TYPE_CHECKING:
    from rich.console import RenderableType

VERSION = 1

_CELL_WIDTH = 200
_STYLES = {
    "succeeded": "green",
    "running": "cyan",
    "failed": "red",
    "crashed": "red",
    "cancelled": "yellow",
    "discarded": "yellow",
    "paused": "yellow",
    "waiting": "yellow",
    "blown": "red",
    "half open": "yellow",
    "undeclared": "red",
}


def print_json(noun: str, rows: Iterable[object], cursor: str | None = None, **more: Iterable[object]) -> None:
    """One object on one line: version, the rows under their noun, further lists, and the cursor."""
    lists = {name: [plain(row) for row in listed] for name, listed in {noun: rows, **more}.items()}
    print(json.dumps(storable({"version": VERSION, **lists, "next": cursor})), flush=True)


def plain(value: object) -> Any:
    """A value as JSON has it; instants in ISO 8601, UTC, with Z."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return format_duration(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], cursor: str | None = None, *, optional: Sequence[str] = ()
) -> None:
    """A table on stdout, and on stderr how to see more."""
    show(table(columns, rows, optional=optional))
    if cursor is not None:
        say(f"more: --cursor {cursor}")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, optional: Sequence[str] = ()) -> RenderableType:
    """Aligned columns: in a pipe each row is one line and no column is missing.

    On a terminal empty columns are left out, lines are broken between words, and where there is no room for whole words
    the optional columns go, the first one first.
    """
    cells = [[cell(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        return _drawn(columns, cells, list(range(len(columns))), None)
    shown = [at for at, _ in enumerate(columns) if at == 0 or any(row[at] for row in cells)]
    texts = {at: [columns[at], *(row[at] for row in cells)] for at in shown}
    room = _room()
    least = [natural_width(texts[at]) if at == 0 else least_width(texts[at]) for at in shown]
    giving = [shown.index(at) for name in optional if (at := columns.index(name)) in shown]
    left_out = [shown[at] for at in spared(least, giving, room)]
    kept = [at for at in shown if at not in left_out]
    least = [width for width, at in zip(least, shown, strict=True) if at in kept]
    widths = fit([natural_width(texts[at]) for at in kept], least, room - GAP * (len(kept) - 1))
    return _drawn(columns, cells, kept, widths, [columns[at] for at in left_out])


def _room() -> int:
    from pqclock.cli.console import Plain

    return Plain().width


def _drawn(
    columns: Sequence[str],
    cells: Sequence[Sequence[str]],
    shown: Sequence[int],
    widths: Sequence[int] | None,
    left_out: Sequence[str] = (),
) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for place, at in enumerate(shown):
        width = None if widths is None else widths[place]
        drawn.add_column(Text(columns[at]), no_wrap=widths is None, overflow="fold", width=width)
    for row in cells:
        drawn.add_row(*(Text(row[at], style=_STYLES.get(row[at], "")) for at in shown))
    if left_out:
        drawn.caption = Text(f"left out, for want of width: {', '.join(left_out)}", style="dim")
        drawn.caption_justify = "left"
    return drawn


def details(pairs: Iterable[tuple[str, object]]) -> RenderableType:
    """Name and value of one thing, a line each; empty ones are left out."""
    from rich.text import Text

    shown = [(name, cell(value, 2000)) for name, value in pairs]
    shown = [(name, value) for name, value in shown if value]
    width = max((len(name) for name, _ in shown), default=0)
    return Text("\n").join(
        Text.assemble((name.ljust(width), "bold"), "  ", (value, _STYLES.get(value, ""))) for name, value in shown
    )


def heading(text: str, *, first: bool = False) -> RenderableType:
    """A line above a table, and an empty one above it unless it is the first of all."""
    from rich.text import Text

    return Text(text if first else f"\n{text}", style="bold")


def show(*parts: RenderableType) -> None:
    """Print the parts on stdout, with colours only where they are wanted (a terminal, NO_COLOR, FORCE_COLOR)."""
    from pqclock.cli.console import Plain

    console = Plain()
    if sys.stdout.isatty():
        for part in parts:
            console.print(part)
        return
    # Columns are filled up with blanks, which nobody wants at the end of a line.
    with console.capture() as drawn:
        for part in parts:
            console.print(part)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines()))


def say(text: str) -> None:
    """A message for people, on stderr."""
    print("\n".join(printable(line) for line in text.splitlines()), file=sys.stderr)


def cell(value: object, width: int = _CELL_WIDTH) -> str:
    """A value on one line that is safe to show."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    elif isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False)
    text = str(value)
    return printable(text if len(text) <= width else text[: width - 3] + "...")
