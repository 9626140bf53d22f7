"""How far ahead of their time ticks are inserted, and when that is done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pqclock.rules.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Ahead:
    """How far ahead of their time ticks are inserted, and how much of that may be left when there are more planned."""

    most: timedelta
    least: timedelta

    def horizon(self, schedule: Schedule) -> timedelta:
        """What is judged by what is unfinished at its time is not inserted ahead of it."""
        return timedelta() if schedule.judged_when_due else self.most

    def first_plan_at(self, schedule: Schedule, look_at: datetime | None) -> datetime | None:
        """When to plan what comes at `look_at`, where nothing is planned yet."""
        return look_at if look_at is None or schedule.judged_when_due else look_at - self.most

    def plan_at(self, schedule: Schedule, look_at: datetime | None) -> datetime | None:
        """When to plan what comes at `look_at`."""
        return look_at if look_at is None or schedule.judged_when_due else look_at - self.least


# A schedule is planned again when less than half of a minute is left, so that one that ticks every second is planned
# every half minute.
AHEAD = Ahead(timedelta(seconds=60), timedelta(seconds=30))
