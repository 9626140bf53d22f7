"""The console that tables are drawn on; loaded with the first table, for rich is not light."""

from __future__ import annotations

import sys
from typing import NoReturn

from rich.console import Console

_PIPED_WIDTH = 10_000


class Plain(Console):
    """stdout: no markup or emoji in what it is given, and no folded lines unless a person looks on."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else _PIPED_WIDTH
        super().__init__(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False)

    def on_broken_pipe(self) -> NoReturn:
        """Leave it to the caller of us all, who knows that this is no failure; rich would exit with 1."""
        raise BrokenPipeError
