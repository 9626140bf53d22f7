"""What is told of the fleet beyond what a process counts: how its loops are, and from the leader's place the database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pqclock.errors import PqclockError
from pqclock.pulse import Reading
from pqclock.store import gauges
from pqclock.store.database import CONNECTION_LOST, DatabaseError, Session, connect
from pqclock.store.listings import reading

log = logging.getLogger("pqclock.health")

WITHIN = "2s"

Readings = Callable[[], Mapping[str, Reading]]


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that goes up and down: its name without the prefix, what it says, and its values by their labels."""

    name: str
    text: str
    values: Sequence[tuple[tuple[str, ...], float]]
    labels: tuple[str, ...] = ()


UP = "database_up"


def observed(url: str, schema: str, readings: Mapping[str, Reading]) -> list[Gauge]:
    """All gauges. Of all clocks only the one that leads looks into the database: sums over all count nothing twice."""
    leads = any(one.state == "leading" for one in readings.values())
    return [*of_processes(readings), *(_of_database(url, schema) if leads else [])]


def of_processes(readings: Mapping[str, Reading]) -> list[Gauge]:
    """How the processes here are."""
    by_name = [((name,), one) for name, one in readings.items()]
    leads = [(name, float(one.state == "leading")) for name, one in by_name if name[0] == "clock"]
    return [
        Gauge("alive", "Whether a process's loop turned lately.", _flags(by_name, "alive"), ("process",)),
        Gauge("ready", "Whether a process reaches the database.", _flags(by_name, "ready"), ("process",)),
        Gauge("leads", "Whether the clock here leads.", leads, ("process",)),
    ]


def _flags(readings: list[tuple[tuple[str], Reading]], what: str) -> list[tuple[tuple[str, ...], float]]:
    return [(name, float(getattr(one, what))) for name, one in readings]


def _of_database(url: str, schema: str) -> list[Gauge]:
    try:
        session = connect(url, schema, "metrics")
        try:
            return [_up(1.0), *looked_at(session)]
        finally:
            session.close()
    except (*CONNECTION_LOST, DatabaseError, PqclockError) as error:
        log.warning("the database could not be looked at for metrics: %s", " ".join(str(error).split()))
        return [_up(0.0)]


def _up(value: float) -> Gauge:
    return Gauge(UP, "Whether the database answered.", [((), value)])


def looked_at(session: Session) -> Iterator[Gauge]:
    """Each look for itself: what is too slow in a backlog takes nothing from the others."""
    for look in (_of_all, _of_queues, _of_rules):
        try:
            with reading(session, WITHIN):
                found = list(look(session))
        except (DatabaseError, PqclockError) as error:
            log.warning("a part of the metrics is left out: %s", " ".join(str(error).split()))
        else:
            yield from found


def _of_all(session: Session) -> Iterator[Gauge]:
    for name, text, value in _whole(gauges.overall(session)):
        yield Gauge(name, text, [((), float(value))])
    yield _by("kind", "processes", "Processes whose last beat is fresh.", gauges.processes(session), "alive")
    yield _by("kind", "alarms", "Alarms that are open.", gauges.alarms(session), "open")
    clocks = gauges.clocks(session)
    yield _by("host", "skew_seconds", "How far a clock's machine is ahead of the database.", clocks, "skew")


def _of_queues(session: Session) -> Iterator[Gauge]:
    queues = gauges.queues(session)
    states = [
        ((q.queue, state), float(getattr(q, state))) for q in queues for state in ("scheduled", "ready", "running")
    ]
    yield Gauge("jobs", "Live jobs.", states, ("queue", "state"))
    yield _by("queue", "oldest_ready_seconds", "For how long a queue's oldest ready job is due.", queues, "oldest")
    yield _by("queue", "queue_paused", "Whether a queue is paused.", queues, "paused")


def _of_rules(session: Session) -> Iterator[Gauge]:
    rules = gauges.rules(session)
    for name, text, field in (
        ("gates", "Gates of a rule that jobs have met.", "gates"),
        ("gates_closed", "Gates that are blown, or closed by hand or handler.", "closed"),
        ("lanes_waiting", "Lanes that wait for a rule's gates.", "lanes"),
        ("blocked_seconds", "For how long the first job of the lane that waits longest is due.", "blocked"),
    ):
        values = [((rule.kind, rule.rule), float(getattr(rule, field))) for rule in rules]
        yield Gauge(name, text, values, ("kind", "rule"))


def _by(label: str, name: str, text: str, rows: Iterable[Any], field: str) -> Gauge:
    return Gauge(name, text, [((getattr(row, label),), float(getattr(row, field))) for row in rows], (label,))


def _whole(whole: gauges.Overall) -> list[tuple[str, str, float]]:
    return [
        ("term", "The number of the leader's term: it rises with each change of leader.", whole.term),
        ("leader_beat_age_seconds", "How long ago the leader has beaten.", whole.beat_age),
        ("planning_behind_seconds", "For how long the most overdue tick waits to be planned.", whole.behind),
        ("schedules", "Active schedules.", whole.schedules),
        ("schedules_set_aside", "Schedules that the clock cannot plan.", whole.set_aside),
        ("schedules_paused", "Schedules that are paused.", whole.paused),
        ("xmin_age_seconds", "The age of the oldest transaction that keeps dead rows.", whole.xmin_age),
        ("dead_rows", "Dead rows of the table of live jobs.", whole.dead_rows),
        ("notification_queue_ratio", "How full the server's notification queue is.", whole.notification_queue),
    ]
