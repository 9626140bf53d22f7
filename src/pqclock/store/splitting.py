"""Take ticks out of the ledger's rows that say why they have no job, so that each is accounted for once.

A row may stand for many ticks, counted and not named. What is taken out of its middle leaves two rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pqclock.errors import CronError
from pqclock.rules.excluding import Excluding
from pqclock.rules.ticks import Timing

# Reasons of rows that tell of what is no tick.
NO_TICKS = frozenset(("gap", "excluded", "moved", "ended"))

_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A row of a schedule's ledger as the database has it."""

    tick: datetime
    through: datetime
    count: int
    nominal: datetime
    outcome: str
    reason: str | None
    origin: str
    job_id: int | None
    inserted_at: datetime


def take_out(
    timing: Timing, rows: Iterable[LedgerRow], first: datetime, last: datetime, taken: Collection[datetime]
) -> tuple[list[datetime], list[LedgerRow]]:
    """Account for the ticks from `first` through `last` by rows of their own: `taken` are those that had none yet.

    Gives the ticks of the rows that go, and the rows that come for what they said beside these ticks.
    """
    gone: list[datetime] = []
    parts: list[LedgerRow] = []
    for row in rows:
        if row.outcome == "inserted" or row.through < first or row.tick > last:
            continue
        left = _around(timing, row, first, last) if _is_of(timing, row) else _less_its_ends(row, taken)
        if left != [row]:
            gone.append(row.tick)
            parts += left
    return gone, parts


def nominal(timing: Timing, tick: datetime) -> datetime:
    """The instant from which a calendar moved a tick, else the tick itself."""
    return timing.nominal(tick) if isinstance(timing, Excluding) else tick


def _is_of(timing: Timing, row: LedgerRow) -> bool:
    """Whether a row stands for ticks of this timing; an earlier definition may have had others."""
    before, after = row.tick - _INSTANT, row.through + _INSTANT
    return (
        row.reason not in NO_TICKS
        and _next(timing, before) == row.tick
        and _previous(timing, after) == row.through
        and timing.count(before, after) == row.count
    )


def _around(timing: Timing, row: LedgerRow, first: datetime, last: datetime) -> list[LedgerRow]:
    """What is left of a row before `first` and after `last`."""
    parts: list[LedgerRow] = []
    through, tick = _previous(timing, first), _next(timing, last)
    if through is not None and row.tick <= through:
        parts.append(replace(row, through=through, count=timing.count(row.tick - _INSTANT, first)))
    if tick is not None and tick <= row.through:
        count = timing.count(last, row.through + _INSTANT)
        parts.append(replace(row, tick=tick, count=count, nominal=nominal(timing, tick)))
    return parts


def _less_its_ends(row: LedgerRow, taken: Collection[datetime]) -> list[LedgerRow]:
    """What is left of a row whose ticks nobody can name any more, but for the first and the last one.

    Which of those between them the present definition has as well is not known: they stay as they were told.
    """
    if row.through in taken and row.through != row.tick:
        row = replace(row, through=row.through - _INSTANT, count=row.count - 1)
    if row.tick in taken:
        # Ticks are on whole seconds, so no other row is in this place.
        row = replace(row, tick=row.tick + _INSTANT, count=row.count - 1)
    return [row] if row.count > 0 else []


def _next(timing: Timing, after: datetime) -> datetime | None:
    try:
        return timing.next(after)
    except CronError:
        return None


def _previous(timing: Timing, before: datetime) -> datetime | None:
    try:
        return timing.previous(before)
    except CronError:
        return None
