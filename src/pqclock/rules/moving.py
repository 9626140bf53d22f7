"""The ticks of a schedule with calendars, those of excluded days moved to the next or the previous day.

A moved tick keeps the local time that it stands for, and `gap` and `fold` apply on its new day. One that comes to
another tick is coalesced into it. An instant to which a tick was moved is a tick, whatever its own day: it happens only
where a gap ends at midnight.

Everything is decided from the days around an instant alone, so the answers do not depend on where planning stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from heapq import merge
from itertools import groupby
from typing import NamedTuple

from pqclock.rules.calendars import MOVE_LIMIT, Exclusion
from pqclock.rules.cron import Cron
from pqclock.rules.cron.instants import DAY, END, START, instant, second_at_or_after, second_at_or_before
from pqclock.rules.excluding import LONG, Excluding, LeftOut, Nominal, around, following, preceding
from pqclock.rules.intervals import At
from pqclock.rules.local_days import Stretch, place, stretch_at, stretches_of

# Landings are looked for this near, in days, before ticks that stay are: those may be years away, or never come.
_NEAR = 62
_DAYS_KEPT = 64
_EXCLUDED = ("skipped", "excluded")


class Landings(NamedTuple):
    """What comes to a day: new ticks with the instants they come from, and what becomes of each that comes."""

    ticks: dict[int, int]
    fates: dict[int, tuple[str, str]]


class Law(NamedTuple):
    """How ticks move: by days in the direction of `step`, never out of the seconds from `start` up to `end`."""

    step: int
    gap: str
    fold: str
    start: int
    end: int

    def holds(self, second: int) -> bool:
        """Whether the second lies between start and end."""
        return self.start <= second < self.end


class Moving(Excluding):
    """The ticks of `timing`; `names` has the same expression in UTC, where local times are instants."""

    def __init__(self, timing: Nominal, zone: str, exclusion: Exclusion, law: Law, names: Cron | None) -> None:
        super().__init__(timing, zone, exclusion)
        self.law = law
        self.names = names
        self._days = self._days_reached()
        self._landings: dict[int, Landings] = {}

    def next(self, after: datetime) -> datetime | None:
        second = second_at_or_before(after)
        day = stretch_at(self.zone, second).day
        limit = max(day, self.exclusion.last) + LONG
        landing = self._landing_after(second, day - 1, day + _NEAR)
        stays = self.stays_after(second, END if landing is None else landing)
        if landing is None:
            upto = second_at_or_before(stays) // DAY + 2 if stays else limit
            landing = self._landing_after(second, day + _NEAR, upto)
        return min((tick for tick in (stays, _moment(landing)) if tick is not None), default=None)

    def previous(self, before: datetime) -> datetime | None:
        second = second_at_or_after(before)
        day = stretch_at(self.zone, second).day
        limit = min(day, min(self.exclusion.days, default=day)) - LONG
        landing = self._landing_before(second, day - _NEAR, day + 2)
        stays = self.stays_before(second, START if landing is None else landing)
        if landing is None:
            downto = second_at_or_before(stays) // DAY - 1 if stays else limit
            landing = self._landing_before(second, downto, day - _NEAR)
        return max((tick for tick in (stays, _moment(landing)) if tick is not None), default=None)

    def ticks(self, after: datetime, before: datetime) -> Iterator[datetime]:
        return merge(super().ticks(after, before), map(instant, self._landings_between(after, before)))

    def count(self, after: datetime, before: datetime) -> int:
        return super().count(after, before) + sum(1 for _ in self._landings_between(after, before))

    def left_out(self, after: datetime, before: datetime) -> Iterator[LeftOut]:
        for begin, end, excluded in self.runs(after, before):
            if not excluded:
                continue
            fates = ((tick, self._fate(second_at_or_before(tick))) for tick in self.timing.ticks(*around(begin, end)))
            for fate, group in groupby(fates, key=lambda pair: pair[1]):
                if fate is not None:
                    ticks = [tick for tick, _ in group]
                    yield LeftOut(ticks[0], ticks[-1], len(ticks), *fate)

    def nominal(self, tick: datetime) -> datetime:
        second = second_at_or_before(tick)
        return instant(next((days[second] for days in self._ticks_near(second) if second in days), second))

    def _fate(self, second: int) -> tuple[str, str] | None:
        """What becomes of an instant of an excluded day; None when another tick was moved to it, so that it stays."""
        stretch = stretch_at(self.zone, second)
        if stretch.after_gap and any(second in ticks for ticks in self._ticks_near(second)):
            return None
        day = self.exclusion.target(self.day_named(stretch), self.law.step)
        return _EXCLUDED if day is None else self._landings_of(day).fates.get(second, _EXCLUDED)

    def _ticks_near(self, second: int) -> Iterator[dict[int, int]]:
        """The landings of the days whose times may stand at this instant: after a gap also the day before."""
        stretch = stretch_at(self.zone, second)
        for day in (stretch.day, stretch.day - 1) if stretch.after_gap else (stretch.day,):
            yield self._landings_of(day).ticks

    def _landings_between(self, after: datetime, before: datetime) -> Iterator[int]:
        first, last = second_at_or_before(after), second_at_or_after(before)
        for day in self._among(stretch_at(self.zone, first).day - 1, stretch_at(self.zone, last).day + 2):
            yield from sorted(second for second in self._landings_of(day).ticks if first < second < last)

    def _landing_after(self, second: int, begin: int, end: int) -> int | None:
        for day in self._among(begin, end):
            found = [at for at in self._landings_of(day).ticks if at > second]
            if found:
                return min(found)
        return None

    def _landing_before(self, second: int, begin: int, end: int) -> int | None:
        for day in reversed(self._among(begin, end)):
            found = [at for at in self._landings_of(day).ticks if at < second]
            if found:
                return max(found)
        return None

    def _among(self, begin: int, end: int) -> range:
        return range(max(begin, self._days.start), min(end, self._days.stop))

    def _days_reached(self) -> range:
        """The days to which ticks may be moved."""
        begin, end = self.law.start, self.law.end
        if isinstance(self.timing, At):
            only, reach = second_at_or_before(self.timing.instant), (MOVE_LIMIT + 2) * DAY
            begin, end = max(begin, only - reach), min(end, only + reach)
        return range(begin // DAY - 1, end // DAY + 2)

    def _landings_of(self, day: int) -> Landings:
        if self.exclusion.excludes(day) or not self.exclusion.excludes(day - self.law.step):
            return _NONE
        if day not in self._landings:
            if len(self._landings) >= _DAYS_KEPT:
                self._landings.clear()
            self._landings[day] = self._find_landings(day)
        return self._landings[day]

    def _find_landings(self, day: int) -> Landings:
        # The nearest one to come to an instant gives the tick its nominal one: it overwrites those before it.
        ticks: dict[int, int] = {}
        came: dict[int, list[int]] = {}
        fates: dict[int, tuple[str, str]] = {}
        stay = {second for second, _ in self._named(day)}
        for source in self.exclusion.sources(day, self.law.step):
            for second, local in self._named(source)[:: self.law.step]:
                placed = place(self.zone, day * DAY + local % DAY, self.law.gap, self.law.fold)
                came[second] = [at for at in placed if self.law.holds(at)]
                fates[second] = _EXCLUDED if placed else ("skipped", "gap")
                ticks.update((at, at if self._is_nominal(at) else second) for at in came[second] if at not in stay)
        for second, landed in came.items():
            if landed:
                carries = any(ticks.get(at) == second for at in landed)
                fates[second] = ("skipped" if carries else "coalesced", "moved")
        return Landings({at: second for at, second in ticks.items() if not self._stays(at)}, fates)

    def _named(self, day: int) -> list[tuple[int, int]]:
        """The instants of `timing` that stand for times of a day, within the bounds, with these local times."""
        found = []
        for stretch in stretches_of(self.zone, day):
            if self.day_named(stretch) == day:
                for tick in self.timing.ticks(*around(stretch.begin, stretch.end)):
                    second = second_at_or_before(tick)
                    if self.law.holds(second):
                        found.append((second, self._local(stretch, second)))
        return found

    def _local(self, stretch: Stretch, second: int) -> int:
        """The local time that an instant stands for: after a gap the last one named up to the wall's."""
        local = second + stretch.offset
        named = preceding(self.names, local + 1) if stretch.after_gap and self.names else None
        return second_at_or_before(named) if named else local

    def _is_nominal(self, second: int) -> bool:
        # Within a day the instants of `timing` are known; another day's is met only at the end of a gap.
        return stretch_at(self.zone, second).after_gap and following(self.timing, second - 1) == instant(second)

    def _stays(self, second: int) -> bool:
        """Whether an instant that was moved to is one of `timing` on a day that is not excluded."""
        stretch = stretch_at(self.zone, second)
        return stretch.after_gap and self._is_nominal(second) and not self.exclusion.excludes(self.day_named(stretch))


_NONE = Landings({}, {})


def _moment(second: int | None) -> datetime | None:
    return None if second is None else instant(second)
