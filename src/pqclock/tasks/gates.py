"""`app.gates`: how the gates of throttles and fuses stand, and closing and opening them by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pqclock.rules.durations import parse_duration
from pqclock.store import gates, listings
from pqclock.store.gate_rows import GateRow, Shown
from pqclock.store.listing_rows import Page
from pqclock.tasks.replaying import Replays

if TYPE_CHECKING:
    pass


class Gates(Replays):
    """The verbs of gates, each named by its reference: `RULE` or `RULE:KEY`.

    They block: on an event loop, call them through `asyncio.to_thread`. A length of time is a timedelta or a text such
    as `90s`; an end is an aware datetime.
    """

    def list(
        self,
        *,
        rule: str | None = None,
        kind: str | None = None,
        state: str | None = None,
        prefix: str | None = None,
        after: str = "",
        limit: int = 50,
    ) -> Page[GateRow]:
        """The gates that jobs have met, by name; `next` of the page is the `after` of the page behind it.

        `kind` is `throttle` or `fuse`, `state` is `open`, `waiting`, `blown` or `half open`, `prefix` begins the key.
        """
        filters = {"rule": rule, "kind": kind, "state": state, "prefix": prefix}
        with self._connections.session() as session, listings.reading(session):
            return gates.listing(session, **filters, after=after, limit=limit)

    def show(self, reference: str) -> Shown:
        """The throttle and the fuse of a reference: their rules, who has their places, who waits, what failed last.

        Raises UnknownGate.
        """
        with self._connections.session() as session, listings.reading(session):
            return gates.one(session, reference)

    def blow(
        self,
        reference: str,
        until: datetime | timedelta | str | None = None,
        note: str | None = None,
        *,
        all_keys: bool = False,
    ) -> Sequence[str]:
        """Blow a fuse: nothing behind it starts until then, when it is half open, or until `reset`.

        With `all_keys` the reference is a rule, and all the gates that it has by now are blown. Gives the names of the
        gates. Raises UnknownGate for a fuse that is not declared.
        """
        with self._connections.session() as session:
            return gates.blow(session, reference, _end(until), note, all_keys=all_keys)

    def reset(self, reference: str, *, all_keys: bool = False) -> Sequence[str]:
        """Make a fuse whole, its failures forgotten, and end a `cool`; gives the names of the gates.

        What a throttle has let through still counts. Raises UnknownGate.
        """
        with self._connections.session() as session:
            return gates.reset(session, reference, all_keys=all_keys)

    def cool(self, reference: str, until: datetime | timedelta | str, note: str | None = None) -> int:
        """Close the throttle and the fuse of a reference until then; gives how many there are. Raises UnknownGate."""
        end = _end(until)
        assert end is not None
        with self._connections.session() as session:
            return gates.cool(session, reference, end, note)


def _end(until: datetime | timedelta | str | None) -> datetime | timedelta | None:
    return parse_duration(until) if isinstance(until, str) else until
