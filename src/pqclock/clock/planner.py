"""Insert the ticks that come within the horizon, and then those that were missed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pqclock.clock.aside import Aside, Identity
from pqclock.clock.pace import Pace
from pqclock.clock.pausing import plan_paused
from pqclock.metrics import ClockMetrics
from pqclock.rules.overlap import Judged, Unfinished, judge
from pqclock.rules.ticks import Entry
from pqclock.store import runtime, schedules
from pqclock.store.ahead import AHEAD
from pqclock.store.database import IN_THE_WAY, UNWRITABLE, Session
from pqclock.store.planning import Compiled, compile_row, plan_owed, plan_row, tick_rows
from pqclock.store.schedules import DueSchedule, Insertion, OwedSpan, Reach, TickRow

# While more schedules wait than a slice takes, so many ticks of each: all have their next one before any has its last.
CROWDED = 10
# How many spans of missed ticks are looked at together.
SPANS = 50
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

    identity: Identity
    compiled: Compiled
    reach: Reach
    entries: list[Entry]

    @property
    def judged_when_due(self) -> bool:
        return self.compiled.schedule.judged_when_due and any(entry.outcome == "inserted" for entry in self.entries)

    def rows(self, unfinished: Unfinished) -> list[TickRow]:
        judged = [Judged(entry) for entry in self.entries]
        if self.compiled.schedule.watches:
            judged = judge(self.entries, self.compiled.schedule.overlap, unfinished)
        return tick_rows(self.reach.schedule_id, self.compiled, judged, self.reach.owed_id)


class Planner:
    """Plans due schedules in slices, and missed ticks when nothing of the present is due; keeps the compiled ones."""

    def __init__(self, session: Session, epoch: int, metrics: ClockMetrics | None = None) -> None:
        self._session = session
        self._metrics = metrics
        self._epoch = epoch
        self._compiled: OrderedDict[tuple[int, int, bool], Compiled] = OrderedDict()
        self._aside = Aside("cannot be planned until it is changed")
        self._spans_aside = Aside("has missed ticks that cannot be decided on, and are left as they are")
        self._pace = Pace()

    def step(self, now: datetime) -> Planned:
        """Plan one slice of what is due; when nothing of the present is, one of what was missed."""
        due = schedules.due(self._session, now, self._pace.schedules, self._aside.left_alone(now))
        spans = [] if due else schedules.owed(self._session, SPANS, self._spans_aside.left_alone(now))
        written = self._present(due, now) if due else self._missed(spans, now)
        self._tell()
        earliest = schedules.earliest(self._session, self._aside.left_alone(now))
        instants = (earliest, self._aside.ends_at, self._spans_aside.ends_at)
        return Planned(
            in_office=written is None or written.in_office,
            inserted=written.inserted if written else 0,
            # Behind the present there may be something that was missed.
            more=bool(due or spans),
            first_run_at=written.first_run_at if written else None,
            plan_again_at=min((instant for instant in instants if instant is not None), default=None),
        )

    def _tell(self) -> None:
        """Write down why something was given up; what somebody holds locked is for the next step."""
        for aside, span in ((self._aside, False), (self._spans_aside, True)):
            for identity, fault in list(aside.untold.items()):
                try:
                    schedules.set_aside(self._session, identity, fault, span=span)
                except (IN_THE_WAY, *UNWRITABLE) as error:
                    if isinstance(error, IN_THE_WAY):
                        continue
                del aside.untold[identity]

    def _present(self, due: Sequence[DueSchedule], now: datetime) -> Insertion | None:
        """Plan and write as many schedules as a slice allows, by rows and by time: the lock does not wait for the rest."""
        pauses = runtime.pauses(self._session, due)
        drafts: list[_Draft] = []
        budget = self._pace.budget()
        most = budget.rows if len(due) < self._pace.schedules else CROWDED
        for row in due:
            identity = (row.id, row.version)
            if drafts and self._aside.is_suspect(identity):
                break
            try:
                draft = self._draft(identity, row, pauses.get(row.id), now, most)
            except Exception as error:
                # It must not hold up the others, nor keep the clock awake.
                self._aside.give_up(identity, row.key, error)
                continue
            drafts.append(draft)
            if budget.spent(len(draft.entries)) or self._aside.is_suspect(identity):
                break
        return self._write_apart(drafts, self._aside, now)

    def _draft(
        self, identity: Identity, row: DueSchedule, paused_until: datetime | None, now: datetime, most: int
    ) -> _Draft:
        compiled = self._compile(row)
        if paused_until is None:
            return _Draft(identity, compiled, *plan_row(compiled, row, now, AHEAD, most))
        return _Draft(identity, compiled, *plan_paused(compiled, row, paused_until, now, AHEAD, most))

    def _missed(self, spans: Sequence[OwedSpan], now: datetime) -> Insertion | None:
        """Work off a slice of the missed ticks."""
        drafts: list[_Draft] = []
        budget = self._pace.budget()
        for span in spans[: self._pace.schedules]:
            identity = (span.id, 0)
            if drafts and self._spans_aside.is_suspect(identity):
                break
            try:
                compiled = compile_row(span)
                draft = _Draft(identity, compiled, *plan_owed(compiled, span, now, budget.rows))
            except Exception as error:
                self._spans_aside.give_up(identity, span.key, error)
                continue
            # What one span lets in is unfinished for the next one of the same schedule.
            if draft.judged_when_due and any(one.reach.schedule_id == span.schedule_id for one in drafts):
                break
            drafts.append(draft)
            if budget.spent(len(draft.entries)) or self._spans_aside.is_suspect(identity):
                break
        return self._write_apart(drafts, self._spans_aside, now)

    def _write_apart(self, drafts: Sequence[_Draft], aside: Aside, now: datetime) -> Insertion | None:
        """Write a slice; what may have to wait for a unique key behind the rest."""
        free = [draft for draft in drafts if not draft.compiled.schedule.is_unique]
        unique = [draft for draft in drafts if draft.compiled.schedule.is_unique]
        written = [done for group in (free, unique) if (done := self._write(group, aside, now)) is not None]
        if len(written) < 2:
            return written[0] if written else None
        return _together(*written)

    def _write(self, drafts: Sequence[_Draft], aside: Aside, now: datetime) -> Insertion | None:
        """Write a slice; None when that cannot be. The next ones are smaller then, until it is one that is left alone."""
        if not drafts:
            return None
        try:
            written = self._write_together(drafts)
        except (IN_THE_WAY, *UNWRITABLE) as error:
            self._pace.halve(len(drafts))
            if len(drafts) == 1 and isinstance(error, IN_THE_WAY):
                aside.block(drafts[0].identity, drafts[0].compiled.schedule.key, now)
            elif len(drafts) == 1:
                aside.give_up(drafts[0].identity, drafts[0].compiled.schedule.key, error)
            return None
        self._pace.grow()
        moved, spans = set(written.moved), written.spans == len(drafts)
        for draft in drafts:
            aside.release(draft.identity)
            # Spans are told by their number.
            was_there = draft.reach.schedule_id in moved if draft.reach.owed_id is None else spans
            if written.in_office and not was_there:
                aside.hold(draft.identity, now)
        return written

    def _write_together(self, drafts: Sequence[_Draft]) -> Insertion:
        """What is judged by what is unfinished is written in the transaction in which that is looked up."""
        with self._pace.measured(sum(len(draft.entries) for draft in drafts), len(drafts)):
            if not any(draft.judged_when_due for draft in drafts):
                return self._insert(drafts, {})
            with self._session.transaction():
                return self._insert(*self._judge(drafts))

    def _judge(self, drafts: Sequence[_Draft]) -> tuple[list[_Draft], dict[int, Unfinished]]:
        """What is unfinished, and the drafts without those of which somebody else holds what they depend on."""
        judged = [draft.reach.schedule_id for draft in drafts if draft.judged_when_due]
        ours = schedules.hold(self._session, judged)
        unfinished = schedules.unfinished(self._session, judged)
        replacing = [d.reach.schedule_id for d in drafts if d.compiled.schedule.overlap == "replace"]
        held = schedules.hold_unfinished(self._session, [one for one in replacing if one in unfinished])
        ours -= {one for one in replacing if one in unfinished and held[one] < unfinished[one].jobs}
        return [d for d in drafts if not d.judged_when_due or d.reach.schedule_id in ours], unfinished

    def _insert(self, drafts: Sequence[_Draft], unfinished: Mapping[int, Unfinished]) -> Insertion:
        rows = [row for draft in drafts for row in draft.rows(unfinished.get(draft.reach.schedule_id, Unfinished()))]
        written = schedules.insert_ticks(self._session, self._epoch, [draft.reach for draft in drafts], rows)
        if self._metrics is not None and written.in_office:
            for row in rows:
                self._metrics.ticks(row.outcome, row.count)
        return written

    def _compile(self, row: DueSchedule) -> Compiled:
        """The schedule of a row; raises for a definition that this version of pqclock cannot read."""
        identity = (row.id, row.version, row.unique_task)
        if identity not in self._compiled:
            self._compiled[identity] = compile_row(row)
            while len(self._compiled) > CACHE_SIZE:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(identity)
        return self._compiled[identity]


def _together(one: Insertion, other: Insertion) -> Insertion:
    instants = [instant for instant in (one.first_run_at, other.first_run_at) if instant is not None]
    return Insertion(
        in_office=one.in_office and other.in_office,
        moved=[*one.moved, *other.moved],
        spans=one.spans + other.spans,
        inserted=one.inserted + other.inserted,
        first_run_at=min(instants, default=None),
    )
