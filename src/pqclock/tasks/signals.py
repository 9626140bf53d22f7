"""What a handler may raise to end its attempt in another way than by failing; none of these spends an attempt."""

from __future__ import annotations

import re
from datetime import timedelta

from pqclock.errors import ArgumentError, DurationError
from pqclock.rules.durations import format_duration, parse_duration
from pqclock.rules.keys import check_gate

_SECONDS = re.compile(r"[+-]?[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)


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
    throttle and fuse of that name is closed for `delay`: a duration such as "60s", or seconds, as a number or as the text
    of a `Retry-After`. Zero or less closes nothing, and the job runs again at once.
    """

    def __init__(self, key: str, delay: str | float | timedelta) -> None:
        try:
            self.key = check_gate(key)
        except ArgumentError as error:
            raise ArgumentError(f"Cooldown: key {error}") from None
        self.delay = _cooling(delay)
        super().__init__(f"{self.key} cools down for {format_duration(self.delay)}")


def _cooling(delay: object) -> timedelta:
    """The length of a cooldown, at least zero; raises ArgumentError."""
    try:
        if isinstance(delay, str) and _SECONDS.fullmatch(delay.strip()):
            delay = float(delay)
        if isinstance(delay, int | float) and not isinstance(delay, bool):
            delay = timedelta(seconds=delay)
        if isinstance(delay, timedelta):
            return parse_duration(max(delay, timedelta()))
        return parse_duration(delay)  # type: ignore[arg-type]
    except (ArgumentError, DurationError, OverflowError, ValueError):
        raise ArgumentError(
            f"Cooldown: delay {delay!r:.60} must be seconds, such as 30 or 2.5, or a duration such as '60s', of at most "
            f"100 years"
        ) from None


class Interruption(BaseException):
    """Base of what is raised inside of a handler from outside. No `except Exception` takes it for a fault of its own."""


class Timeout(Interruption):
    """The job has run longer than its `timeout`: clean up and end; the attempt counts as failed."""


class Cancelled(Interruption):
    """The job was cancelled a while ago, and its handler did not end by itself."""
