"""`app.jobs`: jobs as the database has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pqclock.errors import ArgumentError
from pqclock.rules.explaining import Explanation
from pqclock.rules.json_values import storable_text
from pqclock.store import explaining, job_orders, listings
from pqclock.store.job_orders import Changes, Filter
from pqclock.store.job_verbs import How
from pqclock.store.listing_rows import JobRow, Page

if TYPE_CHECKING:
    from pqclock.tasks.connections import Connections
    from pqclock.tasks.handle import JobHandle

Progress = Callable[[int, int], None]

_REASON_LIMIT = 1_000


class Jobs:
    """The verbs of jobs. They block: on an event loop, call them through `asyncio.to_thread`.

    `retry`, `run`, `cancel` and `discard` take ids or handles; or the fields of a filter, and then mean all jobs that
    pass it: `state` (one or several), `task`, `queue`, `label`, `schedule` (its key), `error` (a part of it), `since` and
    `until` (aware; when a finished job ended, or a live one was enqueued). `plan=True` only counts. `on_progress` is
    called after each slice of 500, a transaction each, with how many were looked at and how many of them were changed.

    They give a `Changes`; a job that could not be changed is told of there. They raise UnknownJob for an id that the
    database does not have, or whose history was dropped, and then change nothing; UnknownSchedule; ArgumentError.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def list(
        self,
        *,
        state: str | None = None,
        queue: str | None = None,
        task: str | None = None,
        schedule: str | None = None,
        label: str | None = None,
        parent: int | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Page[JobRow]:
        """The newest jobs first, live and finished; `next` of the page is the `before` of the page behind it."""
        filters: dict[str, Any] = {"state": state, "queue": queue, "task": task, "schedule": schedule, "label": label}
        with self._connections.session() as session, listings.reading(session):
            return listings.jobs(session, **filters, parent=parent, before=before, limit=limit)

    def explain(self, job_id: int) -> Explanation:
        """Why a job is not running, and until when; for one that has ended, how. Raises UnknownJob."""
        with self._connections.session() as session, listings.reading(session):
            return explaining.explain(session, job_id)

    def retry(self, *jobs: int | JobHandle, succeeded: bool = False, **which: Any) -> Changes:
        """Make jobs that failed, were cancelled or discarded live again: ready now, the same id, attempts from the first.

        One that is scheduled is due now. One that has succeeded only with `succeeded`, or where a filter names that state.
        A filter without a state means those that failed. What must get its unique key first does not if another job has
        it; what must not overlap the other jobs of its schedule waits for them.
        """
        return self._change("retry", jobs, How(succeeded=succeeded), which)

    def run(self, *jobs: int | JobHandle, **which: Any) -> Changes:
        """Make scheduled jobs due now."""
        return self._change("run", jobs, How(), which)

    def cancel(self, *jobs: int | JobHandle, reason: str = "", force: bool = False, **which: Any) -> Changes:
        """End waiting jobs now; tell running ones, which are not tried again.

        Such a handler finds `current_job().cancelled` true. With `force` a running job has ended at once, and its handler
        loses the lease: what it comes to is refused.
        """
        return self._change("cancel", jobs, How(force=force, reason=because("cancelled", reason)), which)

    def discard(self, *jobs: int | JobHandle, reason: str = "", **which: Any) -> Changes:
        """End waiting jobs now, as discarded."""
        return self._change("discard", jobs, How(reason=because("discarded", reason)), which)

    def _change(self, verb: str, jobs: Iterable[int | JobHandle], how: How, which: dict[str, Any]) -> Changes:
        plan, on_progress = which.pop("plan", False), which.pop("on_progress", None)
        ids = tuple(_id(verb, job) for job in jobs)
        wanted = _filter(verb, which)
        if bool(ids) is not wanted.is_empty:
            fault = "got jobs and a filter" if ids else "got neither jobs nor a filter"
            raise ArgumentError(f"jobs.{verb}() {fault}: pass ids, or fields such as task='mail.send'")
        with self._connections.session() as session:
            seen = job_orders.preview(session, verb, ids, wanted, how)
            if plan:
                return seen
            return job_orders.carry_out(session, seen, ids, wanted, how, on_progress)


def because(outcome: str, reason: str, by: str = "the application") -> str:
    """What is written into a job that ends: by whom, and why."""
    words = f"{outcome} by {by}"
    return storable_text(f"{words}: {reason}" if reason else words, _REASON_LIMIT)


def _id(verb: str, job: object) -> int:
    found = getattr(job, "id", job)
    if not isinstance(found, int) or isinstance(found, bool):
        raise ArgumentError(f"jobs.{verb}() got {job!r:.60}: pass ids of jobs, as whole numbers, or handles")
    return found


def _filter(verb: str, which: dict[str, Any]) -> Filter:
    known = ("state", "task", "queue", "label", "schedule", "error", "since", "until")
    for name in which:
        if name not in known:
            raise ArgumentError(
                f"jobs.{verb}() does not know {name!r:.60}: there are {', '.join(known)}, plan, on_progress"
            )
    for name in ("since", "until"):
        if not isinstance(which.get(name), datetime | None):
            raise ArgumentError(f"jobs.{verb}(): {name} {which[name]!r:.60} is no datetime: pass an aware one")
    return Filter(states=_states(which.pop("state", None)), **which)


def _states(state: str | Sequence[str] | None) -> tuple[str, ...]:
    if state is None:
        return ()
    return (state,) if isinstance(state, str) else tuple(state)
