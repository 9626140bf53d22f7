"""The checks of `pqclock doctor` about time zones: Python's data make the ticks, the server's are what SQL shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pqclock.cli.verdicts import Result, ok, problem, some, warning
from pqclock.store import health

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from pqclock.store.database import Session

# Zones whose rules were changed of late: old data are wrong about one of them.
_TELLING = ("Africa/Cairo", "America/Asuncion", "America/Mexico_City", "Asia/Almaty", "Europe/Berlin")
_MOST_ZONES = 30
_AHEAD = 400
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


def check_zone_data() -> Result:
    """Where Python has its zones from; the folders of the system go before the package."""
    from importlib.metadata import version
    from zoneinfo import TZPATH, available_timezones

    folder = next((place for place in map(Path, TZPATH) if (place / "Europe" / "Berlin").is_file()), None)
    package = f"package tzdata {version('tzdata')}"
    used = package if folder is None else f"{folder}, {_version(folder)}, before the {package}"
    return ok(f"Python knows {len(available_timezones())} zones, from {used}")


def _version(folder: Path) -> str:
    """What the folder says of its age, in the file that most systems have there."""
    try:
        with (folder / "tzdata.zi").open(encoding="ascii", errors="replace") as file:
            first = file.readline(100).split()
    except OSError:
        first = []
    return f"version {first[2]}" if first[:2] == ["#", "version"] and len(first) == 3 else "of unknown version"


def check_zones(session: Session) -> Result:
    """Whether the zones of schedules are known here and to the server, and have the same offsets next year."""
    from zoneinfo import available_timezones

    zones, here = health.zones(session), available_timezones()
    strange = some({one.zone for one in zones if one.zone not in here})
    if strange:
        return problem(f"this machine does not know the zones {strange} of schedules: upgrade the package tzdata")
    older = some({one.zone for one in zones if not one.known})
    if older:
        return warning(
            f"the server does not know the zones {older}, so its zone data is old: ticks are right all the same"
        )
    used = {one.zone for one in zones}
    differing = _differing(session, used)
    for zone, instant in sorted(differing.items()):
        if zone in used:
            return warning(
                f"this machine and the server differ about {zone} on {instant:%Y-%m-%d}, so one has old zone data: "
                "ticks go by this machine's, so renew the data here and where clocks run, then the server's"
            )
    others = f"; others differ from the server's ({some(differing)}), as one has old data" if differing else ""
    return ok(f"{len(zones)} in use, known here and to the server with the same rules{others}")


def _differing(session: Session, used: Iterable[str]) -> dict[str, datetime]:
    """Zones about which this machine and the server do not agree, and the first time when they do not."""
    from zoneinfo import ZoneInfo, available_timezones

    from pqclock.loop import now

    # The server takes a name without a slash for an abbreviation, with one offset for ever.
    names = [name for name in (*sorted(used)[:_MOST_ZONES], *_TELLING) if "/" in name]
    begin = now().replace(hour=0, minute=0, second=0, microsecond=0)
    samples = [
        (name, instant, offset)
        for name in dict.fromkeys(names)
        if name in available_timezones()
        for instant, offset in _samples(ZoneInfo(name), begin)
    ]
    return health.differing_zones(session, samples)


def _samples(zone: ZoneInfo, begin: datetime) -> Iterator[tuple[datetime, float]]:
    """Offsets from UTC in seconds: once a day, and on both sides of each change."""
    for day in range(_AHEAD):
        instant = begin + day * _DAY
        yield instant, _offset(zone, instant)
        if _offset(zone, instant) != _offset(zone, instant + _DAY):
            change = _change(zone, instant, instant + _DAY)
            yield change - _SECOND, _offset(zone, change - _SECOND)
            yield change, _offset(zone, change)


def _change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first second with another offset."""
    while after - before > _SECOND:
        middle = before + (after - before) // (2 * _SECOND) * _SECOND
        before, after = (middle, after) if _offset(zone, middle) == _offset(zone, before) else (before, middle)
    return after


def _offset(zone: ZoneInfo, instant: datetime) -> float:
    found = instant.astimezone(zone).utcoffset()
    return found.total_seconds() if found else 0.0
