"""Apply schedule files: an explicit, versioned act in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from pqclock.errors import ScheduleFileError
from pqclock.rules.applying import Difference, Standing, compare, compare_rules, renamings, state_of
from pqclock.rules.rule import Rule
from pqclock.rules.schedule import Schedule
from pqclock.store import alarms
from pqclock.store import rules as rule_store
from pqclock.store import schedules as store
from pqclock.store.changing import account, new_row, rewrite
from pqclock.store.database import TRY_AGAIN, Session
from pqclock.store.fitting import unfillable
from pqclock.store.rules import KnownRule
from pqclock.store.schedules import KnownSchedule

log = logging.getLogger("pqclock.clock")

# A deadlock with the planner costs one of them a repetition.
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Applied:
    """What an application did; with None in `difference` newer files had been applied since, and it did nothing.

    `rules` are the throttles and fuses, by their labels.
    """

    difference: Difference | None
    withdrawn: int = 0
    rules: Difference | None = None


def apply(
    session: Session,
    set_name: str,
    content_hash: str,
    schedules: Sequence[Schedule],
    rules: Sequence[Rule] = (),
    slos: Mapping[str, str] = MappingProxyType({}),
    *,
    explicit: bool,
    now: datetime | None = None,
) -> Applied:
    """Make the set what the files say; ticks inserted ahead for what changed are withdrawn.

    What changed of rules holds at the next claim, also for jobs that wait. `slos` are what is promised of queues.

    At a start (`explicit` False) a content that was applied before and superseded since is not applied: old and new
    files on two machines during a deploy do not take turns. Raises ScheduleFileError for a key or rule of another set.
    """
    for attempt in range(ATTEMPTS):
        try:
            applied = _apply(session, set_name, content_hash, schedules, rules, slos, explicit=explicit, now=now)
            break
        except TRY_AGAIN as error:
            if attempt == ATTEMPTS - 1:
                raise
            log.info("the application of set %s is repeated: %s", set_name, " ".join(str(error).split()))
    rule_store.review(session, now)
    return applied


def _apply(
    session: Session,
    set_name: str,
    content_hash: str,
    schedules: Sequence[Schedule],
    rules: Sequence[Rule],
    slos: Mapping[str, str],
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
        rule_store.lock_changes(session)
        rule_rows = {row.label: row for row in rule_store.known(session, set_name, [rule.label for rule in rules])}
        keys = {key for schedule in schedules for key in (schedule.key, *schedule.was)}
        rows = {row.key: row for row in store.lock_known(session, set_name, keys)}
        _refuse_foreign(set_name, schedules, rows, rules, rule_rows)
        _judge_fillable(session, schedules, explicit=explicit)
        own = {key: row for key, row in rows.items() if row.set_name == set_name}
        former = renamings(schedules, own, rows)
        difference = compare(schedules, {key: _standing(row) for key, row in own.items()}, former)
        withdrawn = _write(session, set_name, {s.key: s for s in schedules}, rows, difference, former, now=moment)
        if contents[-1:] != [content_hash]:
            store.record_version(session, set_name, content_hash, moment)
        alarms.write_slos(session, set_name, slos)
        if not difference.empty:
            store.wake_clock(session)
        # Last: claims wait from here until the transaction ends.
        rule_difference = _write_rules(session, set_name, rules, rule_rows, now)
    return Applied(difference, withdrawn, rule_difference)


def _refuse_foreign(
    set_name: str,
    schedules: Sequence[Schedule],
    rows: Mapping[str, KnownSchedule],
    rules: Sequence[Rule],
    rule_rows: Mapping[str, KnownRule],
) -> None:
    wanted: list[tuple[str, str, KnownSchedule | KnownRule | None]] = [
        *((one.source, f"schedule {one.key!r}", rows.get(one.key)) for one in schedules),
        *((one.source, f"{one.kind} {one.name!r}", rule_rows.get(one.label)) for one in rules),
    ]
    faults = []
    for source, what, row in wanted:
        if row is None or row.set_name == set_name or row.state == "removed":
            continue
        owner = f"set {row.set_name!r} ({row.source})" if row.set_name else "the API"
        faults.append(
            f"{source}: error: {what} belongs to {owner}, not to set {set_name!r}: rename it here or remove it there"
        )
    if faults:
        raise ScheduleFileError(faults)


def _judge_fillable(session: Session, schedules: Sequence[Schedule], *, explicit: bool) -> None:
    """Refuse what could never be planned; at a start only warn, since newer code may be about to be published."""
    unfit = unfillable(session, schedules)
    sources = {schedule.key: schedule.source for schedule in schedules}
    if unfit and explicit:
        raise ScheduleFileError([f"{sources[key]}: error: schedule {key!r}: {fault}" for key, fault in unfit.items()])
    for key, fault in unfit.items():
        log.warning("schedule %s: %s", key, fault)


def _write_rules(
    session: Session, set_name: str, rules: Sequence[Rule], rows: Mapping[str, KnownRule], now: datetime | None
) -> Difference:
    wanted = {rule.label: rule for rule in rules}
    standing = {
        label: Standing(label, row.source, row.state, row.definition)
        for label, row in rows.items()
        if row.set_name == set_name
    }
    difference = compare_rules(rules, standing)
    changed = [wanted[label] for label in (*difference.added, *difference.changed)]
    rule_store.write(session, set_name, changed, difference.removed, now)
    rule_store.move(session, [wanted[label] for label in difference.moved])
    return difference


def _standing(row: KnownSchedule) -> Standing:
    return Standing(row.key, row.source, row.state, row.definition)


def _write(
    session: Session,
    set_name: str,
    wanted: Mapping[str, Schedule],
    rows: Mapping[str, KnownSchedule],
    difference: Difference,
    former: Mapping[str, str],
    *,
    now: datetime,
) -> int:
    # A key that another set once had and removed is taken over: the row stays, with its watermark and history.
    taken_over = [key for key in difference.added if key in rows]
    changed = {key: rows[former.get(key, key)] for key in (*difference.changed, *difference.renamed, *taken_over)}
    removed = [rows[key] for key in difference.removed]
    changed_rows = account(session, list(changed.values()), now)
    new_rows = [
        *(_changed(set_name, old, row, wanted[key])
          for (key, old), row in zip(changed.items(), changed_rows, strict=True)),
        *(_removed(row) for row in account(session, removed, now, left_out="removed")),
    ]  # fmt: skip
    withdrawn = rewrite(session, new_rows, now)
    added = [new_row(wanted[key], wanted[key].source, now) for key in difference.added if key not in rows]
    store.add(session, set_name, added, now)
    store.move(session, [{"id": rows[key].id, "source": wanted[key].source} for key in difference.moved])
    return withdrawn


def _changed(set_name: str, old: KnownSchedule, accounted: KnownSchedule, schedule: Schedule) -> KnownSchedule:
    """The new version of a row; a tombstone that comes back begins without its old pause."""
    definition = schedule.to_definition()
    comes_back = old.state == "removed"
    # One that comes back unchanged was removed by mistake: its planning goes on where it stood, so nothing is lost.
    by_mistake = comes_back and definition == old.definition
    return replace(
        accounted,
        key=schedule.key,
        set_name=set_name,
        source=schedule.source,
        state=state_of(schedule),
        definition=definition,
        planned_to=min(old.planned_to, accounted.planned_to) if by_mistake else accounted.planned_to,
        paused_until=None if comes_back else old.paused_until,
        note=None if comes_back else old.note,
    )


def _removed(row: KnownSchedule) -> KnownSchedule:
    """The tombstone of a row."""
    return replace(row, state="removed", paused_until=None, note=None)
