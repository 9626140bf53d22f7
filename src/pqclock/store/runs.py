"""What became of the last ticks of schedules: by the ledger, and by the jobs that it names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pqclock.store.database import Session
from pqclock.store.lateness import percentile
from pqclock.store.listing_rows import DueTick, Run

# A worker's notion of the database's time may be a little behind.
_MARGIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class LastTick:
    """A tick that was due, and its job: None when none was inserted, or it is not kept any more."""

    ledger: DueTick
    run: Run | None

    @property
    def state(self) -> str:
        """The state of its job, else what the ledger says."""
        return self.run.state if self.run else self.ledger.outcome


@dataclass(frozen=True, slots=True)
class Measured:
    """What some runs of a schedule came to: lateness (due -> handler begins) and duration, in milliseconds."""

    runs: int
    lateness_p50_ms: float | None
    lateness_p99_ms: float | None
    duration_p50_ms: float | None
    duration_p99_ms: float | None


def last_ticks(session: Session, keys: Sequence[str], limit: int = 1, now: datetime | None = None) -> list[LastTick]:
    """The newest ticks of each of these schedules that were due by now, newest first, with their jobs."""
    ledger = session.fetch(DueTick, "listings.due_ticks", keys=list(keys), limit=limit, now=now)
    inserted = [tick for tick in ledger if tick.job_id is not None]
    if not inserted:
        return [LastTick(tick, None) for tick in ledger]
    since = min(tick.inserted_at for tick in inserted) - _MARGIN
    found = session.fetch(Run, "listings.runs", ids=[tick.job_id for tick in inserted], since=since)
    runs = {run.id: run for run in found}
    return [LastTick(tick, runs.get(tick.job_id or 0)) for tick in ledger]


def measure(ticks: Iterable[LastTick]) -> Measured:
    """The percentiles over those that have begun, and over those that have ended."""
    runs = [tick.run for tick in ticks if tick.run is not None]
    late = [run.lateness for run in runs if run.lateness is not None]
    took = [run.duration for run in runs if run.duration is not None]
    return Measured(len(late), *_percentiles(late), *_percentiles(took))


def _percentiles(lengths: Sequence[timedelta]) -> tuple[float | None, float | None]:
    milliseconds = sorted(length / timedelta(milliseconds=1) for length in lengths)
    return percentile(milliseconds, 0.5), percentile(milliseconds, 0.99)
