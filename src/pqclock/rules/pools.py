"""Pools: `mice:2;elephants:1` is two executors for the queue mice and one for elephants."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pqclock.errors import ArgumentError

MAX_EXECUTORS = 1000
_QUEUE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_SIZE = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pool:
    """`size` executors that work `queues`, or with `queues` None every queue but `excluded`."""

    size: int
    queues: tuple[str, ...] | None = None
    excluded: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.queues is not None:
            return f"{','.join(self.queues)}:{self.size}"
        return f"-{','.join(self.excluded)}:{self.size}" if self.excluded else f"*:{self.size}"


def parse_pools(text: str) -> tuple[Pool, ...]:
    """The pools that `text` names; raises ArgumentError for anything else.

    Grammar: pools parted by `;`, each `queues:size`. Queues are names parted by `,` (their order is no priority),
    `*` for all, or `-` and names for all but these. `size` defaults to 1.
    """
    pools = tuple(_parse_pool(part.strip(), text) for part in text.split(";") if part.strip())
    if not pools:
        raise ArgumentError(f"queues {text[:60]!r} name no pool: write for example '*:5' or 'mice:2;elephants:1'")
    return pools


def _parse_pool(part: str, text: str) -> Pool:
    names, colon, size_text = part.partition(":")
    size = _parse_size(size_text.strip(), part) if colon else 1
    names = names.strip()
    if names == "*":
        return Pool(size)
    if names.startswith("-"):
        return Pool(size, excluded=_parse_names(names[1:], text))
    return Pool(size, queues=_parse_names(names, text))


def _parse_size(size_text: str, part: str) -> int:
    if not _SIZE.fullmatch(size_text) or not 1 <= int(size_text) <= MAX_EXECUTORS:
        raise ArgumentError(
            f"pool {part[:60]!r} has the size {size_text[:20]!r}: write a whole number from 1 to {MAX_EXECUTORS}"
        )
    return int(size_text)


def _parse_names(names: str, text: str) -> tuple[str, ...]:
    parsed = tuple(name.strip() for name in names.split(","))
    for name in parsed:
        if not _QUEUE.fullmatch(name):
            raise ArgumentError(
                f"queues {text[:60]!r} hold the name {name[:40]!r}, which is none: use letters, digits, '_', '.' and '-'"
            )
    return tuple(dict.fromkeys(parsed))
