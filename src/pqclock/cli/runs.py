"""The last ticks of schedules and their jobs, as `pqclock schedules` shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, tzinfo
from typing import Any

from pqclock.rules.moments import moment, span
from pqclock.store.runs import LastTick, Measured

COLUMNS = ("tick", "state", "attempt", "late", "took", "job", "error")

_OF_RUN = ("state", "attempt", "max_attempts", "run_at", "started_at", "finished_at", "error")
_MILLISECOND = timedelta(milliseconds=1)


def last_columns(last: LastTick | None, now: datetime, zone: tzinfo) -> tuple[str, str]:
    """When the last tick was, and what became of it."""
    if last is None:
        return "", ""
    reason = last.ledger.reason if last.run is None else None
    return moment(last.ledger.tick, now, zone), f"{last.state}: {reason}" if reason else last.state


def table_rows(ticks: Sequence[LastTick], now: datetime, zone: tzinfo) -> list[tuple[object, ...]]:
    """A line for each tick."""
    return [
        (
            *last_columns(tick, now, zone),
            f"{tick.run.attempt}/{tick.run.max_attempts}" if tick.run else None,
            length(_milliseconds(tick.run.lateness)) if tick.run else None,
            length(_milliseconds(tick.run.duration)) if tick.run else None,
            tick.ledger.job_id,
            tick.run.error if tick.run else None,
        )
        for tick in ticks
    ]


def measured_lines(measured: Measured) -> list[tuple[str, str]]:
    """Name and value of what was measured; nothing where nothing was."""
    if not measured.runs:
        return []
    late = f"p50 {length(measured.lateness_p50_ms)}, p99 {length(measured.lateness_p99_ms)}"
    over = "last run" if measured.runs == 1 else f"last {measured.runs} runs"
    lines = [("lateness", f"{late} (due -> handler begins, {over})")]
    if measured.duration_p50_ms is not None:
        lines.append(("duration", f"p50 {length(measured.duration_p50_ms)}, p99 {length(measured.duration_p99_ms)}"))
    return lines


def as_row(tick: LastTick | None) -> dict[str, Any] | None:
    """The tick as a JSON object; None for no tick."""
    if tick is None:
        return None
    run = tick.run
    of_ledger = {name: getattr(tick.ledger, name) for name in ("tick", "outcome", "reason", "job_id")}
    return {
        **of_ledger,
        **{name: getattr(run, name) if run else None for name in _OF_RUN},
        "lateness_ms": _milliseconds(run.lateness) if run else None,
        "duration_ms": _milliseconds(run.duration) if run else None,
    }


def measured_row(measured: Measured) -> dict[str, Any]:
    """What was measured, as fields of the schedule."""
    return {"runs_measured" if name == "runs" else name: _rounded(value) for name, value in asdict(measured).items()}


def length(milliseconds: float | None) -> str:
    """`4.8 ms`, `1.25 s` or `2h5m`."""
    if milliseconds is None:
        return ""
    if abs(milliseconds) < 1000:
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds / 1000:.2f} s" if abs(milliseconds) < 60_000 else span(milliseconds * _MILLISECOND)


def _milliseconds(found: timedelta | None) -> float | None:
    return None if found is None else _rounded(found / _MILLISECOND)


def _rounded(value: float | None) -> float | None:
    return round(value, 3) if isinstance(value, float) else value
