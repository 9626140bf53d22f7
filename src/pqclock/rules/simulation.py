"""What schedules come to over a range of time, without a database: counts, load, clock changes, empty dates.

Ticks of the whole range are counted and not walked over. Load is exact to the minute, with spread and jitter, so its
ticks are walked one by one, and only in a window.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from pqclock.rules.cron import Cron
from pqclock.rules.cron.instants import DAY, instant, second_at_or_after, second_at_or_before
from pqclock.rules.cron.spans import MOVE
from pqclock.rules.cron.zones import Change, changes, zone
from pqclock.rules.offsets import run_at
from pqclock.rules.schedule import Schedule, cron_of
from pqclock.rules.ticks import next_tick

# The most ticks that are walked over for the load; the window gives way.
WALK_LIMIT = 500_000

# Shorter than this no window is made.
_LEAST = timedelta(hours=1)
_INSTANT = timedelta(microseconds=1)
# No job becomes due before this instant; spread and jitter are looked back over from later ones.
_FIRST = datetime.min.replace(tzinfo=UTC) + timedelta(days=2)
_MINUTE = 60
_HOUR = 3600


class Range(NamedTuple):
    """Instants from `since` up to but not `until`."""

    since: datetime
    until: datetime

    def cut(self, schedule: Schedule) -> Range:
        """The part between the schedule's start and end."""
        since = self.since if schedule.start is None else max(self.since, schedule.start)
        return Range(since, self.until if schedule.end is None else min(self.until, schedule.end))


class Meeting(NamedTuple):
    """A minute with many ticks, and the schedules that meet there."""

    minute: datetime
    ticks: int
    keys: tuple[str, ...]


class ClockChange(NamedTuple):
    """What a change of the clocks does to a schedule: `effect` is shifted, merged, skipped, doubled or once.

    `ticks` is the number of its named times in the gap, or among those that come twice.
    """

    key: str
    timezone: str
    instant: datetime
    before: timedelta
    after: timedelta
    effect: str
    ticks: int


@dataclass
class Load:
    """How many jobs become due in each minute of a window, by queue; None is the queue of the task."""

    window: Range
    queues: dict[str | None, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    minutes: Counter[int] = field(default_factory=Counter)
    walked: list[tuple[tuple[str, ...], array[int]]] = field(default_factory=list)

    def add(self, keys: tuple[str, ...], queue: str | None, minutes: array[int]) -> None:
        """Note the minutes in which each of these schedules has its jobs."""
        self.walked.append((keys, minutes))
        for minute, ticks in Counter(minutes).items():
            self.minutes[minute] += ticks * len(keys)
            self.queues[queue][minute] += ticks * len(keys)

    def busiest(self, number: int) -> list[Meeting]:
        """The minutes with the most ticks, the earliest first among equals."""
        found = sorted(self.minutes.items(), key=lambda pair: (-pair[1], pair[0]))[:number]
        return [Meeting(instant(minute * _MINUTE), ticks, self._meeting(minute)) for minute, ticks in found]

    def _meeting(self, minute: int) -> tuple[str, ...]:
        return tuple(key for keys, minutes in self.walked if minute in minutes for key in keys)

    def heat(self) -> list[list[int]]:
        """Ticks by weekday, from Monday, and hour, in UTC."""
        cells = [[0] * 24 for _ in range(7)]
        for minute, ticks in self.minutes.items():
            day, second = divmod(minute * _MINUTE, DAY)
            cells[(day - 1) % 7][second // _HOUR] += ticks
        return cells


def count(schedule: Schedule, span: Range) -> int:
    """How many ticks a schedule has in a range."""
    since, until = span.cut(schedule)
    return schedule.ticking().count(since - _INSTANT, until) if since < until else 0


def fitting(schedules: Sequence[Schedule], window: Range, limit: int = WALK_LIMIT) -> Range:
    """The window, made shorter until it can be walked over; an hour at least."""
    firsts = [members[0] for members in _groups(schedules)]
    while (length := window.until - window.since) > _LEAST and (ticks := _ticks(firsts, window)) > limit:
        # In whole hours, so that the last hour is not a piece of one.
        hours = int(length * (0.9 * limit / ticks) / _LEAST)
        window = Range(window.since, window.since + max(hours, 1) * _LEAST)
    return window


def peak(found: Load, queue: str | None) -> Meeting | None:
    """The busiest minute of a queue, the earliest among equals; None without ticks. Who meets there is left out."""
    minutes = found.queues.get(queue)
    if not minutes:
        return None
    minute, ticks = min(minutes.items(), key=lambda pair: (-pair[1], pair[0]))
    return Meeting(instant(minute * _MINUTE), ticks, ())


def _ticks(schedules: Iterable[Schedule], span: Range) -> int:
    return sum(count(schedule, span) for schedule in schedules)


def load(schedules: Sequence[Schedule], window: Range) -> Load:
    """The jobs of each minute of the window, in which they become due."""
    found = Load(window)
    for members in _groups(schedules):
        minutes = array("q", _minutes(members[0], window))
        found.add(tuple(schedule.key for schedule in members), members[0].queue, minutes)
    return found


def _groups(schedules: Sequence[Schedule]) -> Iterator[list[Schedule]]:
    """Schedules whose jobs become due at the same instants, in the same queue."""
    groups: dict[object, list[Schedule]] = defaultdict(list)
    for schedule in schedules:
        alone = schedule.key if schedule.spread or schedule.jitter else None
        groups[schedule.queue, alone, _instants(schedule)].append(schedule)
    yield from groups.values()


def _instants(schedule: Schedule) -> object:
    """Equal for schedules with the same ticks."""
    rule = (schedule.cron, schedule.every, schedule.at, schedule.gap, schedule.fold, schedule.timezone)
    return (*rule, schedule.start, schedule.end, schedule.exclude, schedule.on_excluded)


def _minutes(schedule: Schedule, window: Range) -> Iterator[int]:
    moves = schedule.spread + schedule.jitter
    earliest = max(window.since, _FIRST + moves) - moves
    since, until = Range(earliest, window.until).cut(schedule)
    if since >= until:
        return
    for tick in schedule.ticking().ticks(since - _INSTANT, until):
        due = run_at(schedule, tick) if moves else tick
        if window.since <= due < window.until:
            yield second_at_or_before(due) // _MINUTE


def clock_changes(schedules: Iterable[Schedule], span: Range) -> list[ClockChange]:
    """What the changes of the clocks in a range do to the ticks, by time."""
    known: dict[str, list[Change]] = {}
    found: list[ClockChange] = []
    for schedule in schedules:
        if schedule.cron is None:
            continue
        if schedule.timezone not in known:
            known[schedule.timezone] = _changes(schedule.timezone, span)
        found.extend(_affected(schedule, known[schedule.timezone], span.cut(schedule)))
    return sorted(found, key=lambda change: (change.instant, change.key))


def _changes(timezone: str, span: Range) -> list[Change]:
    return changes(timezone, second_at_or_before(span.since) - 1, second_at_or_after(span.until))


def _affected(schedule: Schedule, zone_changes: Sequence[Change], span: Range) -> Iterator[ClockChange]:
    for change in zone_changes:
        at = instant(change.at)
        if not span.since <= at < span.until or _is_excluded(schedule, at):
            continue
        found = _effect(schedule, change)
        if found is not None:
            before, after = timedelta(seconds=change.before), timedelta(seconds=change.after)
            yield ClockChange(schedule.key, schedule.timezone, at, before, after, *found)


def _is_excluded(schedule: Schedule, at: datetime) -> bool:
    local = at.astimezone(zone(schedule.timezone)).date()
    return schedule.exclude is not None and schedule.exclude.excludes(local.toordinal())


def _effect(schedule: Schedule, change: Change) -> tuple[str, int] | None:
    """What becomes of the named times in the gap, or among the times that come twice, and how many they are."""
    assert schedule.cron is not None
    # In UTC the named local times are instants.
    names = cron_of(schedule.cron, "UTC", "shift", "first")
    low, high = sorted((change.at + change.before, change.at + change.after))
    ticks = _named(names, low, high)
    if not ticks or (names.wildcard and _goes_on(names, low, high)):
        return None
    gap, moved = change.after > change.before, high - low >= MOVE
    if gap:
        return _gap_effect(schedule, names, high, moved), ticks
    return ("doubled" if names.wildcard or moved or schedule.fold == "both" else "once"), ticks


def _gap_effect(schedule: Schedule, names: Cron, end: int, moved: bool) -> str:
    if names.wildcard or moved:
        return "skipped"
    if _named(names, end, end + 1):
        return "merged"
    return "shifted" if schedule.gap == "shift" else "skipped"


def _named(names: Cron, low: int, high: int) -> int:
    return names.count(instant(low - 1), instant(high))


def _goes_on(names: Cron, low: int, high: int) -> bool:
    """Whether the entry ticks as often before and after: then it follows real time, and nobody is surprised."""
    hours = {_named(names, begin, begin + _HOUR) for begin in (low - _HOUR, low, high)}
    return len(hours) == 1


def empty_dates(schedules: Sequence[Schedule], span: Range) -> list[date]:
    """The whole dates of a range, each schedule's in its own zone, on which none of the schedules ticks."""
    first, last = -(-(second_at_or_after(span.since)) // DAY), second_at_or_before(span.until) // DAY
    left = set(range(first, last))
    distinct = {_instants(schedule): schedule for schedule in schedules}
    for schedule in sorted(distinct.values(), key=lambda one: -count(one, span)):
        if not left:
            break
        left.difference_update(_dates(schedule, sorted(left)))
    return [date.fromordinal(day) for day in sorted(left)]


def _dates(schedule: Schedule, days: Sequence[int]) -> set[int]:
    """Those of the days on which the schedule ticks."""
    found: set[int] = set()
    reached = 0
    for day in days:
        # The tick found last tells that there is none before its day.
        if day < reached:
            continue
        midnight = datetime.combine(date.fromordinal(day), datetime.min.time(), zone(schedule.timezone))
        tick = next_tick(schedule, midnight.astimezone(UTC) - _INSTANT)
        if tick is None:
            break
        reached = tick.astimezone(zone(schedule.timezone)).toordinal()
        found.add(reached)
    return found
