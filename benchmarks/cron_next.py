"""How many ticks a second: `Cron.next` beside cronsim and croniter, in UTC and in a zone with summer time.

    python -m benchmarks.cron_next [SECONDS]

Every cell is the best of three rounds, each SECONDS long (0.2 unless given), with warm caches; every walk
starts on 1 January 2026.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from time import perf_counter
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

from pqclock.rules.cron import Cron

EXPRESSIONS = (
    "* * * * *",
    "*/5 * * * *",
    "0 2 * * *",
    "30 9 * * 1-5",
    "0 0 1,15 * 5",
    "0 0 L * *",
    "0 0 29 2 *",
    "0 0 * 2 1#5",
)
ZONES = ("UTC", "Europe/Berlin")
START = datetime(2026, 1, 1, tzinfo=UTC)
# A walk is begun anew after so many ticks: the rare ones would reach the end of the calendar.
LAP = 50


def ours(expr: str, zone: str) -> Iterator[datetime]:
    cron, tick = Cron(expr, zone), START
    while True:
        tick = cron.next(tick)
        yield tick


def cronsim(expr: str, zone: str) -> Iterator[datetime]:
    return CronSim(expr, START.astimezone(ZoneInfo(zone)))


def croniters(expr: str, zone: str) -> Iterator[datetime]:
    cursor = croniter(expr, START.astimezone(ZoneInfo(zone)))
    while True:
        yield cursor.get_next(datetime)


def rate(walk: Callable[[str, str], Iterator[datetime]], expr: str, zone: str, seconds: float) -> float:
    """Ticks a second, counting the walk and not its construction."""
    ticks, spent = 0, 0.0
    while spent < seconds:
        walking = walk(expr, zone)
        next(walking)
        began = perf_counter()
        for _ in range(LAP):
            next(walking)
        spent += perf_counter() - began
        ticks += LAP
    return ticks / spent


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.2
    print(f"{'ticks a second':16}{'zone':16}{'pqclock':>10}{'cronsim':>10}{'croniter':>10}")
    for zone in ZONES:
        for expr in EXPRESSIONS:
            cells = [max(rate(walk, expr, zone, seconds) for _ in range(3)) for walk in (ours, cronsim, croniters)]
            print(f"{expr:16}{zone:16}" + "".join(f"{cell:10,.0f}" for cell in cells))


if __name__ == "__main__":
    main()
