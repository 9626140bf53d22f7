"""Which jobs a new one waits for, and what it is a part of: the words `after` and `parent` of an enqueue, checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias, Union, runtime_checkable

from pqclock.errors import ArgumentError
from pqclock.store.jobs import NewJob

if TYPE_CHECKING:
    from pqclock.tasks.fan_out import FanOut
    from pqclock.tasks.handle import JobHandle

MAX_AFTER = 100_000
_LAST_ID = 2**63 - 1

Awaitable: TypeAlias = Union["JobHandle", "FanOut", NewJob, int]
Parent: TypeAlias = Union["JobHandle", "FanOut", int]


@runtime_checkable
class _Whole(Protocol):
    """What stands for all of its jobs."""

    @property
    def jobs(self) -> Iterable[JobHandle]:
        """Its jobs."""


def check_after(after: object, what: str) -> tuple[list[int], tuple[NewJob, ...]]:
    """The ids of those that are there, and those that come in with the same call; or ArgumentError."""
    if after is None:
        return [], ()
    ids: list[int] = []
    beside: list[NewJob] = []
    for one in _flat(after, what):
        if isinstance(one, NewJob):
            beside.append(one)
        else:
            ids.append(_id(one, f"{what}: after"))
        if len(ids) + len(beside) > MAX_AFTER:
            raise ArgumentError(f"{what}: after names more than {MAX_AFTER} jobs: wait for them in groups")
    return sorted(set(ids)), tuple(beside)


def relation_words(ids: list[int], parent: object, what: str) -> dict[str, object]:
    """What the options of a job say of others, as JSON values; or ArgumentError."""
    words: dict[str, object] = {"after": ids} if ids else {}
    return words if parent is None else {**words, "parent": _id(parent, f"{what}: parent")}


def _flat(after: object, what: str) -> Iterator[object]:
    if isinstance(after, NewJob | int) or hasattr(after, "id"):
        after = [after]
    if not isinstance(after, Iterable) or isinstance(after, str | bytes | Mapping):
        raise ArgumentError(f"{what}: after {after!r:.60} must be a list of handles or ids of jobs")
    for one in after:
        if isinstance(one, _Whole):
            yield from one.jobs
        else:
            yield one


def _id(given: object, what: str) -> int:
    found = getattr(given, "id", given)
    if type(found) is not int or not -_LAST_ID <= found <= _LAST_ID:
        raise ArgumentError(f"{what} {given!r:.60} is no job: pass a handle, or the id of a job as a whole number")
    return found
