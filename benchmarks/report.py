"""What a benchmark came to, as a table."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.suite import Goal, Result

FIGURES = ("<!-- figures -->\n", "<!-- end of figures -->\n")


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


def with_figures(page: str, results: Iterable[Result]) -> str:
    """A page in Markdown whose table of figures, between two marks, is a new one."""
    begin, end = FIGURES
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise SystemExit(
            f"benchmark: the page has no {begin.strip()} and {end.strip()}: put both where the table is to be"
        )
    lines = ["| workload | what | measured | goal | |", "|---|---|---|---|---|"]
    lines += [_line(result, goal) for result in results for goal in result.workload.goals if goal.cell in result.rounds]
    return f"{before}{begin}{chr(10).join(lines)}{chr(10)}{end}{after}"


def _line(result: Result, goal: Goal) -> str:
    values = result.rounds[goal.cell][goal.figure]
    what = f"{goal.cell}: {goal.figure}" if len(result.rounds) > 1 else goal.figure
    span = f"{_short(min(values))} to {_short(max(values))}" if len(values) > 1 else _short(values[0])
    found = goal.found(result.medians)
    if goal.against:
        base = result.medians[goal.against][goal.figure]
        measured = f"**{found:.2f}** of {goal.against}: {span} / {_short(base)} {result.workload.unit}"
    else:
        measured = f"**{_short(found)}**" + (f" ({span})" if len(values) > 1 else "")
    relation = "&le;" if goal.at_most else "&ge;"
    return (
        f"| {result.workload.title} | {what} | {measured} | {relation} {goal.limit:,g} "
        f"| {'met' if goal.is_met(result.medians) else 'missed'} |"
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
