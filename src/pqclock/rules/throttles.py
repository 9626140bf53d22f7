"""Throttles: how many starts in a time, how many at the same time. The model to which the claim in SQL is held.

The rate is kept by GCRA, one instant for each gate: `tat_ns` is when the next start would be due if starts came evenly,
in nanoseconds since 1970. Nothing is counted, and the same instant says when the gate opens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pqclock.rules.durations import parse_duration

# The part of a rate that may come at once where nothing is said: what it takes from the steady rate is as little.
_DEFAULT_BURST_SHARE = 25
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most `rate` starts in any half-open window of `per`, at most `concurrency` running; None is no limit."""

    rate: int | None = None
    per: timedelta | None = None
    burst: int | None = None
    concurrency: int | None = None

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> Throttle:
        """The throttle that a checked definition declares, with the default burst."""
        concurrency = definition.get("concurrency")
        if "rate" not in definition:
            return cls(concurrency=concurrency)
        number, _, window = definition["rate"].partition("/")
        rate = int(number)
        return cls(rate, parse_duration(window), definition.get("burst", default_burst(rate)), concurrency)

    @property
    def interval_ns(self) -> int | None:
        """Nanoseconds between two starts once the burst is used up, rounded up.

        A burst and the even starts after it fall into one window, so the even ones must leave room for the burst: that
        is what makes the rate hold in every window and not only in the long run.
        """
        if self.rate is None or self.per is None or self.burst is None:
            return None
        return -(-nanoseconds(self.per) // (self.rate - self.burst + 1))

    def opens_ns(self, tat_ns: int, units: int = 1) -> int | None:
        """When a start of so many units is allowed by the rate; None is at any time.

        One of more units than the burst waits until the room for all of them has come together.
        """
        interval = self.interval_ns
        return None if interval is None or self.burst is None else tat_ns + (units - self.burst) * interval

    def allows(self, tat_ns: int, now_ns: int, units: int = 1) -> bool:
        """Whether the rate allows a start now."""
        opens = self.opens_ns(tat_ns, units)
        return opens is None or now_ns >= opens

    def started(self, tat_ns: int, now_ns: int, units: int = 1) -> int:
        """The gate's instant after a start."""
        interval = self.interval_ns
        return tat_ns if interval is None else max(tat_ns, now_ns) + units * interval

    def clamped(self, tat_ns: int, now_ns: int) -> int:
        """The gate's instant when this throttle takes the place of another: no later than after a whole rate now.

        What a slower rule has written down must not hold up the faster one for long. A job may have taken as many units
        as the rate at once, and nobody knows any more whether one has: so much room, about a window, has to be left
        where it is, else a window that begins before the change could see too much. It never touches what this
        throttle has written itself.
        """
        interval = self.interval_ns
        return tat_ns if interval is None or self.rate is None else min(tat_ns, now_ns + self.rate * interval)


def default_burst(rate: int) -> int:
    """1 + floor(4 % of the rate)."""
    return 1 + rate // _DEFAULT_BURST_SHARE


def nanoseconds(length: timedelta) -> int:
    """A length of time in nanoseconds."""
    return length // _MICROSECOND * 1000
