"""Counters and histograms of this process for Prometheus.

The processes of one supervisor write into files of one folder, each under its own name, so that a process that follows
another one goes on counting where that one ended; one page tells all of them. Where `PROMETHEUS_MULTIPROC_DIR` is set
already, as by a web server that has its own page, they are told there.
"""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

from pqclock.metrics.bounds import DURATIONS, LATENESS, OTHERS, Queues

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
NAME_VARIABLE = "PQCLOCK_PROCESS_NAME"


def wanted() -> bool:
    """Whether anybody will read what is counted here."""
    return bool(os.environ.get(FOLDER_VARIABLE)) and find_spec("prometheus_client") is not None


class JobMetrics:
    """What a worker has claimed and what became of it."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        _name_values()
        self.registry = registry = CollectorRegistry()
        self._claimed = Counter("pqclock_jobs_claimed", "Jobs that were claimed.", ["queue"], registry=registry)
        self._ended = Counter(
            "pqclock_attempts", "Runs that have ended, by outcome.", ["queue", "task", "outcome"], registry=registry
        )
        self._late = Histogram(
            "pqclock_lateness_seconds", "From when a job was due to when its handler began, first attempts.", ["queue"],
            buckets=LATENESS, registry=registry,
        )  # fmt: skip
        self._took = Histogram(
            "pqclock_run_seconds", "How long handlers ran.", ["queue", "task"], buckets=DURATIONS, registry=registry
        )
        self._queues = Queues(_queues_so_far())

    def claimed(self, queue: str, number: int = 1) -> None:
        """Jobs of a queue were claimed."""
        self._claimed.labels(self._queues.bounded(queue)).inc(number)

    def ended(self, queue: str, task: str, outcome: str, late: float | None, took: float | None) -> None:
        """A run has ended; seconds late and seconds long, where that is known."""
        queue = self._queues.bounded(queue)
        self._ended.labels(queue, task, outcome).inc()
        if late is not None:
            self._late.labels(queue).observe(max(0.0, late))
        if took is not None:
            self._took.labels(queue, task).observe(max(0.0, took))


class ClockMetrics:
    """What a clock has done in its terms."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter

        _name_values()
        self.registry = registry = CollectorRegistry()
        self._ticks = Counter(
            "pqclock_ticks",
            "Ticks that were decided on, by what the ledger says of them.",
            ["outcome"],
            registry=registry,
        )
        self._promoted = Counter(
            "pqclock_jobs_promoted", "Jobs that became ready when they were due.", registry=registry
        )
        self._terms = Counter("pqclock_terms", "Terms of leadership of these clocks.", registry=registry)

    def ticks(self, outcome: str, number: int) -> None:
        """Ticks were written to the ledger."""
        self._ticks.labels(outcome).inc(number)

    def promoted(self, number: int) -> None:
        """Jobs became ready."""
        self._promoted.inc(number)

    def term(self) -> None:
        """A term has begun."""
        self._terms.inc()


def _queues_so_far() -> set[str]:
    """The queues that the process before this one has counted by name, in the file that goes on here."""
    folder, name = os.environ.get(FOLDER_VARIABLE), os.environ.get(NAME_VARIABLE)
    file = Path(folder or ".", f"counter_{(name or '').replace(' ', '-')}.db")
    if not folder or not name or not file.exists():
        return set()
    from prometheus_client.mmap_dict import MmapedDict

    try:
        keys = [json.loads(key) for key, *_ in MmapedDict.read_all_values_from_file(str(file))]  # type: ignore[no-untyped-call]
    except Exception:
        return set()
    return {key[2]["queue"] for key in keys if "queue" in key[2]} - {OTHERS}


def _name_values() -> None:
    """Have the files named after the child that this process is, not after its process id: that one comes once."""
    name = os.environ.get(NAME_VARIABLE)
    if name:
        from prometheus_client import values

        values.ValueClass = values.MultiProcessValue(lambda: name.replace(" ", "-"))  # type: ignore[no-untyped-call]
