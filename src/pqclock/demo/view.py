"""The demo's live view: what is coming, what just ran, and how late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pqclock.store.lateness import Ahead, Lateness, RecentTick

STYLES = {
    "scheduled": "cyan",
    "ready": "yellow",
    "running": "bold blue",
    "succeeded": "green",
    "failed": "bold red",
    "cancelled": "magenta",
    "discarded": "magenta",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """What the view shows at `now` (the database's)."""

    now: datetime
    seconds: float
    leader: str
    schedules: Sequence[Ahead]
    ticks: Sequence[RecentTick]
    lateness: Lateness
    outcomes: dict[str, int]
    hint: str


def draw(scene: Scene) -> RenderableType:
    """The whole screen."""
    return Group(_headline(scene), _coming(scene), Text(), _recent(scene), Text(scene.hint, style="dim"))


def _headline(scene: Scene) -> RenderableType:
    late = scene.lateness
    lines = [
        ("pqclock demo  ", "bold"),
        (f"{scene.now:%H:%M:%S} UTC, {scene.seconds:.0f} s  ", ""),
        (scene.leader, "bold green" if scene.leader.startswith("leading") else "yellow"),
        (
            f"\nticks due {late.ticks_inserted}, inserted ahead {sum(row.inserted_ahead for row in scene.schedules)}",
            "bold",
        ),
        (f"   attempts {_counts(scene.outcomes)}", ""),
        (f"   lateness p50 {milliseconds(late.lateness_p50_ms)}, p99 {milliseconds(late.lateness_p99_ms)}", "bold"),
    ]
    return Panel(Text.assemble(*lines), border_style="blue")


def _counts(outcomes: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items())) or "none"


def _coming(scene: Scene) -> RenderableType:
    table = _table("schedule", "when", "next tick", ">in", ">ahead", "what it is")
    for row in scene.schedules:
        wait = (row.next_tick - scene.now).total_seconds() if row.next_tick else None
        table.add_row(
            Text(row.key, style="bold"),
            Text(row.timing),
            f"{row.next_tick:%H:%M:%S}" if row.next_tick else "-",
            f"{max(0.0, wait):.1f} s" if wait is not None else "-",
            str(row.inserted_ahead),
            Text(row.description or "", style="dim"),
        )
    return table


def _recent(scene: Scene) -> RenderableType:
    table = _table("tick", "schedule", "queue", "state", "attempt", ">late", ">took", "what came of it")
    for row in scene.ticks:
        table.add_row(
            f"{row.tick:%H:%M:%S}",
            Text(row.key, style="bold"),
            Text(row.queue),
            Text(row.state, style=STYLES.get(row.state, "")),
            f"{row.attempt} of {row.max_attempts}",
            _late(row),
            _between(row.started_at, row.finished_at),
            Text(_came_to(row), style="dim"),
        )
    return table


def _table(*columns: str) -> Table:
    """A light table; the last column takes what is left of the line, the others are never cut."""
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    for name in columns[:-1]:
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", no_wrap=True)
    table.add_column(columns[-1], no_wrap=True, overflow="ellipsis", ratio=1)
    return table


def _late(row: RecentTick) -> str:
    """Only a first attempt can be late; a later one was meant to wait."""
    return _between(row.tick, row.started_at) if row.attempt <= 1 else ""


def _between(start: datetime | None, end: datetime | None) -> str:
    if start is None or end is None:
        return ""
    return milliseconds((end - start).total_seconds() * 1000)


def _came_to(row: RecentTick) -> str:
    if row.state == "scheduled" and row.attempt:
        return f"again at {row.run_at:%H:%M:%S}: {row.error}"
    return row.error or (str(row.result) if row.result is not None else "")


def milliseconds(value: float | None) -> str:
    """A length of time, as people read it."""
    if value is None:
        return "-"
    return f"{value:.1f} ms" if value < 1000 else f"{value / 1000:.1f} s"
