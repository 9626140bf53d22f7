"""What this process counts, for Prometheus and for OpenTelemetry; nothing is counted where nobody has asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pqclock.metrics import opentelemetry, prometheus


class JobMetrics(Protocol):
    """What a worker has claimed and what became of it."""

    def claimed(self, queue: str, number: int = 1) -> None:
        """Jobs of a queue were claimed."""

    def ended(self, queue: str, task: str, outcome: str, late: float | None, took: float | None) -> None:
        """A run has ended; seconds late and seconds long, where that is known."""


class ClockMetrics(Protocol):
    """What a clock has done in its terms."""

    def ticks(self, outcome: str, number: int) -> None:
        """Ticks were written to the ledger."""

    def promoted(self, number: int) -> None:
        """Jobs became ready."""

    def term(self) -> None:
        """A term has begun."""


def job_metrics() -> JobMetrics | None:
    """Those of a worker, where they are wanted."""
    made: list[JobMetrics] = [prometheus.JobMetrics()] if prometheus.wanted() else []
    if opentelemetry.wanted():
        made.append(opentelemetry.JobMetrics())
    return _BothOfJobs(made) if len(made) > 1 else next(iter(made), None)


def clock_metrics() -> ClockMetrics | None:
    """Those of a clock, where they are wanted."""
    made: list[ClockMetrics] = [prometheus.ClockMetrics()] if prometheus.wanted() else []
    if opentelemetry.wanted():
        made.append(opentelemetry.ClockMetrics())
    return _BothOfClock(made) if len(made) > 1 else next(iter(made), None)


class _BothOfJobs:
    def __init__(self, made: Sequence[JobMetrics]) -> None:
        self._made = made

    def claimed(self, queue: str, number: int = 1) -> None:
        for one in self._made:
            one.claimed(queue, number)

    def ended(self, queue: str, task: str, outcome: str, late: float | None, took: float | None) -> None:
        for one in self._made:
            one.ended(queue, task, outcome, late, took)


class _BothOfClock:
    def __init__(self, made: Sequence[ClockMetrics]) -> None:
        self._made = made

    def ticks(self, outcome: str, number: int) -> None:
        for one in self._made:
            one.ticks(outcome, number)

    def promoted(self, number: int) -> None:
        for one in self._made:
            one.promoted(number)

    def term(self) -> None:
        for one in self._made:
            one.term()
