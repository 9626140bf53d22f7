"""`/metrics` for Prometheus: what the processes here have counted, and what is told of the fleet."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pqclock.metrics.prometheus import FOLDER_VARIABLE
from pqclock.observing import Gauge, Readings, observed
from pqclock.settings import Settings

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from pqclock.probes import Page

log = logging.getLogger("pqclock.health")

TRIES, AGAIN_AFTER = 5, 0.05
# However many ask, they are one connection to the database.
KEPT_FOR = 1.0


def prepare(settings: Settings) -> None:
    """Have this process and its children count, where somebody can ask for it: before they begin."""
    if settings.health is not None and find_spec("prometheus_client") is not None and FOLDER_VARIABLE not in os.environ:
        os.environ[FOLDER_VARIABLE] = _folder()


@cache
def _folder() -> str:
    import atexit

    folder = tempfile.mkdtemp(prefix="pqclock-metrics-")
    owner = os.getpid()

    def remove() -> None:
        # Not a child that was forked from here.
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


class Scraped:
    """The page."""

    def __init__(self, url: str, schema: str, readings: Readings) -> None:
        self._url = url
        self._schema = schema
        self._readings = readings
        self._lock = threading.Lock()
        self._kept: tuple[float, Page] | None = None

    def page(self) -> Page:
        """Everything, in the text format of Prometheus; made once for all who ask within a second."""
        with self._lock:
            if self._kept is None or time.monotonic() > self._kept[0] + KEPT_FOR:
                made = self._make()
                self._kept = time.monotonic(), made
            return self._kept[1]

    def _make(self) -> Page:
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        counted = _counted()
        registry.register(_Fixed([family(one) for one in observed(self._url, self._schema, self._readings())]))
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, counted + generate_latest(registry)


def _counted() -> bytes:
    """What is in the files of the processes; nothing of it while one of them cannot be read."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    error: Exception | None = None
    for _ in range(TRIES):
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=os.environ[FOLDER_VARIABLE])  # type: ignore[no-untyped-call]
        try:
            return generate_latest(registry)
        except Exception as fault:
            # A process that begins makes its file in several steps.
            error = fault
            time.sleep(AGAIN_AFTER)
    log.warning("what processes have counted cannot be read now: %s", error)
    return b""


class _Fixed:
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def family(gauge: Gauge) -> Metric:
    """A gauge as Prometheus has it."""
    from prometheus_client.core import GaugeMetricFamily

    made = GaugeMetricFamily(f"pqclock_{gauge.name}", gauge.text, labels=gauge.labels)
    for labels, value in gauge.values:
        made.add_metric(labels, value)
    return made
