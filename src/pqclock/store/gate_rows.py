"""What is told of gates: rows of listings, and all that one reference stands for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class GateRow:
    """A row of the view `gates`, and how the gate stands in its rule's terms.

    `standing` is the state, or `half open`, `undeclared` or `removed`. `waiting` counts lanes, `waiting_jobs` the jobs
    in them, one more than the bound where there are more.
    """

    rule: str
    kind: str
    key: str
    state: str
    running: int
    waiting: int
    opens_at: datetime | None
    standing: str
    tokens: int | None
    burst: int | None
    rate: int | None
    per: timedelta | None
    concurrency: int | None
    probes: int | None
    closed_until: datetime | None
    blown_until: datetime | None
    waiting_jobs: int
    note: str | None
    gate: str


@dataclass(frozen=True, slots=True)
class RuleTerms:
    """A rule as it was declared."""

    kind: str
    rule: str
    state: str
    source: str
    version: int
    definition: Any


@dataclass(frozen=True, slots=True)
class SlotRow:
    """A running job that has a place at a gate."""

    kind: str
    job_id: int
    task: str | None
    queue: str | None
    worker_id: int | None
    host: str | None
    pid: int | None
    since: datetime | None


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane that waits for a gate, with its first job; `jobs` counts up to a bound and one."""

    kind: str
    queue: str
    task: str
    units: int
    gates: list[str]
    priority: int
    job_id: int | None
    run_at: datetime | None
    jobs: int


@dataclass(frozen=True, slots=True)
class FailureRow:
    """A failure that a fuse has seen; `counts` tells whether that is forgotten."""

    failed_at: datetime
    job_id: int
    error_type: str | None
    error: str | None
    counts: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """The gates of one reference."""

    gates: list[GateRow]
    terms: list[RuleTerms]
    slots: list[SlotRow]
    lanes: list[LaneRow]
    failures: list[FailureRow]
