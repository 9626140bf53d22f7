"""`app.queues`, `app.tasks` and `app.labels`: what waits by each, and pauses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pqclock.rules.durations import parse_duration

# What the verbs need is loaded when they are first used: every process has tasks, and few look at what waits.
if TYPE_CHECKING:
    from pqclock.store.listing_rows import LabelRow, Page, QueueRow, TaskRow
    from pqclock.store.pauses import Kind
    from pqclock.tasks.connections import Connections
    from pqclock.tasks.task import Task


class _Pausing:
    """The verbs that queues, tasks and labels have in common. They block: on an event loop, use `asyncio.to_thread`."""

    _kind: Kind

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def pause(self, name: str, until: datetime | timedelta | str | None = None, note: str | None = None) -> None:
        """Let no job of it start from now on and before `until`: an aware datetime, a length of time, or `resume`.

        A length of time counts from now: a timedelta, or a text such as `2h`.

        What runs goes on, what waits is kept and costs no attempt. A second pause replaces the first. Raises
        ArgumentError.
        """
        from pqclock.store import pauses

        end = parse_duration(until) if isinstance(until, str) else until
        with self._connections.session() as session:
            pauses.pause(session, self._kind, name, end, note)

    def resume(self, name: str) -> bool:
        """End a pause; False when there was none."""
        from pqclock.store import pauses

        with self._connections.session() as session:
            return pauses.resume(session, self._kind, name)


class Queues(_Pausing):
    """The queues that hold jobs or are paused."""

    _kind = "queue"

    def list(self, *, after: str = "", limit: int = 50) -> Page[QueueRow]:
        """Queues by name; `next` of the page is the `after` of the page behind it."""
        from pqclock.store import listings

        with self._connections.session() as session, listings.reading(session):
            return listings.queues(session, after=after, limit=limit)


class Labels(_Pausing):
    """The labels that live jobs have, or that are paused."""

    _kind = "label"

    def list(self, *, after: str = "", limit: int = 50) -> Page[LabelRow]:
        """Labels by name, of the newest 100,000 live jobs; `next` of the page is the `after` of the page behind it."""
        from pqclock.store import listings

        with self._connections.session() as session, listings.reading(session):
            return listings.labels(session, after=after, limit=limit)


class Tasks(_Pausing, Mapping[str, "Task[..., Any]"]):
    """The tasks that are registered here by name, a read-only mapping, with the verbs of all that are published."""

    _kind = "task"

    def __init__(self, registered: Mapping[str, Task[..., Any]], connections: Connections) -> None:
        super().__init__(connections)
        self._registered = registered

    def __getitem__(self, name: str) -> Task[..., Any]:
        return self._registered[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._registered)

    def __len__(self) -> int:
        return len(self._registered)

    def __repr__(self) -> str:
        return f"Tasks({sorted(self._registered)})"

    def list(self, *, after: str = "", limit: int = 50) -> Page[TaskRow]:
        """Published tasks by name, of this app or another; `next` of the page is the `after` of the page behind it."""
        from pqclock.store import listings

        with self._connections.session() as session, listings.reading(session):
            return listings.tasks(session, after=after, limit=limit)
