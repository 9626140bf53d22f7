"""What a page is asked for in its address: each parameter has a kind and a bound, and what is none is as if it were not there."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

LONGEST = 300
PAGE = 50
MOST_ROWS = 200
_LAST_ID = 2**63 - 1


class Params:
    """The parameters of one request."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def text(self, name: str) -> str | None:
        """A text that the database could hold, or None."""
        value = self._given.get(name, "")
        usable = value and len(value) <= LONGEST and "\x00" not in value
        return value if usable and not any("\ud800" <= char <= "\udfff" for char in value) else None

    def choice(self, name: str, allowed: tuple[str, ...]) -> str | None:
        """One of these, or None."""
        value = self._given.get(name)
        return value if value in allowed else None

    def number(self, name: str, default: int | None = None, most: int = _LAST_ID) -> int | None:
        """A whole number from 1 to `most`, or the default."""
        value = self._given.get(name, "")
        if not (value.isascii() and value.isdecimal()) or len(value) > 19:
            return default
        return min(int(value), most) or default

    def limit(self) -> int:
        """How many rows a page has."""
        return self.number("limit", PAGE, MOST_ROWS) or PAGE

    def address(self, page: str, **changed: object) -> str:
        """The address of a page with what was asked for, but for what is changed; None takes a parameter out."""
        kept = {name: value for name, value in self._given.items() if name not in changed and len(value) <= LONGEST}
        new = {name: str(value) for name, value in changed.items() if value is not None}
        query = urlencode({**kept, **new})
        return f"{page}?{query}" if query else page
