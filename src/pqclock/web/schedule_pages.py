"""The pages of schedules: all of them, one of them, and what is coming."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from markupsafe import Markup

from pqclock.drift import Files
from pqclock.rules.moments import absolute, known_zone
from pqclock.rules.schedule import Schedule
from pqclock.rules.ticks import next_tick
from pqclock.rules.words import describe, describe_cron
from pqclock.store import audit, dashboard, listings
from pqclock.store.database import Session
from pqclock.store.listing_rows import ScheduleRow
from pqclock.store.runs import LastTick, last_ticks, measure
from pqclock.web.drawing import LEVELS, Cell, bars, heat, strip
from pqclock.web.params import Params
from pqclock.web.texts import first_line, length

STRIP = 60
ROWS = 25
STATES = ("active", "paused", "disabled", "removed")
LATE = timedelta(seconds=60)
COMING = 20
# The calendar looks so far, at so many schedules, and no longer than this: then it says so.
DAYS, MOST_SCHEDULES, MOST_TICKS, WITHIN, KEPT_FOR = 7, 500, 400, 1.5, 60.0
_SETTLED = ("succeeded", "failed", "cancelled", "discarded")


def schedules(session: Session, params: Params, files: Files | None = None) -> dict[str, Any]:
    """All schedules, a page of them."""
    filters = {"state": params.choice("state", STATES), "task": params.text("task")}
    page = listings.schedules(session, **filters, after=params.text("after") or "", limit=ROWS)
    now = listings.now(session)
    keys = [row.key for row in page.rows]
    ticks: dict[str, list[LastTick]] = {key: [] for key in keys}
    for tick in last_ticks(session, keys, STRIP):
        ticks[tick.ledger.schedule_key].append(tick)
    return {
        "now": now,
        "rows": [_row(row, ticks[row.key]) for row in page.rows],
        "next": page.next,
        "leader": listings.leader(session),
        "set_aside": listings.set_aside(session),
        "sets": dashboard.sets(session),
        "states": STATES,
        "strip_places": STRIP,
        "kinds": list(LEVELS),
        "drift": None if files is None else files.compare(session),
        **filters,
    }


def _row(row: ScheduleRow, ticks: list[LastTick]) -> dict[str, Any]:
    measured = measure(ticks)
    return {
        "row": row,
        "words": describe_cron(row.cron) if row.cron else f"every {row.every}" if row.every else "once",
        "last": ticks[0] if ticks else None,
        "strip": drawn_strip(ticks, row.timezone),
        "late": measured.lateness_p99_ms,
    }


def drawn_strip(ticks: Sequence[LastTick], timezone: str) -> Markup:
    """The last ticks of a schedule, given newest first, as a strip."""
    zone = known_zone(timezone)
    cells = [Cell(kind_of(tick), _title(tick, zone)) for tick in reversed(ticks)]
    counts: dict[str, int] = {}
    for cell in cells:
        counts[cell.kind] = counts.get(cell.kind, 0) + 1
    words = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items(), key=lambda item: -item[1]))
    return strip(cells, STRIP, f"the last {len(cells)} ticks: {words}" if cells else "no tick yet")


def kind_of(tick: LastTick) -> str:
    """What became of a tick, as the strip shows it."""
    if tick.ledger.outcome != "inserted":
        return "coalesced" if tick.ledger.outcome == "coalesced" else "skipped"
    if tick.run is None:
        return "gone"
    if tick.run.state == "succeeded":
        late = tick.run.lateness
        return "late" if late is not None and late > LATE else "succeeded"
    return tick.run.state if tick.run.state in ("failed", "cancelled", "discarded", "running") else "waiting"


def _title(tick: LastTick, zone: Any) -> str:
    reason = f" ({tick.ledger.reason})" if tick.ledger.reason else ""
    return f"{absolute(tick.ledger.tick, zone)}: {tick.state}{reason}"


def schedule(session: Session, params: Params) -> dict[str, Any] | None:
    """One schedule: its ledger, how its runs did, what it is made of, what is coming."""
    key = params.text("key") or ""
    found = listings.schedule(session, key, 1)
    declared = dashboard.declared(session, key)
    if found is None or declared is None:
        return None
    row, now = found[0], listings.now(session)
    ticks = last_ticks(session, [key], STRIP)
    words, coming = _planned(row, declared.definition, now)
    zone = known_zone(row.timezone)
    return {
        "now": now,
        "row": row,
        "ticks": ticks,
        "zone": zone,
        "kind_of": kind_of,
        "strip": drawn_strip(ticks, row.timezone),
        "durations": _durations(ticks, zone),
        "measured": measure(ticks),
        "words": words,
        "declared": declared,
        "fields": _fields(declared.definition),
        "coming": coming,
        "deeds": audit.rows(session, target=f"schedule {key}", limit=5).rows,
    }


def _fields(definition: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a schedule is made of, without its arguments."""
    return [
        (name, value if isinstance(value, str) else repr(value).replace("'", '"'))
        for name, value in sorted(definition.items())
        if name != "args" and value not in (None, [], {})
    ]


def _durations(ticks: Sequence[LastTick], zone: Any) -> Markup:
    ended = [tick for tick in reversed(ticks) if tick.run is not None and tick.run.duration is not None]
    values = [
        (t.run.duration.total_seconds(), kind_of(t), f"{absolute(t.ledger.tick, zone)}: {length(t.run.duration)}")
        for t in ended
        if t.run is not None and t.run.duration is not None
    ]
    longest = max((value for value, _, _ in values), default=None)
    return bars(values, f"how long the last {len(values)} runs took, at most {length(longest)}")


def _planned(row: ScheduleRow, definition: Mapping[str, Any], after: datetime) -> tuple[str, list[datetime]]:
    """What a schedule means, in words, and what is coming; of one that cannot be planned here, that."""
    try:
        schedule = Schedule.from_definition(row.key, dict(definition))
        ticks = [] if row.state in ("removed", "disabled") else list(islice(_ticks(schedule, after), COMING))
        return describe(schedule), ticks
    except Exception as error:
        return f"{row.cron or row.every or 'once'} (it cannot be planned here: {first_line(str(error))})", []


def _ticks(definition: Schedule, after: datetime) -> Any:
    tick = next_tick(definition, after)
    while tick is not None:
        yield tick
        tick = next_tick(definition, tick)


class Calendar:
    """What is coming within a week, hour by hour: computed for all who look, once a minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[float, dict[str, Any]] | None = None

    def view(self, session: Session, params: Params) -> dict[str, Any]:  # noqa: ARG002
        """The heat map and the busiest hours."""
        with self._lock:
            if self._kept is None or time.monotonic() > self._kept[0] + KEPT_FOR:
                self._kept = time.monotonic(), week(session)
            return self._kept[1]


def week(session: Session) -> dict[str, Any]:
    """How many ticks each hour of the coming week has, and of which schedules."""
    now = listings.now(session)
    begin = now.replace(minute=0, second=0, microsecond=0)
    loads: dict[int, float] = {}
    by_key: dict[str, float] = {}
    days: dict[int, dict[str, list[datetime]]] = {}
    deadline, left_out = time.monotonic() + WITHIN, 0
    rows = listings.definitions(session, None, MOST_SCHEDULES)
    for key, definition in rows:
        if time.monotonic() > deadline:
            left_out += 1
            continue
        try:
            _spread(key, Schedule.from_definition(key, definition), begin, loads, by_key, days)
        except Exception:
            # One that cannot be planned here is told on its own page, and hides no other.
            left_out += 1
    hours = [f"{hour:02}" for hour in range(24)]
    names = [(begin + timedelta(days=day)).date() for day in range(DAYS)]
    first = begin.hour
    grid = [
        (f"{name:%a %d %b}", [loads.get(24 * day + hour - first, 0.0) for hour in range(24)])
        for day, name in enumerate(names)
    ]
    busiest = sorted(loads.items(), key=lambda item: -item[1])[:5]
    return {
        "now": now,
        "heat": heat(grid, hours, f"ticks an hour from {absolute(begin)} on, UTC"),
        "busiest": [(begin + timedelta(hours=hour), number) for hour, number in busiest],
        "often": sorted(((key, n) for key, n in by_key.items() if n), key=lambda item: -item[1])[:10],
        "days": [
            (name, sorted(days.get(day, {}).items(), key=lambda item: item[1][0])) for day, name in enumerate(names)
        ],
        "looked_at": len(rows) - left_out,
        "all_of_them": not left_out and len(rows) < MOST_SCHEDULES,
    }


def _spread(
    key: str,
    schedule: Schedule,
    begin: datetime,
    loads: dict[int, float],
    by_key: dict[str, float],
    days: dict[int, dict[str, list[datetime]]],
) -> None:
    """Put the ticks of one schedule where they belong; of one that ticks very often, the rest at its pace so far."""
    end = begin + timedelta(days=DAYS)
    ticks = [tick for tick in islice(_ticks(schedule, begin), MOST_TICKS) if tick < end]
    for tick in ticks:
        hour = int((tick - begin) / timedelta(hours=1))
        loads[hour] = loads.get(hour, 0.0) + 1
    by_key[key] = float(len(ticks))
    if len(ticks) == MOST_TICKS:
        _go_on(ticks, begin, loads, by_key, key)
    elif len(ticks) <= 2 * DAYS:
        for tick in ticks:
            days.setdefault((tick.date() - begin.date()).days, {}).setdefault(key, []).append(tick)


def _go_on(ticks: list[datetime], begin: datetime, loads: dict[int, float], by_key: dict[str, float], key: str) -> None:
    covered = (ticks[-1] - begin) / timedelta(hours=1)
    pace = len(ticks) / max(covered, 1e-6)
    last = int(covered)
    for hour in range(last, 24 * DAYS):
        # Of the hour in which they end, the part that is still to come.
        share = last + 1 - covered if hour == last else 1.0
        loads[hour] = loads.get(hour, 0.0) + pace * share
    by_key[key] = pace * 24 * DAYS


def last_error(tick: LastTick | None) -> str:
    """Of a tick that failed, why."""
    return first_line(tick.run.error) if tick is not None and tick.run is not None else ""
