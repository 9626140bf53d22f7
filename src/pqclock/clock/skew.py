"""How far this machine's clock is from the database's, and what follows.

Every decision takes the database's time, so a difference does no harm by itself. But one of the two clocks is wrong, and
nobody can say which: far apart, this clock does not lead.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pqclock.alarms import Alarm, Tell

WARN_ABOVE = 0.5
REFUSE_ABOVE = 30.0
# Somewhere in a longer round trip the database has told its time: too inexact.
ROUND_TRIP_LIMIT = 1.0
# What was found too much is too much until it is half of that: no coming and going at the limit.
UNTIL = 0.5


class Skew:
    """The difference as last measured: `seconds`, positive when this machine is ahead, None before."""

    def __init__(self, warn: Tell, refuse: Tell) -> None:
        self.seconds: float | None = None
        self._small = Alarm("skew", warn)
        self._large = Alarm("skew", refuse)

    @property
    def refuses(self) -> bool:
        """Whether the clocks are so far apart that this one must not lead."""
        return self._large.raised

    def measure(self, there: datetime, here: datetime, sent: float, received: float) -> None:
        """Take what the database said between two monotonic times, and this machine's time at the latter."""
        trip = received - sent
        if trip > ROUND_TRIP_LIMIT:
            return
        here -= timedelta(seconds=trip / 2)
        self.seconds = (here - there).total_seconds()
        large = self._exceeds(REFUSE_ABOVE, self._large)
        self._large.look(_refusal(here, there, self.seconds) if large else None, received)
        small = not large and self._exceeds(WARN_ABOVE, self._small)
        self._small.look(_warning(here, there, self.seconds) if small else None, received)

    def _exceeds(self, limit: float, alarm: Alarm) -> bool:
        assert self.seconds is not None
        return abs(self.seconds) > (limit * UNTIL if alarm.raised else limit)


def _warning(here: datetime, there: datetime, seconds: float) -> str:
    return f"{_apart(here, there, seconds)}: the database's time is the one that counts: have both machines set by NTP"


def _refusal(here: datetime, there: datetime, seconds: float) -> str:
    return (
        f"{_apart(here, there, seconds)}, so one of them is wrong: this clock does not lead until they are within "
        f"{REFUSE_ABOVE * UNTIL:.0f} s, and no schedule ticks unless another clock leads: have both machines set by NTP"
    )


def _apart(here: datetime, there: datetime, seconds: float) -> str:
    which = "ahead of" if seconds > 0 else "behind"
    return (
        f"this machine's clock is {abs(seconds):.1f} s {which} the database's "
        f"({here:%Y-%m-%d %H:%M:%S.%f} UTC here, {there:%Y-%m-%d %H:%M:%S.%f} UTC there)"
    )
