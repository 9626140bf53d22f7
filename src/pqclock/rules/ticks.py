"""What becomes of a schedule's ticks: which are inserted, which are skipped, and why.

A plan covers the instants after `planned_to` up to the horizon, in order and without a hole, so that a plan over (a, c]
equals the plans over (a, b] and (b, c]. A tick at most `grace` late is on time. Of the later ones, the missed ticks, the
newest `catch_up_limit` inside `catch_up_window` are inserted after all; the others are written down as skipped. What is
left out or moved by a calendar, or skipped in a gap, has rows of its own; so has the first instant past the schedule's
end.

Missed ticks need not be decided on together with those of the present: `missed_span` says where they lie, and a plan of
that span, with the instant at which it was noticed as `now`, comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice

from pqclock.errors import CronError
from pqclock.rules.calendars import MOVE_LIMIT
from pqclock.rules.cron import Cron
from pqclock.rules.excluding import Excluding
from pqclock.rules.intervals import At, Every
from pqclock.rules.moving import Moving
from pqclock.rules.schedule import Schedule

Timing = Cron | Every | At | Excluding

INSERT_SLICE = 1_000  # the most ticks that one plan inserts
# Moved ticks are looked at one by one, so a plan with them covers no more than this.
MOVING_SLICE = timedelta(days=14)
# A schedule that calendars leave no tick for so long is planned all the same, to write down what they leave out.
LONGEST_WAIT = timedelta(days=366)

_INSTANT = timedelta(microseconds=1)
# No move is longer, and no tick is looked for before this.
_FARTHEST = timedelta(days=MOVE_LIMIT + 2)
_EARLIEST = datetime(1, 3, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the ledger: a tick that is inserted, or `count` ticks from `tick` through `through` that are not.

    `nominal` is the instant from which a calendar moved the tick, else the tick itself.
    """

    tick: datetime
    through: datetime
    count: int
    outcome: str
    reason: str | None
    origin: str
    nominal: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """The ledger's next rows, up to where they reach, and the first tick after that (None: there will be none).

    `look_at` is the instant that wants planning next (None: none does): the next tick, or, where none will come, one
    that has to be written down as no tick.
    """

    entries: tuple[Entry, ...]
    planned_to: datetime
    next_tick: datetime | None
    look_at: datetime | None


def plan(
    schedule: Schedule,
    planned_to: datetime,
    created_at: datetime,
    now: datetime,
    horizon: timedelta,
    most: int | None = None,
) -> Plan:
    """Decide on the ticks after `planned_to`, up to `now + horizon` or the end of a slice, of at most `most` ticks."""
    most = min(most or INSERT_SLICE, INSERT_SLICE)
    upto = max(planned_to, now + horizon)
    window = _Window(schedule, planned_to, upto)
    missed_to = _missed_to(schedule, window, created_at, now)
    chosen_from = _chosen_from(schedule, window, created_at, now)
    if isinstance(window.timing, Moving) and upto > planned_to + MOVING_SLICE:
        upto = planned_to + MOVING_SLICE
        window = _Window(schedule, planned_to, upto)
    skipped = _skip(schedule, window, chosen_from, created_at, now)
    ticks = islice(window.timing.ticks(max(window.after, chosen_from - _INSTANT), window.before), most)
    inserted = [
        Entry(t, t, 1, "inserted", None, "catch_up" if t < missed_to else "clock", window.nominal(t)) for t in ticks
    ]
    reached = inserted[-1].tick if len(inserted) == most else upto
    gaps = _gap_entries(window, planned_to, reached, {entry.tick for entry in inserted})
    left_out = _left_out(_Window(schedule, planned_to, reached), now) if schedule.exclude else ()
    entries = (*skipped, *inserted, *gaps, *left_out, *_ended(schedule, planned_to, reached))
    return Plan(entries, reached, next_tick(schedule, reached), look_at(schedule, reached))


def missed_span(
    schedule: Schedule, planned_to: datetime, created_at: datetime, now: datetime
) -> tuple[datetime, datetime] | None:
    """The span (after, upto] up to the last instant at which a tick is missed now; None when none lies in it."""
    upto = now - schedule.patience - _INSTANT
    if planned_to >= upto or _was_past(schedule, created_at):
        return None
    first = next_tick(schedule, planned_to)
    return (planned_to, upto) if first is not None and first <= upto else None


def leaves_rows(schedule: Schedule, after: datetime, upto: datetime) -> bool:
    """Whether there may be something to write down for the span (after, upto]."""
    first = next_tick(schedule, after)
    left_out = schedule.exclude is not None or schedule.gap == "skip"
    return left_out or (first is not None and first <= upto) or any(_ended(schedule, after, upto))


def plan_skip(schedule: Schedule, after: datetime, upto: datetime, reason: str) -> tuple[Entry, ...]:
    """One row for all ticks in (after, upto], left out for `reason`, and those for what is no tick anyway."""
    window = _Window(schedule, after, upto)
    first = window.next(window.after)
    left_out = (*_left_out(window, upto), *_gap_entries(window, after, upto, set()), *_ended(schedule, after, upto))
    if first is None or first >= window.before:
        return left_out
    return (_run_of_skips(window, first, window.before, "skipped", reason), *left_out)


def next_tick(schedule: Schedule, after: datetime) -> datetime | None:
    """The first tick after an instant, within the schedule's start and end; None when there is none."""
    window = _Window(schedule, after, after)
    tick = window.next(window.after)
    return None if tick is None or (schedule.end is not None and tick >= schedule.end) else tick


def look_at(schedule: Schedule, after: datetime) -> datetime | None:
    """The first instant at which there is something to insert or, where no tick will come, to write down."""
    tick = next_tick(schedule, after)
    if tick is not None:
        return tick
    instants = (_left_out_next(schedule, after), _past_end(schedule))
    return min((instant for instant in instants if instant is not None and instant > after), default=None)


def previous_tick(schedule: Schedule, before: datetime) -> datetime | None:
    """The last tick before an instant, within the schedule's start and end; None when there is none."""
    tick = _previous(schedule.ticking(), before if schedule.end is None else min(before, schedule.end))
    return None if tick is None or (schedule.start is not None and tick < schedule.start) else tick


def first_of(schedule: Schedule) -> datetime | None:
    """The instant of an `at`, or the earlier one to which a calendar moves it; None for other schedules."""
    if schedule.at is None or schedule.exclude is None:
        return schedule.at
    return min(schedule.at, _only(schedule))


class _Window:
    """The instants strictly between `after` and `before` that a plan looks at, cut by the schedule's start and end."""

    def __init__(self, schedule: Schedule, planned_to: datetime, upto: datetime) -> None:
        self.timing: Timing = schedule.ticking()
        start = schedule.start
        self.after = planned_to if start is None or start <= planned_to else start - _INSTANT
        self.before = upto + _INSTANT if schedule.end is None else min(upto + _INSTANT, schedule.end)

    def next(self, after: datetime) -> datetime | None:
        try:
            return self.timing.next(after)
        except CronError:
            return None

    def nominal(self, tick: datetime) -> datetime:
        return self.timing.nominal(tick) if isinstance(self.timing, Excluding) else tick


def _previous(timing: Timing, before: datetime) -> datetime | None:
    try:
        return timing.previous(before)
    except CronError:
        return None


def _only(schedule: Schedule) -> datetime:
    """The tick of an `at`, where a calendar puts it; its own instant when it has none."""
    assert schedule.at is not None
    since = max(schedule.at, _EARLIEST) - _FARTHEST
    return next_tick(schedule, since) or schedule.at


def _was_past(schedule: Schedule, created_at: datetime) -> bool:
    if schedule.at is None or schedule.exclude is None:
        return schedule.at is not None and schedule.at <= created_at
    return _only(schedule) <= created_at


def _missed_to(schedule: Schedule, window: _Window, created_at: datetime, now: datetime) -> datetime:
    """Ticks before this instant are missed. An `at` that lay in the past when it was first applied is not due at all."""
    if _was_past(schedule, created_at):
        return window.before
    return now - schedule.patience


def _chosen_from(schedule: Schedule, window: _Window, created_at: datetime, now: datetime) -> datetime:
    """The oldest missed tick that is inserted after all; where there is none, an instant after all missed ones."""
    missed_to = _missed_to(schedule, window, created_at, now)
    if _was_past(schedule, created_at):
        return missed_to
    limit = {"none": 0, "latest": 1, "all": schedule.catch_up_limit}[schedule.catch_up]
    chosen = min(missed_to, window.before)
    before_all = max(window.after, now - schedule.catch_up_window - _INSTANT)
    if limit == 0 or before_all >= chosen:
        return chosen
    # Counted, as a slice of what is left of a long catch-up need not walk over all of it.
    if window.timing.count(before_all, chosen) <= limit:
        return min(window.next(before_all) or chosen, chosen)
    for _ in range(limit):
        chosen = _previous(window.timing, chosen) or chosen
    return chosen


def _skip(schedule: Schedule, window: _Window, before: datetime, created_at: datetime, now: datetime) -> list[Entry]:
    """Rows for the missed ticks before the first chosen one."""
    entries: list[Entry] = []
    tick = window.next(window.after)
    bound = min(before, window.before)
    while tick is not None and tick < bound:
        outcome, reason, until = _skip_reason(schedule, tick, created_at, now)
        entries.append(_run_of_skips(window, tick, min(bound, until), outcome, reason))
        tick = window.next(entries[-1].through)
    return entries


def _skip_reason(schedule: Schedule, tick: datetime, created_at: datetime, now: datetime) -> tuple[str, str, datetime]:
    """Outcome and reason of a missed tick that nobody catches up, and the instant up to which they hold."""
    if _was_past(schedule, created_at):
        return "skipped", "past", tick + _INSTANT
    oldest = now - schedule.catch_up_window
    if schedule.catch_up == "none":
        return "skipped", "missed", now
    if tick < oldest:
        return "skipped", "window", oldest
    return ("coalesced", "latest", now) if schedule.catch_up == "latest" else ("skipped", "limit", now)


def _run_of_skips(window: _Window, first: datetime, before: datetime, outcome: str, reason: str) -> Entry:
    """One row for the ticks from `first` to below `before`, counted and not walked over."""
    count, last = window.timing.count(first - _INSTANT, before), _previous(window.timing, before)
    return Entry(first, last or first, count, outcome, reason, "clock", window.nominal(first))


def _gap_entries(window: _Window, after: datetime, upto: datetime, ticks: set[datetime]) -> Iterator[Entry]:
    """Rows for the ticks that `gap = "skip"` leaves out, keyed by the first instant after the gap."""
    timing = window.timing.timing if isinstance(window.timing, Excluding) else window.timing
    if isinstance(timing, Cron):
        for tick in timing.skipped_in_gap(max(after, window.after), min(upto + _INSTANT, window.before)):
            # A tick that was moved to the end of the gap runs there.
            if tick not in ticks and (window.timing is timing or window.next(tick - _INSTANT) != tick):
                yield Entry(tick, tick, 1, "skipped", "gap", "clock", tick)


def _left_out(window: _Window, now: datetime) -> Iterator[Entry]:
    """Rows for what calendars leave out or move away; those ahead one by one, for they may be withdrawn one by one."""
    timing = window.timing
    if not isinstance(timing, Excluding) or window.after >= window.before:
        return
    edge = min(max(now, window.after), window.before - _INSTANT)
    for run in timing.left_out(window.after, edge + _INSTANT):
        yield Entry(run.first, run.last, run.number, run.outcome, run.reason, "clock", run.first)
    for run in timing.left_out(edge, window.before):
        for tick in timing.timing.ticks(run.first - _INSTANT, run.last + _INSTANT):
            yield Entry(tick, tick, 1, run.outcome, run.reason, "clock", tick)


def _left_out_next(schedule: Schedule, reached: datetime) -> datetime | None:
    """The last instant of a year that calendars leave out."""
    if schedule.exclude is None:
        return None
    until = reached + LONGEST_WAIT if schedule.end is None else min(schedule.end, reached + LONGEST_WAIT)
    last = _previous(schedule.timing(), until)
    if last is not None and last > reached and (schedule.start is None or last >= schedule.start):
        return last
    return next_tick(replace(schedule, exclude=None), reached)


def _past_end(schedule: Schedule) -> datetime | None:
    """The first instant that the schedule names and its end cuts off."""
    if schedule.end is None or schedule.at is not None:
        return None
    try:
        return schedule.timing().next(schedule.end - _INSTANT)
    except CronError:
        return None


def _ended(schedule: Schedule, after: datetime, upto: datetime) -> Iterator[Entry]:
    """One row for all that the end cuts off, where it begins."""
    past = _past_end(schedule)
    if past is not None and after < past <= upto:
        yield Entry(past, past, 1, "skipped", "ended", "clock", past)
