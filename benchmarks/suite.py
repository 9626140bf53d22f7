"""How the benchmarks are run: the cells of a workload in turn, in rounds, each in a new database; and what is told of it."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.server import Server

Figures = Mapping[str, float]
Cell = Callable[[Server], Figures]


@dataclass(frozen=True)
class Goal:
    """What a figure of a cell is to reach: as a ratio to that of another cell in the same run, or by itself."""

    cell: str
    figure: str
    limit: float
    against: str | None = None
    at_most: bool = False

    def found(self, medians: Mapping[str, Figures]) -> float:
        """What was reached."""
        value = medians[self.cell][self.figure]
        return value if self.against is None else value / medians[self.against][self.figure]

    def is_met(self, medians: Mapping[str, Figures]) -> bool:
        """Whether that is enough."""
        found = self.found(medians)
        return found <= self.limit if self.at_most else found >= self.limit

    def __str__(self) -> str:
        relation = "<=" if self.at_most else ">="
        of = f" of {self.against}" if self.against else ""
        return f"{self.cell} {self.figure} {relation} {self.limit:g}{of}"


@dataclass(frozen=True)
class Workload:
    """Cells that are compared with each other, and what is to come out of it; `figure` is the one of the plot."""

    name: str
    title: str
    figure: str
    unit: str
    cells: Mapping[str, Cell]
    goals: Sequence[Goal] = ()


@dataclass
class Result:
    """What the rounds of a workload came to: of each cell, each figure's value in each round."""

    workload: Workload
    rounds: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, cell: str, figures: Figures) -> None:
        """Note a round."""
        for name, value in figures.items():
            self.rounds.setdefault(cell, {}).setdefault(name, []).append(value)

    @property
    def medians(self) -> dict[str, dict[str, float]]:
        """The median of each figure of each cell."""
        return {
            cell: {name: statistics.median(values) for name, values in figures.items()}
            for cell, figures in self.rounds.items()
        }

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        goals = [
            {"goal": str(goal), "found": round(goal.found(self.medians), 4), "met": goal.is_met(self.medians)}
            for goal in self.workload.goals
            if goal.cell in self.rounds
        ]
        return {"workload": self.workload.name, "title": self.workload.title, "rounds": self.rounds, "goals": goals}


def run(server: Server, workload: Workload, rounds: int, tell: Callable[[str], None]) -> Result:
    """Run all cells, one after the other, in each round, so that what else the machine does meets all of them."""
    result = Result(workload)
    for number in range(rounds):
        for name, cell in workload.cells.items():
            figures = cell(server)
            result.add(name, figures)
            tell(
                f"{workload.name} {number + 1}/{rounds} {name}: "
                + ", ".join(f"{k} {v:,.4g}" for k, v in figures.items())
            )
    return result


def machine() -> dict[str, Any]:
    """The size of it."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
