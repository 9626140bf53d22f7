"""What is told of the fleet, for OpenTelemetry: gauges that are looked at when the SDK of this process exports."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pqclock.metrics.opentelemetry import METER
from pqclock.observing import Gauge, Readings, observed

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation

# The instruments of one export are one look at the database.
KEPT_FOR = 1.0
# name -> unit; those of the leader's look, and of each process.
NAMES = {
    "alive": "1", "ready": "1", "leads": "1", "database_up": "1", "term": "1", "leader_beat_age_seconds": "s",
    "planning_behind_seconds": "s", "schedules": "{schedule}", "schedules_set_aside": "{schedule}",
    "schedules_paused": "{schedule}", "xmin_age_seconds": "s", "dead_rows": "{row}", "notification_queue_ratio": "1",
    "processes": "{process}", "alarms": "{alarm}",
    "skew_seconds": "s", "jobs": "{job}", "oldest_ready_seconds": "s", "queue_paused": "1",
    "gates": "{gate}", "gates_closed": "{gate}", "lanes_waiting": "{lane}", "blocked_seconds": "s",
}  # fmt: skip


class Exported:
    """The gauges, from the beginning until `stop()`."""

    def __init__(self, url: str, schema: str, readings: Readings) -> None:
        from opentelemetry.metrics import get_meter

        self._url = url
        self._schema = schema
        self._readings: Readings | None = readings
        self._lock = threading.Lock()
        self._kept: tuple[float, dict[str, Gauge]] | None = None
        meter = get_meter(METER)
        for name, unit in NAMES.items():
            meter.create_observable_gauge(instrument(name), [self._callback(name)], unit)

    def stop(self) -> None:
        """Tell nothing any more: nobody looks at the database for what has ended."""
        self._readings = None

    def _callback(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        from opentelemetry.metrics import Observation

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            gauge = self._look().get(name)
            if gauge is None:
                return []
            return [Observation(value, dict(zip(gauge.labels, given, strict=True))) for given, value in gauge.values]

        return observe

    def _look(self) -> dict[str, Gauge]:
        with self._lock:
            readings = self._readings
            if readings is None:
                return {}
            if self._kept is None or time.monotonic() > self._kept[0] + KEPT_FOR:
                found = {one.name: one for one in observed(self._url, self._schema, readings())}
                self._kept = time.monotonic(), found
            return self._kept[1]


def instrument(name: str) -> str:
    """The name of an instrument: its unit is told beside it."""
    return f"pqclock.{name.removesuffix('_seconds').removesuffix('_ratio')}"
