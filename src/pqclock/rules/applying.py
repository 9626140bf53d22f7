"""What applying schedule files changes: the files against what the database has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pqclock.rules.rule import Rule
from pqclock.rules.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Standing:
    """A schedule, or a rule by its label, as the database has it, as far as a comparison needs it."""

    key: str
    source: str
    state: str
    definition: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Difference:
    """Keys by what happens to them; `moved` have the same meaning at another place of the files.

    `renamed` go on from a former key, whatever else changes.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    renamed: tuple[str, ...]
    removed: tuple[str, ...]
    moved: tuple[str, ...]
    unchanged: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Nothing is added, changed, renamed or removed."""
        return not (self.added or self.changed or self.renamed or self.removed)


def state_of(schedule: Schedule) -> str:
    """The state in which a schedule of the files is stored."""
    return "active" if schedule.enabled else "disabled"


def renamings(wanted: Iterable[Schedule], own: Collection[str], known: Collection[str]) -> dict[str, str]:
    """New key -> former key, for schedules that are not known yet and whose former key is among the `own` ones."""
    found: dict[str, str] = {}
    for schedule in wanted:
        former = next((key for key in schedule.was if key in own and key not in found.values()), None)
        if former is not None and schedule.key not in known:
            found[schedule.key] = former
    return found


def compare(
    wanted: Sequence[Schedule], standing: Mapping[str, Standing], renamed: Mapping[str, str] | None = None
) -> Difference:
    """The difference between the files and a set; a removed schedule that comes back counts as changed.

    `renamed` says which new keys go on from which former ones.
    """
    renamed = renamed or {}
    sorted_out: dict[str, list[str]] = {name: [] for name in Difference.__dataclass_fields__}
    for schedule in wanted:
        new = Standing(schedule.key, schedule.source, state_of(schedule), schedule.to_definition())
        change = "renamed" if schedule.key in renamed else _change(new, standing.get(schedule.key))
        sorted_out[change].append(schedule.key)
    return _difference(sorted_out, {schedule.key for schedule in wanted} | set(renamed.values()), standing)


def compare_rules(wanted: Sequence[Rule], standing: Mapping[str, Standing]) -> Difference:
    """The difference between the rules of files and those of a set, by their labels; as for schedules."""
    sorted_out: dict[str, list[str]] = {name: [] for name in Difference.__dataclass_fields__}
    for rule in wanted:
        new = Standing(rule.label, rule.source, "active", rule.definition)
        sorted_out[_change(new, standing.get(rule.label))].append(rule.label)
    return _difference(sorted_out, {rule.label for rule in wanted}, standing)


def _difference(
    sorted_out: dict[str, list[str]], kept: Collection[str], standing: Mapping[str, Standing]
) -> Difference:
    removed = [key for key, row in standing.items() if key not in kept and row.state != "removed"]
    return Difference(**{name: tuple(keys) for name, keys in {**sorted_out, "removed": removed}.items()})


def _change(new: Standing, row: Standing | None) -> str:
    if row is None:
        return "added"
    if row.state != new.state or row.definition != new.definition:
        return "changed"
    return "unchanged" if row.source == new.source else "moved"
