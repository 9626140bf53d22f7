"""Insert the ticks that come within the horizon, and then those that were missed."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pqclock.clock.pace import Pace
from pqclock.clock.pausing import plan_paused
from pqclock.rules.overlap import Judged, Unfinished, judge
from pqclock.rules.ticks import Entry
from pqclock.store import runtime, schedules
from pqclock.store.database import Session
from pqclock.store.planning import Ahead, Compiled, compile_row, plan_owed, plan_row, tick_rows
from pqclock.store.schedules import DueSchedule, Insertion, Reach, TickRow

log = logging.getLogger("pqclock.clock")

# Ticks are inserted this far ahead of their time; a schedule is planned again when less than half of it is left, so
# that one that ticks every second is planned every half minute.
AHEAD = Ahead(timedelta(seconds=60), timedelta(seconds=30))
# While more schedules wait than a slice takes, so many ticks of each: all have their next one before any has its last.
CROWDED = 10
# How many spans of missed ticks are looked at together.
SPANS = 50
# How long to leave alone what somebody else holds locked.
HELD_PAUSE = timedelta(milliseconds=100)
# How many compiled schedules are kept in memory.
CACHE_SIZE = 20_000


@dataclass(frozen=True, slots=True)
class Planned:
    """What one step inserted, whether more waits, and when the next schedule wants planning (None: none does)."""

    in_office: bool
    inserted: int
    more: bool
    first_run_at: datetime | None
    plan_again_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Draft:
    """What a schedule or a span comes to, not judged yet by what is unfinished."""

    compiled: Compiled
    reach: Reach
    entries: list[Entry]

    @property
    def judged_when_due(self) -> bool:
        return self.compiled.schedule.judged_when_due and any(entry.outcome == "inserted" for entry in self.entries)

    def judged(self, unfinished: Unfinished) -> list[Judged]:
        if not self.judged_when_due:
            return [Judged(entry) for entry in self.entries]
        return judge(self.entries, self.compiled.schedule.overlap, unfinished)


class Planner:
    """Plans due schedules in slices, and missed ticks when nothing of the present is due; keeps the compiled ones."""

    def __init__(self, session: Session, epoch: int) -> None:
        self._session = session
        self._epoch = epoch
        self._compiled: OrderedDict[tuple[int, int], Compiled] = OrderedDict()
        self._broken: set[tuple[int, int]] = set()
        self._broken_spans: set[int] = set()
        self._held: dict[tuple[int, int], datetime] = {}
        self._pace = Pace()

    def step(self, now: datetime) -> Planned:
        """Plan one slice of what is due; when nothing of the present is, one of what was missed."""
        self._held = {identity: until for identity, until in self._held.items() if until > now}
        due = schedules.due(self._session, now, self._pace.schedules, self._left_alone)
        drafts = self._drafts(due, now) if due else []
        written = self._present(drafts, now) if drafts else None if due else self._missed(now)
        earliest = schedules.earliest(self._session, self._left_alone)
        instants = [*self._held.values(), *([earliest] if earliest else [])]
        return Planned(
            in_office=written is None or written.in_office,
            inserted=written.inserted if written else 0,
            # Behind the present there may be something that was missed.
            more=bool(due) or (written is not None and written.spans > 0),
            first_run_at=written.first_run_at if written else None,
            plan_again_at=min(instants, default=None),
        )

    @property
    def _left_alone(self) -> set[tuple[int, int]]:
        return self._broken | self._held.keys()

    def _present(self, drafts: Sequence[_Draft], now: datetime) -> Insertion:
        """Write a slice of what is due; what somebody else holds locked waits a little."""
        written = self._write(drafts)
        if written.in_office:
            moved = set(written.moved)
            held = [draft.reach for draft in drafts if draft.reach.schedule_id not in moved]
            self._held |= {(reach.schedule_id, reach.version): now + HELD_PAUSE for reach in held}
        return written

    def _drafts(self, due: Sequence[DueSchedule], now: datetime) -> list[_Draft]:
        """Plan as many schedules as a slice allows, by rows and by time: the lock does not wait for the rest."""
        pauses = runtime.pauses(self._session, due)
        drafts: list[_Draft] = []
        budget = self._pace.budget()
        most = budget.rows if len(due) < self._pace.schedules else CROWDED
        for row in due:
            # One that is broken is told once and left out: it must not hold up the others, nor keep the clock awake.
            try:
                draft = self._draft(row, pauses.get(row.id), now, most)
            except Exception as error:
                self._broken.add((row.id, row.version))
                log.error("schedule %s cannot be planned, its definition in the database is broken: %s", row.key, error)
                continue
            drafts.append(draft)
            if budget.spent(len(draft.entries)):
                break
        return drafts

    def _draft(self, row: DueSchedule, paused_until: datetime | None, now: datetime, most: int) -> _Draft:
        compiled = self._compile(row)
        if paused_until is None:
            return _Draft(compiled, *plan_row(compiled, row, now, AHEAD, most))
        return _Draft(compiled, *plan_paused(compiled, row, paused_until, now, AHEAD, most))

    def _missed(self, now: datetime) -> Insertion | None:
        """Work off a slice of the missed ticks; None when there are none."""
        drafts: list[_Draft] = []
        budget = self._pace.budget()
        for span in schedules.owed(self._session, SPANS, self._broken_spans):
            try:
                compiled = compile_row(span)
                draft = _Draft(compiled, *plan_owed(compiled, span, now, budget.rows))
            except Exception as error:
                self._broken_spans.add(span.id)
                log.error("schedule %s: missed ticks are left, their definition is broken: %s", span.key, error)
                continue
            # What one span lets in is unfinished for the next one of the same schedule.
            if draft.judged_when_due and any(one.reach.schedule_id == span.schedule_id for one in drafts):
                break
            drafts.append(draft)
            if budget.spent(len(draft.entries)):
                break
        return self._write(drafts) if drafts else None

    def _write(self, drafts: Sequence[_Draft]) -> Insertion:
        """Write a slice; what is judged by what is unfinished, in the transaction in which that is looked up."""
        judged = [draft.reach.schedule_id for draft in drafts if draft.judged_when_due]
        with self._pace.measured(sum(len(draft.entries) for draft in drafts), len(drafts)):
            if not judged:
                return self._insert(drafts, {})
            with self._session.transaction():
                return self._insert(drafts, schedules.unfinished(self._session, judged))

    def _insert(self, drafts: Sequence[_Draft], unfinished: Mapping[int, Unfinished]) -> Insertion:
        rows: list[TickRow] = []
        for draft in drafts:
            schedule_id = draft.reach.schedule_id
            judged = draft.judged(unfinished.get(schedule_id, Unfinished()))
            rows += tick_rows(schedule_id, draft.compiled, judged, draft.reach.owed_id)
        return schedules.insert_ticks(self._session, self._epoch, [draft.reach for draft in drafts], rows)

    def _compile(self, row: DueSchedule) -> Compiled:
        """The schedule of a row; raises for a definition that this version of pqclock cannot read."""
        identity = (row.id, row.version)
        if identity not in self._compiled:
            self._compiled[identity] = compile_row(row)
            while len(self._compiled) > CACHE_SIZE:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(identity)
        return self._compiled[identity]
