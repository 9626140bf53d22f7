"""The goals as a picture: how much of each was reached, as bars in an SVG."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from benchmarks.suite import Goal, Result

ROW, TOP, LEFT, WIDTH, RIGHT = 22, 44, 390, 320, 170
# Bars end there, however much more was reached.
MOST = 1.6
COLOURS = {True: "#2f7d4f", False: "#b4552d"}


def reached(goal: Goal, found: float) -> float:
    """The part of a goal that was reached: 1 when it is just met."""
    if not goal.at_most:
        return found / goal.limit
    return MOST if found <= 0 else goal.limit / found


def svg(results: Iterable[Result]) -> str:
    """A bar for each goal; the line is where it is met."""
    rows = [
        (result, goal, goal.found(result.medians))
        for result in results
        for goal in result.workload.goals
        if goal.cell in result.rounds
    ]
    height = TOP + ROW * len(rows) + 12
    met_at = LEFT + WIDTH / MOST
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12">',
        "<title>How much of each goal was reached</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{met_at:.0f}" y="24" text-anchor="middle" fill="#444">goal</text>',
        f'<line x1="{met_at:.1f}" x2="{met_at:.1f}" y1="30" y2="{height - 8}" stroke="#444" stroke-dasharray="3 3"/>',
    ]
    for number, (result, goal, found) in enumerate(rows):
        y = TOP + ROW * number
        width = max(1.0, min(reached(goal, found), MOST) / MOST * WIDTH)
        colour = COLOURS[goal.is_met(result.medians)]
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 12}" text-anchor="end" fill="#222">{escape(_name(result, goal))}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="15" rx="2" fill="{colour}"/>',
            f'<text x="{LEFT + WIDTH + 10}" y="{y + 12}" fill="#222">{_told(goal, found)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def _name(result: Result, goal: Goal) -> str:
    cell = "" if goal.cell == "pqclock" else f", {goal.cell}"
    return f"{result.workload.name}{cell}: {goal.figure}" + (f" / {goal.against}" if goal.against else "")


def _told(goal: Goal, found: float) -> str:
    relation = "&#8804;" if goal.at_most else "&#8805;"
    return f"{found:,.3g} (goal {relation} {goal.limit:,g})"
