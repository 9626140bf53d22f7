"""Apply schedule files: an explicit, versioned act in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pqclock.errors import ScheduleFileError
from pqclock.rules.applying import Difference, Standing, compare, state_of
from pqclock.rules.schedule import Schedule
from pqclock.rules.ticks import first_of, plan_skip
from pqclock.store import runtime
from pqclock.store import schedules as store
from pqclock.store.database import TRY_AGAIN, Session
from pqclock.store.planning import Compiled, compile_row, plan_row, tick_row
from pqclock.store.schedules import KnownSchedule, Reach, TickRow

log = logging.getLogger("pqclock.clock")

# A deadlock with the planner costs one of them a repetition.
ATTEMPTS = 5

# Before this instant there is none for planning to begin at.
FIRST_AT = datetime.min.replace(tzinfo=UTC) + timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Applied:
    """What an application did; with None in `difference` newer files had been applied since, and it did nothing."""

    difference: Difference | None
    withdrawn: int = 0


def apply(
    session: Session,
    set_name: str,
    content_hash: str,
    schedules: Sequence[Schedule],
    *,
    explicit: bool,
    now: datetime | None = None,
) -> Applied:
    """Make the set what the files say; ticks inserted ahead for what changed are withdrawn.

    At a start (`explicit` False) a content that was applied before and superseded since is not applied: old and new
    files on two machines during a deploy do not take turns. Raises ScheduleFileError for a key of another set.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return _apply(session, set_name, content_hash, schedules, explicit=explicit, now=now)
        except TRY_AGAIN as error:
            log.info("the application of set %s is repeated: %s", set_name, " ".join(str(error).split()))
    return _apply(session, set_name, content_hash, schedules, explicit=explicit, now=now)


def _apply(
    session: Session,
    set_name: str,
    content_hash: str,
    schedules: Sequence[Schedule],
    *,
    explicit: bool,
    now: datetime | None,
) -> Applied:
    with session.transaction():
        store.lock_set(session, set_name)
        contents = store.applied_contents(session, set_name)
        if not explicit and content_hash in contents[:-1]:
            return Applied(None)
        moment = store.database_now(session, now)
        rows = {row.key: row for row in store.lock_known(session, set_name, [s.key for s in schedules])}
        _refuse_foreign(set_name, schedules, rows)
        difference = compare(schedules, {key: _standing(row) for key, row in rows.items() if row.set_name == set_name})
        withdrawn = _write(session, set_name, {s.key: s for s in schedules}, rows, difference, now=moment)
        if contents[-1:] != [content_hash]:
            store.record_version(session, set_name, content_hash, moment)
        if not difference.empty:
            store.wake_clock(session)
    return Applied(difference, withdrawn)


def _refuse_foreign(set_name: str, schedules: Sequence[Schedule], rows: Mapping[str, KnownSchedule]) -> None:
    faults = []
    for schedule in schedules:
        row = rows.get(schedule.key)
        if row is None or row.set_name == set_name or row.state == "removed":
            continue
        owner = f"set {row.set_name!r} ({row.source})" if row.set_name else "the API"
        faults.append(
            f"{schedule.source}: error: schedule {schedule.key!r} belongs to {owner}, not to set {set_name!r}: "
            f"rename it here or remove it there"
        )
    if faults:
        raise ScheduleFileError(faults)


def _standing(row: KnownSchedule) -> Standing:
    return Standing(row.key, row.source, row.state, row.definition)


def _write(
    session: Session,
    set_name: str,
    wanted: Mapping[str, Schedule],
    rows: Mapping[str, KnownSchedule],
    difference: Difference,
    *,
    now: datetime,
) -> int:
    # A key that another set once had and removed is taken over: the row stays, with its watermark and history.
    taken_over = [key for key in difference.added if key in rows]
    changed = [rows[key] for key in (*difference.changed, *difference.removed, *taken_over)]
    withdrawn = store.withdraw(session, [row.id for row in changed], now) if changed else 0
    _account(session, changed, now)
    store.change(session, set_name, [_change_row(row, wanted.get(row.key), now) for row in changed], now)
    added = [_new_row(wanted[key], now) for key in difference.added if key not in rows]
    store.add(session, set_name, added, now)
    store.move(session, [{"id": rows[key].id, "source": wanted[key].source} for key in difference.moved])
    return withdrawn


def _new_row(schedule: Schedule, now: datetime) -> dict[str, Any]:
    """A new schedule has missed nothing; only an `at` in the past is planned from before itself, to be written down."""
    first = first_of(schedule)
    planned_to = min(now, max(first, FIRST_AT) - timedelta(seconds=1)) if first is not None else now
    return {
        "key": schedule.key,
        "source": schedule.source,
        "state": state_of(schedule),
        "definition": schedule.to_definition(),
        "planned_to": planned_to,
    }


def _change_row(row: KnownSchedule, schedule: Schedule | None, now: datetime) -> dict[str, Any]:
    """The new version of a row; without a schedule it becomes a tombstone."""
    definition = schedule.to_definition() if schedule else row.definition
    # One that comes back unchanged was removed by mistake: its planning goes on where it stood, so nothing is lost.
    comes_back = row.state == "removed" and definition == row.definition
    return {
        "id": row.id,
        "source": schedule.source if schedule else row.source,
        "state": state_of(schedule) if schedule else "removed",
        "definition": definition,
        "planned_to": min(row.planned_to, now) if comes_back else now,
    }


def _account(session: Session, rows: Sequence[KnownSchedule], now: datetime) -> None:
    """Bring the ledger up to now under the definitions that held until now, before they change."""
    reaches: list[Reach] = []
    ticks: list[TickRow] = []
    pauses = runtime.pauses(session, rows)
    for row in rows:
        try:
            compiled = compile_row(row)
        except Exception as error:
            # It could not be planned either; a broken definition must not stand in the way of its mend.
            log.error("schedule %s: the ticks of a broken definition are not accounted for: %s", row.key, error)
            continue
        if row.state == "disabled" and row.planned_to < now:
            skipped = plan_skip(compiled.schedule, row.planned_to, now, "disabled")
            ticks += [tick_row(row.id, compiled, entry) for entry in skipped]
            reaches.append(Reach(row.id, row.version, row.planned_to, now, None))
        elif row.state == "active" and row.id in pauses:
            _account_for_pause(session, compiled, row, pauses[row.id], now)
        elif row.state == "active" and _owes(compiled, row, now):
            _catch_up(session, compiled, row, now)
    if reaches:
        store.insert_ticks(session, None, reaches, ticks, now)


def _account_for_pause(
    session: Session, compiled: Compiled, row: KnownSchedule, until: datetime, now: datetime
) -> None:
    """The ticks before the end of the pause are skipped; those after it, if it is over, are caught up."""
    passed = max(row.planned_to, min(now, until - timedelta(microseconds=1)))
    skipped = [tick_row(row.id, compiled, e) for e in plan_skip(compiled.schedule, row.planned_to, passed, "paused")]
    store.insert_ticks(session, None, [Reach(row.id, row.version, row.planned_to, passed, passed)], skipped, now)
    if passed < now:
        _catch_up(session, compiled, replace(row, planned_to=passed, next_tick=passed), now)


def _catch_up(session: Session, compiled: Compiled, row: KnownSchedule, now: datetime) -> None:
    while _owes(compiled, row, now):
        reach, ticks = plan_row(compiled, row, now, timedelta())
        store.insert_ticks(session, None, [reach], ticks, now)
        row = replace(row, planned_to=reach.planned_to, next_tick=reach.next_tick)


def _owes(compiled: Compiled, row: KnownSchedule, now: datetime) -> bool:
    """Whether there may be rows to write up to now: with calendars also before the next tick."""
    if row.next_tick is None:
        return False
    return row.next_tick <= now or (compiled.schedule.exclude is not None and row.planned_to < now)
