"""Jobs on their way into the database, as the texts that `jobs.insert` takes, in slices of a bounded size."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pqclock.errors import ArgumentError

if TYPE_CHECKING:
    from pqclock.store.jobs import NewJob

Defaults = Mapping[str, Mapping[str, Any]]

# Of one statement: what is more is cut, so that neither side holds all of a large call at once.
SLICE_JOBS = 5_000
SLICE_CHARACTERS = 8 * 1024 * 1024
# A list of PostgreSQL's jsonb holds 256 MB.
WHOLE_CHARACTERS = 128 * 1024 * 1024

# What jobs of one kind have in common; the names of the fields in JSON are these.
_FIELDS = ("task", "queue", "run_at", "delay", "priority", "labels", "max_attempts", "options")
_kind_of = attrgetter(*_FIELDS)
_encode = json.JSONEncoder(ensure_ascii=False).encode
_JSON_FIELDS = frozenset(("labels", "options"))


def slices(jobs: Iterable[NewJob], *, whole: bool = False) -> Iterator[list[NewJob]]:
    """The jobs in their order, as many at a time as one statement takes; a slice is never empty.

    `whole` is for those that belong together: only what is too large for a statement is cut.
    """
    most = sys.maxsize if whole else SLICE_JOBS
    taken: list[NewJob] = []
    characters = 0
    for job in jobs:
        taken.append(job)
        characters += len(job.args)
        if len(taken) >= most or characters >= (WHOLE_CHARACTERS if whole else SLICE_CHARACTERS):
            yield taken
            taken, characters = [], 0
    if taken:
        yield taken


def insertion(
    jobs: Sequence[NewJob],
    code_defaults: Defaults,
    now: datetime | None = None,
    *,
    quiet: bool | None = None,
    trace: Mapping[str, str] | None = None,
) -> dict[str, str | None]:
    """The parameters of the statement `jobs.insert`, for connections of every kind: texts alone.

    With `quiet` the caller tells workers itself, by the notification in the last column; None for those who never do.
    `trace` is the trace context that all of them carry.
    """
    numbers: dict[tuple[Any, ...], int] = {}
    which = [numbers.setdefault(kind, len(numbers) + 1) for kind in _kinds(jobs)]
    return {
        "kinds": _encode([_kind(values, trace) for values in numbers]),
        # They are JSON texts already.
        "args": f"[{','.join([job.args for job in jobs])}]",
        "which": f"{{{','.join(map(str, which))}}}" if len(numbers) > 1 else "{}",
        "code_defaults": _encode(code_defaults),
        "now": None if now is None else now.isoformat(),
        "quiet": None if quiet is None else str(quiet).lower(),
    }


def _kinds(jobs: Sequence[NewJob]) -> Iterable[tuple[Any, ...]]:
    """What each job has in common with others: its fields, and the places in this slice of those that it waits for."""
    if not any(job.after for job in jobs):
        return map(_kind_of, jobs)
    return ((*_kind_of(job), places) for job, places in zip(jobs, _places(jobs), strict=True))


def _places(jobs: Sequence[NewJob]) -> Iterator[tuple[int, ...]]:
    known: dict[int, int] = {}
    for number, job in enumerate(jobs, 1):
        places = tuple(sorted({known.get(id(other), 0) for other in job.after}))
        if 0 in places:
            raise ArgumentError(
                f"task {job.task!r}: after names a job that does not come before it in the same call: pass both to "
                f"enqueue_many as one list, that one first"
            )
        yield places
        known[id(job)] = number


def _kind(values: tuple[Any, ...], trace: Mapping[str, str] | None) -> dict[str, Any]:
    kind = {name: _plain(name, value) for name, value in zip(_FIELDS, values, strict=False) if value is not None}
    if places := values[len(_FIELDS) :]:
        kind["options"] = {**kind.get("options", {}), **({"beside": places[0]} if places[0] else {})}
    if trace:
        kind["options"] = {**kind.get("options", {}), "trace": dict(trace)}
    return kind


def _plain(name: str, value: Any) -> Any:
    """The value as JSON has it, whatever the session of the caller takes times and intervals for."""
    if name in _JSON_FIELDS:
        return json.loads(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        # In seconds, since a day is not as long in every zone.
        return f"{value.days * 86_400 + value.seconds}.{value.microseconds:06} seconds"
    return value
