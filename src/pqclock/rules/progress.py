"""How far a job has come, in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pqclock.rules.durations import format_duration


def progress_words(progress: Mapping[str, Any] | None) -> str:
    """Such as `1,200 of 5,000 (24 %), about 3m left`; empty where nothing is known."""
    done, total = ((progress or {}).get(name) for name in ("done", "total"))
    if done is None:
        return ""
    if not total:
        return f"{done:,} done"
    words = f"{done:,} of {total:,} ({100 * done // total} %)"
    left = time_left(progress or {})
    return words if left is None else f"{words}, about {format_duration(left)} left"


def time_left(progress: Mapping[str, Any]) -> timedelta | None:
    """How long the rest takes if it goes on as so far, in whole seconds; None where that cannot be told."""
    done, total, spent = (progress.get(name) for name in ("done", "total", "spent"))
    if not done or not total or not spent or done >= total:
        return None
    return timedelta(seconds=max(1, round(spent * (total - done) / done)))
