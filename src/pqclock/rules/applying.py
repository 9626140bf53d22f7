"""What applying schedule files changes: the files against what the database has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pqclock.rules.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Standing:
    """A schedule as the database has it, as far as a comparison needs it."""

    key: str
    source: str
    state: str
    definition: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Difference:
    """Keys by what happens to them; `moved` have the same meaning at another place of the files."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    moved: tuple[str, ...]
    unchanged: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Nothing is added, changed or removed."""
        return not (self.added or self.changed or self.removed)


def state_of(schedule: Schedule) -> str:
    """The state in which a schedule of the files is stored."""
    return "active" if schedule.enabled else "disabled"


def compare(wanted: Sequence[Schedule], standing: Mapping[str, Standing]) -> Difference:
    """The difference between the files and a set; a removed schedule that comes back counts as changed."""
    sorted_out: dict[str, list[str]] = {"added": [], "changed": [], "removed": [], "moved": [], "unchanged": []}
    for schedule in wanted:
        sorted_out[_change(schedule, standing.get(schedule.key))].append(schedule.key)
    kept = {schedule.key for schedule in wanted}
    sorted_out["removed"] = [key for key, row in standing.items() if key not in kept and row.state != "removed"]
    return Difference(**{name: tuple(keys) for name, keys in sorted_out.items()})


def _change(schedule: Schedule, row: Standing | None) -> str:
    if row is None:
        return "added"
    if row.state != state_of(schedule) or row.definition != schedule.to_definition():
        return "changed"
    return "unchanged" if row.source == schedule.source else "moved"
