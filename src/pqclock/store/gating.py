"""What the end of runs means for the gates that let them through, and what the clock does for gates."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from pqclock.rules.job import Outcome
from pqclock.store.database import Session

# How long a gate may be due before its lanes are opened for claims that do not look for it.
OVERDUE = timedelta(seconds=5)
# In slices, so that no claim waits long for the gates of one.
OVERDUE_SLICES = 50
ROUSED_AT_ONCE = 1_000
# Failures can be shown for so long, even when no window reaches them any more.
FAILURES_KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class End:
    """How the run of a job that passed gates has ended, or that a handler closes gates: `cools` until so many seconds on."""

    id: int
    lease: int
    number: int
    outcome: str | None
    error_names: tuple[str, ...] = ()
    error_type: str | None = None
    error: str | None = None
    cools: str | None = None
    cools_for: float = 0.0

    @classmethod
    def of(cls, outcome: Outcome, number: int) -> End:
        """The part of an outcome that is of interest to gates; `number` is its place among those that ended together."""
        return cls(
            outcome.job_id, outcome.lease, number, outcome.outcome, outcome.error_names, outcome.error_type, outcome.error,
            outcome.cools, outcome.cools_for,
        )  # fmt: skip

    @classmethod
    def crashed(cls, job_id: int, lease: int, number: int) -> End:
        """The end of a run whose worker died."""
        return cls(job_id, lease, number, "crashed", ("Crashed",), "Crashed", "its worker died while it ran")

    @classmethod
    def unused(cls, job_id: int, lease: int, number: int) -> End:
        """The end of a claim whose job never ran: it counts neither way."""
        return cls(job_id, lease, number, None)


def settle(session: Session, ends: Sequence[End], now: datetime | None = None) -> int:
    """Free places, count outcomes and close gates; gives how many of the runs still held their leases."""
    row = session.run("gating.settle", ends=json.dumps([asdict(end) for end in ends]), now=now).fetchone()
    return row[0] if row else 0


def leave(
    session: Session,
    runs: Sequence[tuple[Any, ...]],
    end: Callable[[int, int, int], End] = End.unused,
    now: datetime | None = None,
) -> None:
    """Settle the ends of runs without outcomes: (id, lease, whether it has passed gates) of each."""
    ends = [end(job_id, lease, number) for number, (job_id, lease, gated) in enumerate(runs) if gated]
    if ends:
        settle(session, ends, now)


def wake(session: Session, since: datetime, now: datetime | None = None) -> tuple[datetime | None, datetime]:
    """Tell the queues of gates that have opened after `since`; gives when the next one opens, and the time it is."""
    row = session.run("gating.waking", since=since, now=now).fetchone()
    assert row is not None
    return row[0], row[1]


def tidy(session: Session, most: int) -> int:
    """Bounded slices of what claims and finishes leave behind; gives how many rows it came to."""
    done = 0
    for statement, slices, params in (
        ("gating.free_void_slots", 1, {}),
        ("gating.open_overdue", OVERDUE_SLICES, {"overdue": OVERDUE, "most": most // 10}),
        ("gating.forget_outcomes", 1, {"age": FAILURES_KEPT, "most": most}),
    ):
        for _ in range(slices):
            some = _count(session, statement, **params)
            done += some
            if some < most // 10:
                break
    return done


def free_void_slots(session: Session) -> int:
    """Free the places of runs that are over without having said so; gives the number of their gates."""
    return _count(session, "gating.free_void_slots")


def rouse(session: Session, most: int = ROUSED_AT_ONCE) -> int:
    """Have lanes at rest looked at again, none of whose jobs could be taken; gives their number."""
    return _count(session, "gating.rouse", most=most)


def forget_gates(session: Session, most: int) -> int:
    """Delete gates that have nothing to remember, at most a slice; gives their number."""
    return _count(session, "gating.forget_gates", most=most)


def _count(session: Session, statement: str, **params: Any) -> int:
    row = session.run(statement, **params).fetchone()
    return int(row[0]) if row else 0
