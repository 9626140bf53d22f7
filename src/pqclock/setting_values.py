"""How values of settings are read whose grammar is elsewhere: ValueError, bare, means what the setting allows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

LEAST_MEMORY = 64_000_000


def read_text(value: object) -> str:
    """A text without control characters."""
    if not isinstance(value, str) or not value or any(char < " " or char == "\x7f" for char in value):
        raise ValueError
    return value


def read_pools(value: object) -> str:
    """Pools of executors, as their text."""
    from pqclock.rules.pools import parse_pools

    text = read_text(value)
    parse_pools(text)
    return text


def read_keep(value: object) -> str:
    """How long what is over is kept, as its text; a table of it is one too."""
    from pqclock.rules.retention import parse_keep

    if isinstance(value, Mapping):
        value = ";".join(f"{name}:{length}" for name, length in value.items())
    text = read_text(value)
    parse_keep(text)
    return text


def read_limit(value: object) -> int:
    """A whole number above zero."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:18])
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError
    return value


def read_size(value: object) -> int:
    """An amount of memory in bytes, such as 500MB or 1GB."""
    text = read_text(value).upper().removesuffix("B").strip()
    unit = {"K": 10**3, "M": 10**6, "G": 10**9}.get(text[-1:], 1)
    return read_limit(text.rstrip("KMG").strip()) * unit


def read_memory(value: object) -> int:
    """What a process may come to have, in bytes: no less than one has that does nothing, which would never work."""
    size = read_size(value)
    if size < LEAST_MEMORY:
        raise ValueError
    return size


def read_duration(value: object) -> timedelta:
    """A length of time."""
    from pqclock.rules.durations import parse_duration

    if not isinstance(value, (str, timedelta)):
        raise ValueError
    return parse_duration(value)
