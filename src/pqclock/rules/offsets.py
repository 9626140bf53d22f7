"""When the job of a tick is due: the tick, moved by the schedule's spread and jitter."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b

from pqclock.rules.schedule import Schedule

_MILLISECOND = timedelta(milliseconds=1)


def run_at(schedule: Schedule, tick: datetime) -> datetime:
    """When the tick's job is due: the tick moved by the schedule's spread (fixed) and jitter (another for each tick).

    Both are hashes, so every leader comes to the same answer.
    """
    moved = tick
    if schedule.spread:
        moved += offset(schedule.key, schedule.spread)
    if schedule.jitter:
        moved += offset(f"{schedule.key} {int(tick.timestamp())}", schedule.jitter)
    return moved


def offset(text: str, window: timedelta) -> timedelta:
    """An offset within `window`, in whole milliseconds, from 64 bits of BLAKE2b over the text: the same for ever."""
    number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
    return number % max(1, window // _MILLISECOND) * _MILLISECOND
