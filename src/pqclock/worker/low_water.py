"""The low-water marks of a worker's pools, raised now and then while it claims."""

from __future__ import annotations

from collections.abc import Sequence

from pqclock.store import low_water
from pqclock.store.database import Session
from pqclock.store.low_water import Sounding
from pqclock.worker.pool import WorkingPool

# Where claims are many, the mark follows them; where they are few, it costs one look a second.
EVERY, SOON, MANY = 1.0, 0.05, 2_000


class LowWater:
    """Raises `pool.low_water` when what was drawn before the last sounding can no longer be committed."""

    def __init__(self, pools: Sequence[WorkingPool]) -> None:
        # What is left out of a pool may lie at the bottom for ever.
        self._pools = [pool for pool in pools if not pool.spec.excluded]
        self._last: Sounding | None = None
        self._next = 0.0
        self._taken = 0

    def begin(self) -> None:
        """Know nothing: this may be another server."""
        self._last = None
        for pool in self._pools:
            pool.low_water = 0

    def raise_marks(self, session: Session, taken: int, now: float) -> None:
        """Look whether the marks can be raised, if it is time; `taken` counts what was claimed so far."""
        fresh = taken - self._taken
        if not self._pools or not fresh or now < self._next - (EVERY - SOON if fresh >= MANY else 0.0):
            return
        self._next, self._taken = now + EVERY, taken
        last, self._last = self._last, low_water.sound(session)
        if last is None or not last.is_settled(self._last.writers):
            # It is kept: those that were added since do not matter to it.
            self._last = last or self._last
            return
        for pool in self._pools:
            found = low_water.lowest(session, pool.spec, pool.low_water)
            pool.low_water = max(pool.low_water, last.drawn if found is None else min(last.drawn, found - 1))
