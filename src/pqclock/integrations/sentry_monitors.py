"""Monitors of Sentry: a check-in when the run of a tick begins, and when it has ended, with the schedule beside it."""

from __future__ import annotations

from typing import Any

from pqclock.integrations.checkins import BEGUN, SUCCEEDED, CheckIn
from pqclock.integrations.needing import needing
from pqclock.rules.monitors import Monitored, in_minutes, in_units, slug_of

with needing("sentry_sdk", "sentry"):
    import sentry_sdk
    from sentry_sdk.crons import capture_checkin

LONGEST_SLUG = 50
_STATUSES = {BEGUN: "in_progress", SUCCEEDED: "ok"}


class Monitors:
    """The service, by whatever client the process has set up."""

    def send(self, checked: CheckIn) -> None:
        """Check in; the SDK sends it with the rest of what it has to say."""
        if sentry_sdk.is_initialized():
            capture_checkin(
                monitor_slug=slug_of(checked.key)[:LONGEST_SLUG],
                check_in_id=checked.id.hex,
                status=_STATUSES.get(checked.status, "error"),
                duration=checked.seconds,
                monitor_config=None if checked.schedule is None else config(checked.schedule),
            )


def config(schedule: Monitored) -> Any:
    """The schedule as Sentry takes it, by which it makes the monitor; None for a period that is no whole minutes."""
    if schedule.cron is not None:
        when: dict[str, object] = {"type": "crontab", "value": schedule.cron}
    else:
        assert schedule.every is not None
        found = in_units(schedule.every)
        if found is None:
            return None
        when = {"type": "interval", "value": found[0], "unit": found[1]}
    return {
        "schedule": when, "timezone": schedule.timezone, "checkin_margin": in_minutes(schedule.margin),
        "max_runtime": in_minutes(schedule.longest),
    }  # fmt: skip
