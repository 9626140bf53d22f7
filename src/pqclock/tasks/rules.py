"""`app.rules`: throttles and fuses that are put, changed and removed at run time, beside those of files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pqclock.errors import ArgumentError
from pqclock.rules.files import rule_from_fields
from pqclock.rules.files.findings import show
from pqclock.rules.rule import KINDS, Rule
from pqclock.store import rules as store
from pqclock.store.rules import RuleRow

if TYPE_CHECKING:
    from pqclock.tasks.connections import Connections


class Rules:
    """The verbs of rules at run time. They block: on an event loop, call them through `asyncio.to_thread`.

    A rule is named as in files, by kind and name: `throttle.stripe`, `fuse.warehouse`.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def put(self, rule: str, **fields: Any) -> bool:
        """Add the rule, or change it in place; False when it is so already. It holds at the next claim, everywhere.

        Fields are those of schedule files: `rate`, `burst` and `concurrency` of a throttle; `failures`, `failure_rate`,
        `minimum`, `within`, `cool_down`, `max_cool_down`, `probes`, `only` and `ignore` of a fuse. A fuse that is blown
        stays so until its time. Raises ArgumentError with a line for each fault, and for a rule that files declare.
        """
        return bool(self.put_many([{"rule": rule, **fields}]))

    def put_many(self, rules: Iterable[Mapping[str, Any]]) -> list[str]:
        """Put many rules in one transaction, each a mapping with `rule` and its fields; gives those written."""
        wanted = _rules(rules)
        with self._connections.session() as session:
            return store.put(session, wanted)

    def remove(self, rule: str) -> None:
        """Remove a rule that was put: its gates are open. Raises UnknownRule, ArgumentError for one of files."""
        with self._connections.session() as session:
            store.remove(session, rule)

    def list(self, kind: str | None = None) -> list[RuleRow]:
        """All rules that are in force, of files and of the API, in the order of their names; of one `kind`, throttle or fuse."""
        if kind not in (None, *KINDS):
            raise ArgumentError(f"the kind {kind!r:.60} is not known: choose one of {', '.join(KINDS)}")
        found: list[RuleRow] = []
        with self._connections.session() as session:
            while page := store.rows(session, kind=kind, after=found[-1].rule if found else "", limit=_PAGE):
                found += page
        return found

    def show(self, rule: str) -> RuleRow:
        """One rule, also one that was removed. Raises UnknownRule."""
        with self._connections.session() as session:
            return store.show_rule(session, rule)[0]


_PAGE = 1000


def _rules(given: Iterable[Mapping[str, Any]]) -> list[Rule]:
    """The rules that the mappings describe; raises ArgumentError with all faults of all of them."""
    found: dict[str, Rule] = {}
    faults: list[str] = []
    for number, fields in enumerate(given):
        if not isinstance(fields, Mapping) or "rule" not in fields:
            faults.append(f"rules[{number}] must be a mapping with a rule such as throttle.stripe, not {fields!r:.60}")
            continue
        label = fields["rule"]
        try:
            rule = rule_from_fields(label, {name: value for name, value in fields.items() if name != "rule"})
        except ArgumentError as error:
            faults += [f"rule {show(label)}: {line}" for line in str(error).splitlines()]
            continue
        if rule.label in found:
            faults.append(f"rule {show(label)} is given twice: leave one out")
        found[rule.label] = rule
    if faults:
        raise ArgumentError("\n".join(faults))
    return list(found.values())
