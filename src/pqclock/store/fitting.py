"""Whether the keys of schedules can be filled, as far as the published tasks tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pqclock.rules.files.findings import show
from pqclock.rules.keys import lacks
from pqclock.rules.schedule import Schedule
from pqclock.store.database import Session


@dataclass(frozen=True, slots=True)
class _Published:
    name: str
    arg_defaults: dict[str, Any] | None
    options: dict[str, Any] | None


def unfillable(session: Session, wanted: Iterable[Schedule]) -> dict[str, str]:
    """Why schedules could never be planned, by their keys: a template needs what nobody gives.

    Of a task that nobody has published nothing is known, and nothing is said.
    """
    schedules = list(wanted)
    names = sorted({schedule.task for schedule in schedules})
    tasks = {row.name: row for row in session.fetch(_Published, "tasks.described", names=names)}
    faults = ((one.key, next(_faults(one, tasks[one.task]), None)) for one in schedules if one.task in tasks)
    return {key: fault for key, fault in faults if fault is not None}


def _faults(schedule: Schedule, task: _Published) -> Iterator[str]:
    args = {**(task.arg_defaults or {}), **schedule.args}
    for what, template, prefix in _templates(schedule, task.options or {}):
        field = lacks(template, args, prefix)
        if field is not None:
            yield (
                f"{what} {show(template)} needs the argument {show(field.removeprefix(prefix))}, which neither the args of "
                f"the schedule nor the defaults of the published task {show(task.name)} have: add it to args, or give the "
                f"parameter a default"
            )


def _templates(schedule: Schedule, own: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What, template and prefix of its fields: the schedule's own, or those of its task where it says nothing."""
    if schedule.unique is not None:
        yield "unique key", schedule.unique.key, "args."
    elif "unique" in own:
        yield "unique key", own["unique"]["key"], ""
    for kind in ("throttle", "fuse"):
        given: tuple[str, ...] | None = getattr(schedule, kind)
        for template in own.get(kind) or () if given is None else given:
            yield kind, template, "" if given is None else "args."
