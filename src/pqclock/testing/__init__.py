"""For the tests of those who use pqclock: a real database of its own for each, jobs run here and now, moved time.

pytest finds the fixtures by itself (`pqclock.testing.plugin`). Without pytest there are `bound`, `drain` and `inline`.
Nothing is loaded before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pqclock.testing.binding import bound
    from pqclock.testing.draining import Ran, drain
    from pqclock.testing.inlining import inline

_HOMES = {
    "Ran": "pqclock.testing.draining",
    "bound": "pqclock.testing.binding",
    "drain": "pqclock.testing.draining",
    "inline": "pqclock.testing.inlining",
}

__all__ = ["Ran", "bound", "drain", "inline"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pqclock.testing' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
