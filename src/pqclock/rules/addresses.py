"""What an address of a database may look like, judged before anybody connects or shows it."""

from __future__ import annotations

import re

_URL = re.compile(r"postgres(ql)?(\+\w+)?://|\s*[a-z_]+\s*=", re.ASCII)
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def check_database_url(value: object) -> str:
    """An address as it was given; raises ValueError with a sentence that never shows it, nor its password."""
    text = _plain(value)
    if _URL.match(text) is None:
        raise ValueError("the address is none of PostgreSQL: use postgresql://user:password@host:5432/database")
    if "://" in text and _misplaced_at(text):
        raise ValueError(
            "the address holds an @ too many: write %40 for an @, %2F for a / and %23 for a # of a password"
        )
    if "://" in text and _BROKEN_ESCAPE.search(text):
        raise ValueError("the address holds a % without two hex digits after it: write %25 for a % of a password")
    return text


def _misplaced_at(address: str) -> bool:
    """Whether the parts come apart elsewhere than meant: what follows would be taken for the host, and shown."""
    authority, _, rest = address.partition("://")[2].partition("/")
    return authority.count("@") > 1 or "@" in rest.partition("?")[0] or "#" in authority


def _plain(value: object) -> str:
    if not isinstance(value, str) or not value or any(char < " " or char == "\x7f" for char in value):
        raise ValueError
    return value
