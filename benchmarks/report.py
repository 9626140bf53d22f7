"""What a benchmark came to, as a table."""

from __future__ import annotations

from benchmarks.suite import Result


def table(result: Result) -> str:
    """Medians with the least and the most of each figure, and what became of the goals."""
    lines = [f"\n{result.workload.title}"]
    for cell, figures in result.rounds.items():
        for name, values in figures.items():
            median = result.medians[cell][name]
            lines.append(f"  {cell:12} {name:12} {median:12,.2f}   {min(values):,.2f} to {max(values):,.2f}")
    for goal in result.workload.goals:
        if goal.cell in result.rounds:
            met = "met" if goal.is_met(result.medians) else "missed"
            lines.append(f"  goal {goal}: {goal.found(result.medians):.3f}, {met}")
    return "\n".join(lines)
