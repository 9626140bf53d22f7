"""What a handler may raise to end its attempt in another way than by failing; none of these spends an attempt."""

from __future__ import annotations

from datetime import timedelta

from pqclock.rules.durations import parse_duration


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
    throttle and fuse of that name is closed for `delay` (a duration such as "60s").
    """

    def __init__(self, key: str, delay: str | timedelta) -> None:
        self.key = key
        self.delay = parse_duration(delay)
        super().__init__(f"{key} cools down for {delay}")


class Interruption(BaseException):
    """Base of what is raised inside of a handler from outside. No `except Exception` takes it for a fault of its own."""


class Timeout(Interruption):
    """The job has run longer than its `timeout`: clean up and end; the attempt counts as failed."""


class Cancelled(Interruption):
    """The job was cancelled a while ago, and its handler did not end by itself."""
