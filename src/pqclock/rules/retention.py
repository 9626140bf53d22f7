"""How long what is over is kept: `succeeded:7d;failed:30d`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pqclock.errors import ArgumentError, DurationError
from pqclock.rules.durations import format_duration, parse_duration
from pqclock.rules.job import TERMINAL

Keep = Mapping[str, timedelta]

# Partitions are of days, and the newest must not be dropped under those who look.
SHORTEST, LONGEST = timedelta(days=1), timedelta(days=36500)
DEFAULT: Keep = {
    "succeeded": timedelta(days=7),
    "failed": timedelta(days=30),
    "cancelled": timedelta(days=14),
    "discarded": timedelta(days=14),
    "ticks": timedelta(days=90),
}


def parse_keep(text: str) -> Keep:
    """How long each outcome of jobs, and `ticks`, is kept: by default what is not named. Raises ArgumentError."""
    keep = dict(DEFAULT)
    named: set[str] = set()
    for part in filter(None, map(str.strip, text.split(";"))):
        name, colon, length = map(str.strip, part.partition(":"))
        if name not in DEFAULT or not colon:
            raise ArgumentError(
                f"keep {part!r:.60} names nothing that is kept: write for example 'succeeded:7d;failed:30d', with "
                f"{', '.join(TERMINAL)} or ticks"
            )
        if name in named:
            raise ArgumentError(f"keep {text!r:.60} names {name} twice: keep one of the two")
        keep[name] = _length(name, length)
        named.add(name)
    if not named:
        raise ArgumentError(f"keep {text!r:.60} names nothing: write for example 'succeeded:7d;failed:30d'")
    return keep


def format_keep(keep: Keep) -> str:
    """The text that `parse_keep` reads."""
    return ";".join(f"{name}:{format_duration(length)}" for name, length in keep.items())


def partitions_kept(keep: Keep) -> dict[str, timedelta]:
    """How long each kind of partition is kept, by its parent's name.

    A failed attempt may be of a job that ended in any way, so it is kept as long as the longest of them.
    """
    longest = max(keep[state] for state in TERMINAL)
    attempts = {
        "succeeded": keep["succeeded"],
        "cancelled": keep["cancelled"],
        **dict.fromkeys(("failed", "crashed", "snoozed", "interrupted"), longest),
    }
    return {
        "tick": keep["ticks"],
        **{f"job_history_{state}": keep[state] for state in TERMINAL},
        **{f"attempt_{outcome}": length for outcome, length in attempts.items()},
    }


def _length(name: str, text: str) -> timedelta:
    try:
        length = parse_duration(text)
    except DurationError as error:
        raise ArgumentError(f"keep {name}: {error}") from None
    if not SHORTEST <= length <= LONGEST:
        raise ArgumentError(f"keep {name}: {text!r:.40} is out of bounds: use 1d to {LONGEST.days}d")
    return length
