"""Keys for a what-if: templates such as `{account}` over the arguments of jobs of the past."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pqclock.errors import ArgumentError

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PATH = re.compile(r"[^\s{}.:]+(?:\.[^\s{}.:]+)*")


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """Texts, and the paths of what stands between them; made by `compile_key`."""

    pieces: tuple[str | tuple[str, ...], ...]

    def render(self, args: Mapping[str, object]) -> str | None:
        """The key of these arguments; None where a field is missing or null."""
        texts = [piece if isinstance(piece, str) else _text(args, piece) for piece in self.pieces]
        return None if None in texts else "".join(text for text in texts if text is not None)


def compile_key(template: str) -> KeyTemplate:
    """Read a template: `{account}`, `{args.account}`, `{order.customer}`; `{{` is a brace. Raises ArgumentError."""
    pieces: list[str | tuple[str, ...]] = []
    end = 0
    for match in _PIECE.finditer(template):
        pieces.append(template[end : match.start()])
        end = match.end()
        if match[0] in ("{{", "}}"):
            pieces.append(match[0][0])
            continue
        path = match[1]
        if path is None or not _PATH.fullmatch(path):
            raise ArgumentError(
                f"key {template!r:.100}: {match[0]!r:.60} is no field: write for example {{account}}, or {{{{ for a brace"
            )
        names = tuple(path.split("."))
        pieces.append(names[1:] if names[0] == "args" and len(names) > 1 else names)
    return KeyTemplate(tuple(piece for piece in (*pieces, template[end:]) if piece))


def _text(args: Mapping[str, object], path: tuple[str, ...]) -> str | None:
    value: object = args
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    if value is None:
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
