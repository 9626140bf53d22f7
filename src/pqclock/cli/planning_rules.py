"""The rules in `pqclock plan`: what would change of throttles, fuses and promises, and who waits for one that would go."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pqclock.cli.output import cell
from pqclock.cli.rules import waiting_words

if TYPE_CHECKING:
    from pqclock.rules.files import FileSet
    from pqclock.rules.rule import Rule
    from pqclock.store.database import Session
    from pqclock.store.rules import KnownRule, Waiting

_KINDS = ("added", "changed", "removed", "moved")
_VALUE_WIDTH = 100


@dataclass(frozen=True, slots=True)
class RuleField:
    """A field that differs; None stands for a field that is not given."""

    name: str
    old: object
    new: object


@dataclass(frozen=True, slots=True)
class RuleChange:
    """What would happen to a rule: `refused` for one of somebody else's, with the reason.

    `waiting` is how many jobs have still to pass the gates of one that would be removed.
    """

    rule: str
    change: str
    source: str
    fields: tuple[RuleField, ...] = ()
    waiting: int | None = None
    message: str | None = None

    @property
    def differs(self) -> bool:
        """Whether applying would change what is in force."""
        return self.change in ("added", "changed", "removed")


def plan_rules(session: Session, set_name: str, files: FileSet) -> list[RuleChange]:
    """What applying the files would do to rules."""
    from pqclock.rules.applying import Standing, compare_rules
    from pqclock.store import rules as store

    wanted = {rule.label: rule for rule in files.rules}
    rows = {row.label: row for row in store.known(session, set_name, wanted)}
    taken = {label: row for label, row in rows.items() if row.set_name != set_name and row.state != "removed"}
    own = {label: row for label, row in rows.items() if row.set_name == set_name}
    standing = {label: Standing(label, row.source, row.state, row.definition) for label, row in own.items()}
    difference = compare_rules([rule for label, rule in wanted.items() if label not in taken], standing)
    waiting = store.waiting(session, difference.removed)
    refused = [_refused(wanted[label], row, set_name) for label, row in taken.items()]
    return refused + [
        _change(change, label, wanted.get(label), own.get(label), waiting.get(label))
        for change in _KINDS
        for label in sorted(getattr(difference, change))
    ]


def plan_slos(session: Session, set_name: str, files: FileSet) -> list[RuleChange]:
    """What applying the files would do to the promises of queues."""
    from pqclock.store import alarms

    old, new = alarms.slos_of_set(session, set_name), files.slos
    found = []
    for queue in sorted(old.keys() | new.keys()):
        was, will = old.get(queue), new.get(queue)
        if was != will:
            change = "added" if was is None else "removed" if will is None else "changed"
            fields = (RuleField("slo", was, will),) if change == "changed" else ()
            found.append(RuleChange(f"queue.{queue}", change, "", fields))
    return found


def _refused(rule: Rule, row: KnownRule, set_name: str) -> RuleChange:
    message = f"belongs to {row.owner}, not to set {set_name!r}: rename it here or remove it there"
    return RuleChange(rule.label, "refused", rule.source, message=message)


def _change(change: str, label: str, rule: Rule | None, row: KnownRule | None, waiting: Waiting | None) -> RuleChange:
    if rule is None:
        message = None if waiting is None else waiting_words(waiting)
        return RuleChange(
            label, change, row.source if row else "", waiting=waiting.jobs if waiting else 0, message=message
        )
    return RuleChange(label, change, rule.source, tuple(_fields(rule, row)) if row else ())


def _fields(rule: Rule, row: KnownRule) -> Iterator[RuleField]:
    old: dict[str, Any] = {**row.definition, "state": row.state, "source": row.source}
    new: dict[str, Any] = {**rule.definition, "state": "active", "source": rule.source}
    for name in dict.fromkeys([*sorted({*row.definition, *rule.definition}), "state", "source"]):
        if old.get(name) != new.get(name):
            yield RuleField(name, old.get(name), new.get(name))


def show_rules(changes: Sequence[RuleChange]) -> None:
    """The changes, in the form of those of schedules; a rule stands in brackets, as in a file."""
    for change in changes:
        click.echo(
            f"{change.change:<8} [{cell(change.rule)}]" + (f"  ({cell(change.source)})" if change.source else "")
        )
        if change.message:
            severity = "error" if change.change == "refused" else "warning"
            click.echo(f"    {severity}: {cell(change.message, 500)}")
        for one in change.fields:
            click.echo(f"    {cell(one.name)}: {_value(one.old)} -> {_value(one.new)}")


def counted(changes: Sequence[RuleChange]) -> str:
    """How many rules change, for the last line; empty without any."""
    numbers = [(sum(one.change == kind for one in changes), kind) for kind in _KINDS]
    return ", ".join(f"{number} {kind}" for number, kind in numbers if number)


def _value(value: object) -> str:
    return "not set" if value is None else cell(json.dumps(value, ensure_ascii=False), _VALUE_WIDTH)
