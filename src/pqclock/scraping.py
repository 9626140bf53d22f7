"""`/metrics`: what the processes here have counted, and from the leader's place what the database tells."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pqclock.errors import PqclockError
from pqclock.metrics import FOLDER_VARIABLE
from pqclock.pulse import Reading
from pqclock.settings import Settings
from pqclock.store import gauges
from pqclock.store.database import CONNECTION_LOST, DatabaseError, Session, connect
from pqclock.store.listings import reading

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from pqclock.probes import Page

log = logging.getLogger("pqclock.health")

UP, UP_TEXT = "pqclock_database_up", "Whether the database answered."
WITHIN = "2s"
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
    """The page. Of all clocks only the one that leads looks into the database: sums over all pages count nothing twice."""

    def __init__(self, url: str, schema: str, readings: Callable[[], Mapping[str, Reading]]) -> None:
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
        readings = self._readings()
        _register(registry, list(_pulses(readings)))
        if any(one.state == "leading" for one in readings.values()):
            _register(registry, self._looked())
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, counted + generate_latest(registry)

    def _looked(self) -> list[Metric]:
        try:
            session = connect(self._url, self._schema, "metrics")
            try:
                return [_gauge(UP, UP_TEXT, [((), 1.0)]), *_looks(session)]
            finally:
                session.close()
        except (*CONNECTION_LOST, DatabaseError, PqclockError) as error:
            log.warning("the database could not be looked at for /metrics: %s", " ".join(str(error).split()))
            return [_gauge(UP, UP_TEXT, [((), 0.0)])]


def _looks(session: Session) -> Iterator[Metric]:
    """Each look for itself: what is too slow in a backlog takes nothing from the others."""
    for look in LOOKS:
        try:
            with reading(session, WITHIN):
                found = list(look(session))
        except (DatabaseError, PqclockError) as error:
            log.warning("a part of /metrics is left out: %s", " ".join(str(error).split()))
        else:
            yield from found


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


def _register(registry: CollectorRegistry, metrics: Iterable[Metric]) -> None:
    registry.register(_Fixed(metrics))


def _gauge(
    name: str, text: str, values: Iterable[tuple[tuple[str, ...], float]], labels: tuple[str, ...] = ()
) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, text, labels=labels)
    for given, value in values:
        family.add_metric(given, float(value))
    return family


def _pulses(readings: Mapping[str, Reading]) -> Iterator[Metric]:
    by_name = [((name,), one) for name, one in readings.items()]
    yield _gauge("pqclock_alive", "Whether a process's loop turned lately.", _flags(by_name, "alive"), ("process",))
    yield _gauge("pqclock_ready", "Whether a process reaches the database.", _flags(by_name, "ready"), ("process",))
    leads = [(name, float(one.state == "leading")) for name, one in by_name if name[0] == "clock"]
    yield _gauge("pqclock_leads", "Whether the clock here leads.", leads, ("process",))


def _flags(readings: list[tuple[tuple[str], Reading]], what: str) -> Iterator[tuple[tuple[str], float]]:
    for name, one in readings:
        yield name, float(getattr(one, what))


def _of_all(session: Session) -> Iterator[Metric]:
    for name, text, value in _whole(gauges.overall(session)):
        yield _gauge(name, text, [((), value)])
    yield _by("kind", "pqclock_processes", "Processes whose last beat is fresh.", gauges.processes(session), "alive")
    clocks = gauges.clocks(session)
    yield _by("host", "pqclock_skew_seconds", "How far a clock's machine is ahead of the database.", clocks, "skew")


def _of_queues(session: Session) -> Iterator[Metric]:
    queues = gauges.queues(session)
    states = [((q.queue, state), getattr(q, state)) for q in queues for state in ("scheduled", "ready", "running")]
    yield _gauge("pqclock_jobs", "Live jobs.", states, ("queue", "state"))
    yield _by(
        "queue", "pqclock_oldest_ready_seconds", "For how long a queue's oldest ready job is due.", queues, "oldest"
    )
    yield _by("queue", "pqclock_queue_paused", "Whether a queue is paused.", queues, "paused")


def _of_rules(session: Session) -> Iterator[Metric]:
    rules = gauges.rules(session)
    named = [((rule.kind, rule.rule), rule) for rule in rules]
    for name, text, field in (
        ("pqclock_gates", "Gates of a rule that jobs have met.", "gates"),
        ("pqclock_gates_closed", "Gates that are blown, or closed by hand or handler.", "closed"),
        ("pqclock_lanes_waiting", "Lanes that wait for a rule's gates.", "lanes"),
        ("pqclock_blocked_seconds", "For how long the first job of the lane that waits longest is due.", "blocked"),
    ):
        yield _gauge(name, text, [(key, getattr(rule, field)) for key, rule in named], ("kind", "rule"))


LOOKS = (_of_all, _of_queues, _of_rules)


def _by(label: str, name: str, text: str, rows: Iterable[Any], field: str) -> Metric:
    return _gauge(name, text, [((getattr(row, label),), getattr(row, field)) for row in rows], (label,))


def _whole(whole: gauges.Overall) -> list[tuple[str, str, float]]:
    return [
        ("pqclock_term", "The number of the leader's term: it rises with each change of leader.", whole.term),
        ("pqclock_leader_beat_age_seconds", "How long ago the leader has beaten.", whole.beat_age),
        ("pqclock_planning_behind_seconds", "For how long the most overdue tick waits to be planned.", whole.behind),
        ("pqclock_schedules", "Active schedules.", whole.schedules),
        ("pqclock_schedules_set_aside", "Schedules that the clock cannot plan.", whole.set_aside),
        ("pqclock_schedules_paused", "Schedules that are paused.", whole.paused),
        ("pqclock_xmin_age_seconds", "The age of the oldest transaction that keeps dead rows.", whole.xmin_age),
        ("pqclock_dead_rows", "Dead rows of the table of live jobs.", whole.dead_rows),
        ("pqclock_notification_queue_ratio", "How full the server's notification queue is.", whole.notification_queue),
    ]
