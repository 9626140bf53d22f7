"""How wide the columns of a table are on a terminal: words stay whole, and what matters least gives way."""

from __future__ import annotations

from collections.abc import Sequence

GAP = 2
# A longer word may be broken.
_LONGEST_WORD = 30
_NARROWEST = 4


def natural_width(texts: Sequence[str]) -> int:
    """The cells that a column takes where no line is broken."""
    from rich.cells import cell_len

    return max(map(cell_len, texts), default=0)


def least_width(texts: Sequence[str]) -> int:
    """The cells of its longest word."""
    from rich.cells import cell_len

    return max((min(cell_len(word), _LONGEST_WORD) for text in texts for word in text.split()), default=0)


def fit(natural: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """A width for each column: its natural one, where there is room; else at least its least, where that can be."""
    widths = list(least)
    while sum(widths) > room and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    while (left := room - sum(widths)) > 0:
        growing = [at for at, width in enumerate(widths) if width < natural[at]]
        if not growing:
            break
        share = max(left // len(growing), 1)
        for at in growing[:left]:
            widths[at] += min(share, natural[at] - widths[at])
    return widths


def spared(least: Sequence[int], optional: Sequence[int], room: int) -> list[int]:
    """The columns that are left out, of the optional ones in their order, so that the others keep their words."""
    left_out: list[int] = []
    kept = list(range(len(least)))
    for at in optional:
        if sum(least[one] for one in kept) + GAP * (len(kept) - 1) <= room:
            break
        kept.remove(at)
        left_out.append(at)
    return left_out
