"""The rows of the listings: the fields of the public views, in their order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from pqclock.store.backlog import BacklogRow
    from pqclock.store.gate_rows import GateRow

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows, and the cursor that the next page begins after; None at the end."""

    rows: list[Row]
    next: str | None


@dataclass(frozen=True, slots=True)
class JobRow:
    """A row of the view `jobs`."""

    id: int
    state: str
    queue: str
    task: str
    args: Any
    result: Any
    priority: int
    labels: list[str]
    run_at: datetime
    attempt: int
    max_attempts: int
    unique_key: str | None
    schedule_key: str | None
    tick: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None
    worker_id: int | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One run of a job."""

    attempt: int
    outcome: str
    worker_id: int | None
    started_at: datetime | None
    finished_at: datetime
    error_type: str | None
    error: str | None
    traceback: str | None


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A row of the view `schedules`; `note` also says why the clock has set it aside, until it or its task is changed."""

    key: str
    source: str
    state: str
    cron: str | None
    every: str | None
    timezone: str
    task: str
    queue: str
    next_tick: datetime | None
    watermark: datetime
    paused_until: datetime | None
    note: str | None


@dataclass(frozen=True, slots=True)
class SetAside:
    """A schedule that the clock has set aside, and why."""

    key: str
    fault: str


@dataclass(frozen=True, slots=True)
class TickRow:
    """A row of the view `ticks`, the ledger."""

    schedule_key: str
    tick: datetime
    through: datetime
    count: int
    nominal: datetime
    outcome: str
    reason: str | None
    origin: str
    job_id: int | None
    inserted_at: datetime


@dataclass(frozen=True, slots=True)
class DueTick:
    """A row of the ledger that is due."""

    schedule_key: str
    tick: datetime
    outcome: str
    reason: str | None
    job_id: int | None
    inserted_at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """Where the job of a tick stands: its last attempt, and the first line of its error."""

    id: int
    state: str
    attempt: int
    max_attempts: int
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None

    @property
    def lateness(self) -> timedelta | None:
        """From when its last attempt was due to when the handler began."""
        return None if self.started_at is None else self.started_at - self.run_at

    @property
    def duration(self) -> timedelta | None:
        """How long its last attempt ran."""
        return None if self.started_at is None or self.finished_at is None else self.finished_at - self.started_at


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A row of the view `queues`."""

    queue: str
    paused_until: datetime | None
    note: str | None
    scheduled: int
    ready: int
    running: int
    oldest_ready_at: datetime | None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task that a worker or an App has published, or that is paused; `at_least`: not all live jobs were counted."""

    task: str
    queue: str | None
    priority: int | None
    max_attempts: int | None
    labels: list[str] | None
    arg_defaults: Any
    code_version: str | None
    published_at: datetime | None
    paused_until: datetime | None
    note: str | None
    scheduled: int
    ready: int
    running: int
    at_least: bool


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A label of live jobs, or one that is paused; `at_least`: not all live jobs were counted."""

    label: str
    paused_until: datetime | None
    note: str | None
    scheduled: int
    ready: int
    running: int
    at_least: bool


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A row of the view `processes`."""

    id: int
    kind: str
    pid: int
    host: str
    leader: bool
    epoch: int | None
    started_at: datetime
    beat_at: datetime


@dataclass(frozen=True, slots=True)
class LeaderRow:
    """The present term, or the last one: without `host` and `pid` nobody leads."""

    epoch: int
    host: str | None
    pid: int | None
    elected_at: datetime | None
    beat_at: datetime | None


@dataclass(frozen=True, slots=True)
class ComingTick:
    """A schedule's tick that is still to come."""

    key: str
    tick: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that failed for good."""

    id: int
    task: str
    queue: str
    attempt: int
    finished_at: datetime
    error: str | None
    schedule_key: str | None


@dataclass(frozen=True, slots=True)
class PauseRow:
    """A queue, task or label that is paused now."""

    kind: str
    name: str
    paused_until: datetime
    note: str | None


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """An alarm: of what kind, about what, and in which words; `ended_at` is None while it is open.

    `untold` is why somebody could not be told of it, when that was tried last.
    """

    id: int
    kind: str
    subject: str
    message: str
    raised_at: datetime
    ended_at: datetime | None
    untold: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """Everything at one instant, `now` by the database's clock."""

    now: datetime
    leader: LeaderRow
    processes: list[ProcessRow]
    queues: list[BacklogRow]
    coming: list[ComingTick]
    failures: list[Failure]
    pauses: list[PauseRow]
    set_aside: list[SetAside]
    alarms: list[AlarmRow]
    gates: list[GateRow]
