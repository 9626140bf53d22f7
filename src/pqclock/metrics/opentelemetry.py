"""Counters and histograms of this process for OpenTelemetry, through whatever SDK the process has set up."""

from __future__ import annotations

import sys

from pqclock.metrics.bounds import DURATIONS, LATENESS, Queues

METER = "pqclock"


def wanted() -> bool:
    """Whether anybody exports what is counted here: the SDK of metrics was loaded, by an app or by the interpreter's start."""
    return "opentelemetry.sdk.metrics" in sys.modules


class JobMetrics:
    """What a worker has claimed and what became of it."""

    def __init__(self) -> None:
        from opentelemetry.metrics import get_meter

        meter = get_meter(METER)
        self._claimed = meter.create_counter("pqclock.jobs.claimed", "{job}", "Jobs that were claimed.")
        self._ended = meter.create_counter("pqclock.attempts", "{run}", "Runs that have ended, by outcome.")
        self._late = meter.create_histogram(
            "pqclock.lateness", "s", "From when a job was due to when its handler began, first attempts.",
            explicit_bucket_boundaries_advisory=LATENESS,
        )  # fmt: skip
        self._took = meter.create_histogram(
            "pqclock.run.duration", "s", "How long handlers ran.", explicit_bucket_boundaries_advisory=DURATIONS
        )
        self._queues = Queues()

    def claimed(self, queue: str, number: int = 1) -> None:
        """Jobs of a queue were claimed."""
        self._claimed.add(number, {"queue": self._queues.bounded(queue)})

    def ended(self, queue: str, task: str, outcome: str, late: float | None, took: float | None) -> None:
        """A run has ended; seconds late and seconds long, where that is known."""
        queue = self._queues.bounded(queue)
        self._ended.add(1, {"queue": queue, "task": task, "outcome": outcome})
        if late is not None:
            self._late.record(max(0.0, late), {"queue": queue})
        if took is not None:
            self._took.record(max(0.0, took), {"queue": queue, "task": task})


class ClockMetrics:
    """What a clock has done in its terms."""

    def __init__(self) -> None:
        from opentelemetry.metrics import get_meter

        meter = get_meter(METER)
        self._ticks = meter.create_counter("pqclock.ticks", "{tick}", "Ticks that were decided on, by outcome.")
        self._promoted = meter.create_counter("pqclock.jobs.promoted", "{job}", "Jobs that became ready when due.")
        self._terms = meter.create_counter("pqclock.terms", "{term}", "Terms of leadership of this clock.")

    def ticks(self, outcome: str, number: int) -> None:
        """Ticks were written to the ledger."""
        self._ticks.add(number, {"outcome": outcome})

    def promoted(self, number: int) -> None:
        """Jobs became ready."""
        self._promoted.add(number)

    def term(self) -> None:
        """A term has begun."""
        self._terms.add(1)
