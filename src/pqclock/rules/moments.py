"""Times as people read them: with their zone, and how long ago or ahead they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from pqclock.rules.durations import format_duration

# Two units are precise enough to act on, and short enough to read.
_ROUNDED = (
    (timedelta(days=7), timedelta(days=1)),
    (timedelta(days=1), timedelta(hours=1)),
    (timedelta(hours=1), timedelta(minutes=1)),
    (timedelta(), timedelta(seconds=1)),
)


def span(length: timedelta) -> str:
    """A length of time in a few characters: `12s`, `1h5m`, `3d4h`."""
    length = abs(length)
    unit = next(unit for least, unit in _ROUNDED if length >= least)
    return format_duration(length // unit * unit)


def relative(instant: datetime, now: datetime) -> str:
    """`in 5m`, `3h ago` or `now`."""
    length = instant - now
    if abs(length) < timedelta(seconds=1):
        return "now"
    return f"in {span(length)}" if length > timedelta() else f"{span(length)} ago"


def absolute(instant: datetime, zone: tzinfo | None = None) -> str:
    """`2026-11-22 02:00:00 CET`, in the zone of this machine unless another is given."""
    return instant.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def moment(instant: datetime | None, now: datetime, zone: tzinfo | None = None) -> str:
    """Both, without the date if that is today's; nothing for no instant."""
    if instant is None:
        return ""
    if instant.year == 9999:
        return "for ever"
    local, today = instant.astimezone(zone), now.astimezone(zone).date()
    shown = local.strftime("%H:%M:%S %Z") if local.date() == today else absolute(instant, zone)
    return f"{shown}, {relative(instant, now)}"


def known_zone(name: str) -> tzinfo:
    """The zone of a schedule; UTC when this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC
