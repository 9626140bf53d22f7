"""How values of settings are read whose grammar is elsewhere: ValueError, bare, means what the setting allows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta

LEAST_MEMORY = 64_000_000
SHORTEST_TOKEN = 16
_SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


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


def read_endpoint(value: object) -> str:
    """Where a process listens, as its text."""
    from pqclock.rules.listening import parse_endpoint

    return str(parse_endpoint(read_text(value)))


def read_dashboard(value: object) -> str:
    """Where the dashboard listens, or `off`."""
    return "off" if value is False or value == "off" else read_endpoint(value)


def read_token(value: object) -> str:
    """A secret that is none by accident."""
    text = read_text(value)
    if len(text) < SHORTEST_TOKEN or " " in text:
        raise ValueError
    return text


def read_names(value: object) -> tuple[str, ...]:
    """Names, in a list or parted by commas."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, (list, tuple)):
        raise ValueError
    names = [name.strip() for part in given for name in read_text(part).split(",")]
    if not names or not all(names):
        raise ValueError
    return tuple(names)


def read_command(value: object) -> str:
    """A command line that can be taken apart."""
    import shlex

    text = read_text(value)
    if not shlex.split(text):
        raise ValueError
    return text


def read_url(value: object) -> str:
    """The address of a page."""
    from urllib.parse import urlsplit

    text = read_text(value)
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or " " in text:
        raise ValueError
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


def read_paths(value: object) -> tuple[str, ...]:
    """Paths, in a list or parted as PATH parts them."""
    parts = value.split(os.pathsep) if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not parts:
        raise ValueError
    return tuple(read_text(part) for part in parts)


def read_count(value: object) -> int:
    """A whole number from 1 to 64."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 64:
        raise ValueError
    return value


def read_switch(value: object) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    word = read_text(value).lower()
    if word not in _SWITCHES:
        raise ValueError
    return _SWITCHES[word]
