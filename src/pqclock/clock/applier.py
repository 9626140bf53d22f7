"""Apply schedule files: an explicit, versioned act in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pqclock.errors import ScheduleFileError
from pqclock.rules.applying import Difference, Standing, compare, state_of
from pqclock.rules.schedule import Schedule
from pqclock.rules.ticks import plan_skip
from pqclock.store import schedules as store
from pqclock.store.database import Session
from pqclock.store.schedules import KnownSchedule, TickRow

# Before this instant there is none for planning to begin at.
FIRST_AT = datetime.min.replace(tzinfo=UTC) + timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Applied:
    """What an application did; with None in `difference` newer files had been applied since, and it did nothing."""

    difference: Difference | None
    withdrawn: int = 0

    @property
    def superseded(self) -> bool:
        """The files are an older version than the one that rules."""
        return self.difference is None


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
    store.write_skips(session, _skips(changed, now), now)
    store.change(session, set_name, [_change_row(row, wanted.get(row.key), now) for row in changed], now)
    added = [_new_row(wanted[key], now) for key in difference.added if key not in rows]
    store.add(session, set_name, added, now)
    store.move(session, [{"id": rows[key].id, "source": wanted[key].source} for key in difference.moved])
    return withdrawn


def _new_row(schedule: Schedule, now: datetime) -> dict[str, Any]:
    """A new schedule has missed nothing; only an `at` in the past is planned from before itself, to be written down."""
    planned_to = min(now, max(schedule.at, FIRST_AT) - timedelta(seconds=1)) if schedule.at is not None else now
    return {
        "key": schedule.key,
        "source": schedule.source,
        "state": state_of(schedule),
        "definition": schedule.to_definition(),
        "planned_to": planned_to,
    }


def _change_row(row: KnownSchedule, schedule: Schedule | None, now: datetime) -> dict[str, Any]:
    """The new version of a row; without a schedule it becomes a tombstone."""
    return {
        "id": row.id,
        "source": schedule.source if schedule else row.source,
        "state": state_of(schedule) if schedule else "removed",
        "definition": schedule.to_definition() if schedule else row.definition,
        # What passed while it was disabled is written down beside this, up to now.
        "planned_to": now if row.state == "disabled" else None,
    }


def _skips(rows: Sequence[KnownSchedule], now: datetime) -> list[TickRow]:
    """Ledger rows for the ticks that passed while schedules were disabled."""
    return [
        TickRow(row.id, entry.tick, entry.through, entry.count, entry.outcome, entry.reason, entry.origin)
        for row in rows
        if row.state == "disabled"
        for entry in plan_skip(Schedule.from_definition(row.key, row.definition), row.planned_to, now, "disabled")
    ]
