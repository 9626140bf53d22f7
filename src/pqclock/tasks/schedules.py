"""`app.schedules`: schedules that are put, changed and removed at run time, beside those of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pqclock.errors import ArgumentError
from pqclock.rules.files import schedule_from_fields
from pqclock.rules.files.findings import show
from pqclock.rules.schedule import Schedule
from pqclock.store import backfilling, runtime
from pqclock.store.backfilling import AT_ONCE, Backfill, Backfilled
from pqclock.tasks.handle import JobHandle

if TYPE_CHECKING:
    from pqclock.tasks.app import App
    from pqclock.tasks.connections import Connections
    from pqclock.tasks.task import Task


class Schedules:
    """The verbs of schedules at run time. They block: on an event loop, call them through `asyncio.to_thread`."""

    def __init__(self, app: App, connections: Connections) -> None:
        self._app = app
        self._connections = connections

    def put(
        self,
        key: str,
        *,
        task: str | Task[..., Any],
        cron: str | None = None,
        every: str | timedelta | None = None,
        at: str | datetime | None = None,
        **fields: Any,
    ) -> bool:
        """Add the schedule, or change it in place; False when it is so already. A paused one stays paused.

        Fields are those of schedule files. Ticks inserted ahead are taken back, and planning begins anew now; ticks that
        came due before, while no clock ran, are caught up as they were declared then. A key that was removed begins
        now. Raises ArgumentError with a line for each fault, and for a key that files declare.
        """
        return bool(self.put_many([{"key": key, "task": task, "cron": cron, "every": every, "at": at, **fields}]))

    def put_many(self, schedules: Iterable[Mapping[str, Any]]) -> list[str]:
        """Put many schedules in one transaction, each a mapping with `key` and its fields; gives the keys written."""
        wanted = _schedules(schedules)
        with self._connections.session() as session:
            return runtime.put(session, wanted, self._app.as_of)

    def remove(self, key: str) -> None:
        """Remove a schedule that was put; its history stays. Raises UnknownSchedule, ArgumentError for one of files."""
        with self._connections.session() as session:
            runtime.remove(session, key, self._app.as_of)

    def pause(self, key: str, until: datetime | timedelta | None = None, note: str | None = None) -> None:
        """Skip the ticks from now on and before `until`: an aware datetime, a timedelta from now, or until `resume`.

        It holds for schedules of files as well, and applying files does not lift it. Raises UnknownSchedule.
        """
        with self._connections.session() as session:
            runtime.pause(session, key, until, note, self._app.as_of)

    def resume(self, key: str) -> bool:
        """End a pause; False when there was none. Raises UnknownSchedule."""
        with self._connections.session() as session:
            return runtime.resume(session, key, self._app.as_of)

    def trigger(self, key: str, args: Mapping[str, object] | None = None) -> JobHandle:
        """Insert a job of the schedule now, without a tick; also of one that is paused. Raises UnknownSchedule.

        `args` go before the schedule's, name by name; its templates are filled as for a tick now.
        """
        with self._connections.session() as session:
            job = runtime.trigger(session, key, args, self._defaults(), self._app.as_of)
        return JobHandle(job.id, job.inserted, job.state, self._app)

    def backfill(
        self,
        key: str,
        since: datetime,
        until: datetime,
        *,
        at_once: int = AT_ONCE,
        priority: int | None = None,
        newest_first: bool = False,
        force: bool = False,
        dry_run: bool = False,
        wait: bool = False,
        on_progress: Callable[[Backfilled], None] | None = None,
    ) -> Backfilled:
        """Insert a job for each tick from `since` on and before `until` that has none, by the present definition.

        Never more than `at_once` of them are unfinished, so it takes as long as they do; with `wait` until the last
        one has ended, with `dry_run` nothing is written. Interrupted, it is called again and goes on. `on_progress` is
        called with how far it has come. Ticks that are not planned yet are left to the clock: `until` of what it gives
        is earlier then. Raises UnknownSchedule, ArgumentError, and Refused for ticks older than the ledger's memory,
        unless `force` is given.
        """
        asked = Backfill(key, since, until, at_once, priority, newest_first, force)
        with self._connections.session() as session:
            seen = backfilling.preview(session, asked)
        if dry_run:
            return seen
        sessions, defaults = self._connections.session, self._defaults()
        return backfilling.run(sessions, asked, seen, defaults, wait=wait, on_progress=on_progress)

    def _defaults(self) -> dict[str, dict[str, Any]]:
        return {name: task.defaults() for name, task in self._app.tasks.items()}


def _schedules(given: Iterable[Mapping[str, Any]]) -> list[Schedule]:
    """The schedules that the mappings describe; raises ArgumentError with all faults of all of them."""
    found: dict[str, Schedule] = {}
    faults: list[str] = []
    for number, fields in enumerate(given):
        if not isinstance(fields, Mapping) or "key" not in fields:
            faults.append(f"schedules[{number}] must be a mapping with a key, not {fields!r:.60}")
            continue
        key = fields["key"]
        if isinstance(key, str) and key in found:
            faults.append(f"schedule {show(key)} is given twice: leave one out")
            continue
        try:
            found[key] = schedule_from_fields(key, _plain(fields))
        except ArgumentError as error:
            faults += [f"schedule {show(key)}: {line}" for line in str(error).splitlines()]
    if faults:
        raise ArgumentError("\n".join(faults))
    return list(found.values())


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without the key, a Task by its name."""
    from pqclock.tasks.task import Task

    rest = {name: value for name, value in fields.items() if name != "key"}
    if isinstance(rest.get("task"), Task):
        rest["task"] = rest["task"].name
    return rest
