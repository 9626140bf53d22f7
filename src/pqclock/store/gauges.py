"""What a look at the database tells a monitoring system: few numbers, with bounded names."""

from __future__ import annotations

from dataclasses import dataclass

from pqclock.store import backlog
from pqclock.store.database import Session
from pqclock.store.schedules import database_now

MOST_QUEUES = 100
MOST_COUNTED = 100_000
MOST_RULES = 200
MOST_CLOCKS = 50


@dataclass(frozen=True, slots=True)
class QueueGauge:
    """A queue's live jobs by state, the seconds for which its oldest ready job is due, and whether it is paused."""

    queue: str
    scheduled: int
    ready: int
    running: int
    oldest: float
    paused: bool


@dataclass(frozen=True, slots=True)
class RuleGauge:
    """A rule's gates: all, those that are blown or closed now, and lanes that wait with the seconds of the longest."""

    kind: str
    rule: str
    gates: int
    closed: int
    lanes: int
    blocked: float


@dataclass(frozen=True, slots=True)
class ProcessGauge:
    """Processes of one kind whose last beat is fresh."""

    kind: str
    alive: int


@dataclass(frozen=True, slots=True)
class AlarmGauge:
    """Alarms of one kind that are open."""

    kind: str
    open: int


@dataclass(frozen=True, slots=True)
class ClockGauge:
    """By how many seconds the clock of a clock's machine is ahead."""

    host: str
    skew: float


@dataclass(frozen=True, slots=True)
class Overall:
    """Numbers without names; ages in seconds, and 0 where nothing has one."""

    term: int
    leads: bool
    beat_age: float
    behind: float
    schedules: int
    set_aside: int
    paused: int
    xmin_age: float
    dead_rows: int
    notification_queue: float


def overall(session: Session) -> Overall:
    """Leader, schedules, and what the database suffers from."""
    return session.fetch(Overall, "gauges.overall")[0]


def queues(session: Session) -> list[QueueGauge]:
    """The queues that have live jobs, the first hundred by name; their jobs are counted up to a hundred thousand."""
    now = database_now(session)
    return [
        QueueGauge(
            row.queue, row.scheduled, row.ready, row.running,
            0.0 if row.oldest_ready_at is None else max(0.0, (now - row.oldest_ready_at).total_seconds()),
            row.paused_until is not None and row.paused_until > now,
        )
        for row in backlog.queues(session, limit=MOST_QUEUES, most=MOST_COUNTED).rows
    ]  # fmt: skip


def rules(session: Session) -> list[RuleGauge]:
    """Rules whose gates were met."""
    return session.fetch(RuleGauge, "gauges.rules", limit=MOST_RULES)


def processes(session: Session) -> list[ProcessGauge]:
    """Clocks and workers."""
    return session.fetch(ProcessGauge, "gauges.processes")


def alarms(session: Session) -> list[AlarmGauge]:
    """All kinds of alarms."""
    return session.fetch(AlarmGauge, "gauges.alarms")


def clocks(session: Session) -> list[ClockGauge]:
    """The machines of clocks."""
    return session.fetch(ClockGauge, "gauges.clocks", limit=MOST_CLOCKS)
