"""What a handler may raise to end its attempt in another way than by failing; none of these spends an attempt."""

from __future__ import annotations

import math
import re
from datetime import timedelta

from pqclock.errors import ArgumentError, DurationError
from pqclock.rules.durations import parse_duration
from pqclock.rules.keys import check_gate

_LONGEST = timedelta(days=36_525).total_seconds()


class Signal(Exception):
    """Base of what a handler raises on purpose."""


class Snooze(Signal):
    """Run the job again after `delay` (a duration such as "5m"), at its own wish."""

    def __init__(self, delay: str | timedelta) -> None:
        self.delay = parse_duration(delay)
        super().__init__(f"snoozed for {delay}")


class Cancel(Signal):
    """End the job as `cancelled`, with the reason; anything else than a text is shown as one."""

    reason = "cancelled by its handler"

    def __init__(self, reason: object = reason) -> None:
        self.reason = str(reason)
        super().__init__(self.reason)


class Cooldown(Signal):
    """Close a gate for the whole fleet, as after an answer with `Retry-After`, and run this job again then.

    `key` is the reference of the gate as tasks and schedules name it, such as "stripe:acct_42" or "warehouse"; every
    throttle and fuse of that name is closed for `delay`: a duration such as "60s", or a number of seconds, as services
    send it. What is not above zero means at once. Raises ArgumentError for what is neither.
    """

    def __init__(self, key: str, delay: str | float | timedelta) -> None:
        self.key = _reference(key)
        self.delay = _seconds(delay)
        super().__init__(f"{key} cools down for {delay}")


def _reference(key: str) -> str:
    """The name of a gate, with its key as it is."""
    try:
        return check_gate(key)
    except ArgumentError as error:
        raise ArgumentError(f"Cooldown(key=...): {error}") from None


def _seconds(delay: object) -> timedelta:
    text = delay.strip() if isinstance(delay, str) else delay
    if isinstance(text, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text, re.ASCII):
        text = float(text)
    if isinstance(text, int | float) and not isinstance(text, bool) and not math.isnan(text):
        return timedelta(seconds=min(max(float(text), 0.0), _LONGEST))
    try:
        return max(text, timedelta()) if isinstance(text, timedelta) else parse_duration(text)  # type: ignore[arg-type]
    except DurationError as error:
        raise ArgumentError(f"Cooldown(delay={delay!r:.60}): {error}; a number is of seconds") from None


class Interruption(BaseException):
    """Base of what is raised inside of a handler from outside. No `except Exception` takes it for a fault of its own."""


class Timeout(Interruption):
    """The job has run longer than its `timeout`: clean up and end; the attempt counts as failed."""


class Cancelled(Interruption):
    """The job was cancelled a while ago, and its handler did not end by itself."""
