"""What was promised of schedules and queues, and the words in which a broken promise is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from pqclock.errors import DurationError
from pqclock.rules.durations import format_duration, parse_duration
from pqclock.rules.moments import span

NAMED = "latency_"
_WAY_OUT = re.compile(": (?=see |look at |start |end )")


def promise_of(queue: str, declared: Mapping[str, timedelta] | None = None) -> timedelta | None:
    """How long the oldest ready job of a queue may wait: as declared, else as a name like `latency_15m` says."""
    if declared and queue in declared:
        return declared[queue]
    _, found, length = queue.rpartition(NAMED)
    try:
        return parse_duration(length) if found else None
    except DurationError:
        return None


def missed_words(
    key: str, tick: datetime, within: timedelta, job_id: int | None, unplanned: bool, fault: str | None
) -> str:
    """No run of a schedule's tick has begun in time; and where to look."""
    what = f"schedule {key}: no run of the tick {tick:%Y-%m-%dT%H:%M:%SZ} has begun within {format_duration(within)}"
    if fault is not None:
        return f"{what}: the clock has set it aside: {fault}"
    if unplanned:
        return f"{what}, and the clock has not planned it: see `pqclock status`"
    if job_id is None:
        return f"{what}, and it was not caught up: see `pqclock schedules show {key}`"
    return f"{what}: see `pqclock explain {job_id}`"


def slo_words(queue: str, slo: timedelta, waited: timedelta, job_id: int) -> str:
    """A job has waited in a queue for longer than was promised."""
    return (
        f"queue {queue}: jobs wait longer than the {format_duration(slo)} that were promised (job {job_id} did for "
        f"{span(waited)} when this began): see `pqclock jobs list --queue {queue} --state ready` and `pqclock processes`"
    )


def over_words(message: str, lasted: timedelta) -> str:
    """The end of an alarm: what was wrong, without the way out."""
    return f"is over after {span(lasted)}: {_WAY_OUT.split(message, maxsplit=1)[0]}"
