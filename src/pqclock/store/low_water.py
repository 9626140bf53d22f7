"""Below which place no ready job can be: claims begin there, over what an old snapshot keeps from being cleaned away.

Places (`ready_seq`) are drawn in order and committed in any order. One is passed only when no transaction that had drawn it,
or a lower one, can still commit. A job that keeps its place while it becomes ready again is told of (`again QUEUE`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pqclock.rules.pools import Pool
from pqclock.store.database import Session


@dataclass(frozen=True, slots=True)
class Sounding:
    """The last place that was drawn at an instant, and the transactions that may have drawn such and were not over."""

    drawn: int
    writers: frozenset[str]

    def is_settled(self, writers: Collection[str]) -> bool:
        """True when all of them are over, by those that write now."""
        return self.writers.isdisjoint(writers)


def sound(session: Session) -> Sounding:
    """A sounding now."""
    drawn = session.run("low_water.drawn").fetchone()
    writers = session.run("low_water.writers").fetchone()
    assert drawn is not None
    assert writers is not None
    return Sounding(drawn[0], frozenset(writers[0]))


def lowest(session: Session, pool: Pool, low: int) -> int | None:
    """The lowest place of a ready job in the pool's queues, beyond `low`; None without any."""
    if pool.queues is None:
        row = session.run("low_water.lowest_any", low=low).fetchone()
    else:
        row = session.run("low_water.lowest_queues", queues=list(pool.queues), low=low).fetchone()
    return row[0] if row else None
