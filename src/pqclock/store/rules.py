"""Throttles and fuses: what files and the API declare, and the look at their gates when that changes.

A change takes effect at the next claim, everywhere: no claim is under way while it is committed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pqclock.errors import ArgumentError, UnknownRule
from pqclock.rules.files.declarations import checked_label, hint_label, rule_from_fields
from pqclock.rules.files.findings import show
from pqclock.rules.rule import Rule, meant, split_label
from pqclock.store import schedules
from pqclock.store.changing import repeated
from pqclock.store.database import Session
from pqclock.store.runtime import SOURCE

# Gates of a rule, and jobs behind gates, are counted no further.
MOST_GATES = 10_000
MOST_WAITING = 100_000
# Gates that a change looks through at a time: claims wait for that.
SLICE = 500
_SUGGESTED_FROM = 500


@dataclass(frozen=True, slots=True)
class KnownRule:
    """A rule as the database has it."""

    kind: str
    name: str
    set_name: str | None
    source: str
    state: str
    version: int
    definition: dict[str, Any]
    updated_at: datetime

    @property
    def label(self) -> str:
        """KIND.NAME."""
        return f"{self.kind}.{self.name}"

    @property
    def owner(self) -> str:
        """Whose it is, for messages."""
        return f"set {self.set_name!r} ({self.source})" if self.set_name else "the API"


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule as it is listed; `rule` is KIND.NAME."""

    rule: str
    kind: str
    name: str
    source: str
    set: str | None
    state: str
    version: int
    definition: dict[str, Any]
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many jobs have still to pass the gates of a rule; at least so many, unless all were seen."""

    jobs: int
    all_seen: bool


def put(session: Session, wanted: Sequence[Rule], now: datetime | None = None) -> list[str]:
    """Add rules and change those that differ, of the API; gives the labels of what was written.

    Raises ArgumentError for those that files declare.
    """
    by_label = {rule.label: rule for rule in wanted}
    written = repeated(session, lambda: _put(session, by_label, now))
    review(session, now)
    return written


def remove(session: Session, label: str, now: datetime | None = None) -> None:
    """Leave a tombstone: the gates of the rule are open. Raises UnknownRule, ArgumentError for one of files."""
    checked_label(label)

    def change() -> None:
        lock_changes(session)
        found = [row for row in known(session, None, [label]) if row.state != "removed"]
        if not found:
            raise _unknown(session, label)
        _refuse_declared(found)
        write(session, None, [], [label], now)

    repeated(session, change)
    review(session, now)


def lock_changes(session: Session) -> None:
    """One change of rules at a time, until the transaction ends."""
    session.run("rules.lock_changes")


def known(session: Session, set_name: str | None, labels: Iterable[str]) -> list[KnownRule]:
    """The rules of a set and those with these labels, also removed ones."""
    return session.fetch(KnownRule, "rules.known", set_name=set_name, **_columns(labels))


def write(
    session: Session, set_name: str | None, changed: Sequence[Rule], removed: Collection[str], now: datetime | None
) -> None:
    """Write rules and tombstones, in a transaction that `lock_changes` began, and have their gates looked at.

    The last step of the transaction: claims wait from here on until it ends. Where there are many gates, `review` does
    the rest of them after it.
    """
    labels = sorted({*(rule.label for rule in changed), *removed})
    if not labels:
        return
    moment = schedules.database_now(session, now)
    back = session.run("gates.removed", **_columns(rule.label for rule in changed)).fetchall()
    session.run("rules.write", set_name=set_name, rows=json.dumps([_row(rule) for rule in changed]), now=moment)
    session.run("rules.remove", now=moment, **_columns(removed))
    session.run("rules.keep_out_claims")
    session.run("rules.fill_places", **_columns(labels))
    if back:
        session.run("gates.begin_anew", kinds=[kind for kind, _ in back], names=[name for _, name in back], now=now)
    # Not `moment`: the gates are held only now, and a start may have come in between.
    if len(_review(session, _columns(labels), 0, now)) == SLICE:
        session.run("rules.leave_the_rest", **_columns(labels))


def review(session: Session, now: datetime | None = None, *, slices: int | None = None) -> bool:
    """Look through the gates that a change has left over, slice by slice; True when some may be left.

    By whoever has changed the rule, and by the leader, in case that did not get so far. Until then such gates open by
    the new rule, but not before the instant that the old one gave.
    """
    done = 0
    while slices is None or done < slices:
        with session.transaction():
            row = session.run("rules.unreviewed").fetchone()
            if row is None:
                return False
            kind, name, after = row
            ids = _review(session, {"kinds": [kind], "names": [name]}, after, now)
            reviewed_to = ids[-1] if len(ids) == SLICE else None
            session.run("rules.note_review", kind=kind, name=name, reviewed_to=reviewed_to)
        done += 1
    return True


def _review(session: Session, columns: dict[str, list[str]], after: int, now: datetime | None) -> list[int]:
    ids = [gate_id for (gate_id,) in session.run("rules.review", after=after, most=SLICE, now=now, **columns)]
    if ids:
        session.run("rules.tell", ids=ids, now=now)
    return ids


def move(session: Session, rules: Sequence[Rule]) -> None:
    """Note another place in the files for rules that are otherwise the same."""
    if rules:
        session.run("rules.move", sources=[rule.source for rule in rules], **_columns(rule.label for rule in rules))


def rows(
    session: Session, *, kind: str | None = None, removed: bool = False, after: str = "", limit: int = 50
) -> list[RuleRow]:
    """Rules in the order of their labels, those after one."""
    return session.fetch(RuleRow, "rules.list", kind=kind, removed=removed, after=after, limit=limit)


def show_rule(session: Session, label: str) -> tuple[RuleRow, int, int]:
    """A rule, also a removed one, how many gates it has, and how many of them are waited for. Raises UnknownRule."""
    kind, name = checked_label(label)
    found = session.fetch(RuleRow, "rules.show", kind=kind, name=name)
    if not found:
        raise _unknown(session, label)
    counted = session.run("rules.gates", kind=kind, name=name, limit=MOST_GATES).fetchone()
    assert counted is not None
    return found[0], counted[0], counted[1]


def find(session: Session, label: str) -> Rule:
    """A rule that is in force; raises UnknownRule."""
    row = show_rule(session, label)[0]
    if row.state == "removed":
        raise _unknown(session, label)
    return Rule(row.kind, row.name, row.definition, row.source)


def find_meant(session: Session, given: str, fields: Mapping[str, Any]) -> Rule:
    """The rule that a label or a bare name stands for, with single fields changed; it need not be there if they say all.

    Raises UnknownRule, and ArgumentError for fields that make no rule.
    """
    labels = [label for (label,) in session.run("rules.labels", limit=MOST_GATES)]
    label = meant(given, labels, fields)
    if not fields:
        return find(session, label)
    base = find(session, label).definition if label in labels else {}
    return rule_from_fields(label, {**base, **fields})


def waiting(session: Session, labels: Collection[str]) -> dict[str, Waiting]:
    """Of these rules, those that waiting jobs have still to pass."""
    if not labels:
        return {}
    found = session.run("rules.waiting", most=MOST_WAITING, **_columns(labels))
    return {f"{kind}.{name}": Waiting(jobs, all_seen) for kind, name, jobs, all_seen in found}


def _put(session: Session, wanted: Mapping[str, Rule], now: datetime | None) -> list[str]:
    lock_changes(session)
    there = {row.label: row for row in known(session, None, wanted) if row.label in wanted}
    _refuse_declared([row for row in there.values() if row.state != "removed"])
    differing = [rule for label, rule in sorted(wanted.items()) if _differs(rule, there.get(label))]
    write(session, None, [Rule(rule.kind, rule.name, rule.definition, SOURCE) for rule in differing], [], now)
    return [rule.label for rule in differing]


def _differs(rule: Rule, row: KnownRule | None) -> bool:
    return row is None or row.state == "removed" or row.definition != dict(rule.definition)


def _refuse_declared(found: Sequence[KnownRule]) -> None:
    faults = [
        f"rule {show(row.label)} is declared in {row.source} (set {show(row.set_name)}): change it there, and run "
        f"`pqclock apply`"
        for row in found
        if row.set_name is not None
    ]
    if faults:
        raise ArgumentError("\n".join(faults))


def _unknown(session: Session, label: str) -> UnknownRule:
    near = [found for (found,) in session.run("rules.labels", limit=_SUGGESTED_FROM)]
    return UnknownRule(f"the database has no rule {show(label)}{hint_label(label, near)}; see `pqclock rules list`")


def _row(rule: Rule) -> dict[str, Any]:
    given = {"kind": rule.kind, "name": rule.name, "source": rule.source, "definition": dict(rule.definition)}
    return {**given, **rule.numbers()}


def _columns(labels: Iterable[str]) -> dict[str, list[str]]:
    pairs = [pair for label in labels if (pair := split_label(label)) is not None]
    return {"kinds": [kind for kind, _ in pairs], "names": [name for _, name in pairs]}
