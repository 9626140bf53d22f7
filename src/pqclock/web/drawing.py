"""Pictures as SVG, drawn here: strips of ticks, durations, a heat map of what is coming. Each says in words what it shows.

Colours are classes of the style sheet, so that they follow light and dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

from markupsafe import Markup

STEP, HEIGHT = 5, 18
# What a cell of a strip may be, from calm to alarming; each has a height too, since not everybody sees its colour.
LEVELS: Mapping[str, int] = {
    "succeeded": 8, "waiting": 5, "running": 11, "late": 12, "coalesced": 4, "skipped": 3, "cancelled": 9, "discarded": 9,
    "failed": 18, "gone": 2,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """One tick of a strip: its kind, one of LEVELS, and what a pointer is told."""

    kind: str
    title: str


# Of these a pointer is told nothing: they are as they should be, and there are many.
_PLAIN = ("succeeded", "waiting", "gone")
_SVG = Markup(
    '<svg class="{kind}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{words}">'
    "{drawn}</svg>"
)
_PATH = Markup('<path class="k-{kind}" d="{path}">{title}</path>')
_TITLE = Markup("<title>{}</title>")
_RECT = Markup('<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{rx}">{title}</rect>')
_TEXT = Markup('<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>')


def strip(cells: Sequence[Cell], places: int, words: str) -> Markup:
    """Ticks from the oldest to the newest, as many as there are places; what is as it should be is one path of its kind."""
    plain: dict[str, list[str]] = {}
    drawn = Markup()
    for number, cell in enumerate(cells, places - len(cells)):
        height = LEVELS.get(cell.kind, 8)
        path = f"M{number * STEP} {HEIGHT}v-{height}h{STEP - 1}v{height}z"
        if cell.kind in _PLAIN:
            plain.setdefault(cell.kind, []).append(path)
        else:
            drawn += _PATH.format(kind=cell.kind, path=path, title=_TITLE.format(cell.title))
    for kind, paths in plain.items():
        drawn += _PATH.format(kind=kind, path="".join(paths), title="")
    return _SVG.format(kind="strip", width=places * STEP, height=HEIGHT, words=words, drawn=drawn)


def bars(values: Sequence[tuple[float, str, str]], words: str, height: int = 72) -> Markup:
    """(value, kind, title) from the oldest to the newest: as high as the value, against the highest."""
    most = max((value for value, _, _ in values), default=0.0) or 1.0
    drawn = Markup()
    for number, (value, kind, title) in enumerate(values):
        high = max(2.0, value / most * height)
        drawn += _RECT.format(
            kind=f"k-{kind}", x=number * 10, y=f"{height - high:.1f}", width=8, height=f"{high:.1f}", rx=0,
            title=_TITLE.format(title),
        )  # fmt: skip
    return _SVG.format(kind="bars", width=max(1, len(values)) * 10, height=height, words=words, drawn=drawn)


_LEFT, _TOP, _WIDE, _HIGH = 92, 18, 30, 22


def heat(rows: Sequence[tuple[str, Sequence[float]]], columns: Sequence[str], words: str) -> Markup:
    """A row of cells for each name; the more there is, the darker, in five steps of a logarithm."""
    most = max((value for _, values in rows for value in values), default=0.0)
    drawn = Markup()
    for n, column in enumerate(columns):
        drawn += _TEXT.format(x=_middle(n), y=12, anchor="middle", text=column)
    for line, (name, values) in enumerate(rows):
        y = _TOP + line * _HIGH
        drawn += _TEXT.format(x=_LEFT - 8, y=y + 15, anchor="end", text=name)
        for n, value in enumerate(values):
            drawn += _heat_cell(n, y, value, most)
    width, height = _LEFT + len(columns) * _WIDE, _TOP + len(rows) * _HIGH
    return _SVG.format(kind="heat", width=width, height=height, words=words, drawn=drawn)


def _heat_cell(column: int, y: int, value: float, most: float) -> Markup:
    step = 0 if not value else 1 + min(4, int(5 * log(1 + value) / log(2 + most)))
    cell = _RECT.format(kind="cell", x=_LEFT + column * _WIDE, y=y, width=_WIDE - 2, height=_HIGH - 2, rx=2, title="")
    text = _TEXT.format(x=_middle(column), y=y + 15, anchor="middle", text=_short(value)) if value else ""
    return Markup('<g class="h-{}">{}{}</g>').format(step, cell, text)


def _middle(column: int) -> float:
    return _LEFT + column * _WIDE + _WIDE / 2 - 1


def _short(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value / 1000:.1f}k" if value >= 1_000 else f"{value:.0f}"
