"""An order for many jobs: named, or all that pass a filter; worked off in slices, by id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from pqclock.errors import ArgumentError, UnknownJob
from pqclock.rules.job import LIVE, TERMINAL
from pqclock.rules.json_values import storable_text
from pqclock.store import changing, listings
from pqclock.store.database import Session
from pqclock.store.job_verbs import VERBS, Changed, How, Verb, change, standing

# The most jobs of one transaction, and the most rows that tell of jobs nothing was done with.
SLICE = 500
MOST_TOLD = 100

_LAST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs are meant; None leaves a field open. `error` is a part of the error, in any case of letters.

    `since` and `until` are aware: at or after the one and before the other a finished job has ended, or a live one was
    enqueued.
    """

    states: tuple[str, ...] = ()
    task: str | None = None
    queue: str | None = None
    label: str | None = None
    schedule: str | None = None
    error: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it lets every job through."""
        return not any(getattr(self, entry.name) for entry in fields(self))


@dataclass(frozen=True, slots=True)
class Changes:
    """What an order came to: `matched` jobs were meant, `by_state` tells where they stood, `done` were changed.

    `left` counts the others by outcome. `jobs` has a row for each job that was named; for those of a filter only the
    first hundred that were left.
    """

    verb: str
    matched: int = 0
    done: int = 0
    by_state: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    jobs: tuple[Changed, ...] = ()


def check(verb: Verb, wanted: Filter, how: How) -> Filter:
    """The filter with the states that the verb means; raises ArgumentError for one that it does not take."""
    for state in wanted.states:
        if state not in verb.states:
            raise ArgumentError(
                f"jobs {verb.name}: state {state!r:.40} is not taken: use {', '.join(verb.states[:-1])}"
                f"{' or ' if len(verb.states) > 1 else ''}{verb.states[-1]}"
            )
    for name in ("task", "queue", "label", "schedule", "error"):
        text = getattr(wanted, name)
        if text is not None and (not isinstance(text, str) or storable_text(text, len(text)) != text):
            raise ArgumentError(
                f"jobs {verb.name}: {name} {text!r:.60} is no text that the database could hold: correct it"
            )
    for name in ("since", "until"):
        instant = getattr(wanted, name)
        if instant is not None and instant.utcoffset() is None:
            raise ArgumentError(
                f"jobs {verb.name}: {name} {instant} has no time zone: pass an aware datetime, as with tzinfo=UTC"
            )
    states = wanted.states or (*verb.unasked, *(("succeeded",) if how.succeeded else ()))
    return Filter(states, *(getattr(wanted, entry.name) for entry in fields(wanted)[1:]))


def preview(session: Session, verb_name: str, ids: tuple[int, ...], wanted: Filter, how: How | None = None) -> Changes:
    """How many jobs are meant, and where they stand; changes nothing. Raises as `check`, and UnknownJob, UnknownSchedule."""
    verb = VERBS[verb_name]
    counts: dict[str, int] = {}
    if ids:
        for state in _known(session, ids).values():
            counts[state] = counts.get(state, 0) + 1
    else:
        params = _params(session, check(verb, wanted, how or How()))
        for statement in _tables("count", params["states"]):
            counts.update(session.run(statement, **params).fetchall())
    return Changes(verb.name, sum(counts.values()), 0, counts)


def carry_out(
    session: Session,
    seen: Changes,
    ids: tuple[int, ...],
    wanted: Filter,
    how: How,
    on_progress: Callable[[int, int], None] | None = None,
) -> Changes:
    """Do what `preview` has told of, in slices; each job is looked at once, even if it comes to the same state again.

    `on_progress` is called after each slice, with how many were looked at and how many of them were changed.
    """
    verb = VERBS[seen.verb]
    looked_at, done, told = 0, 0, list[Changed]()
    left: dict[str, int] = {}
    # A state that was named is asked for.
    how = How(how.succeeded or (not ids and "succeeded" in wanted.states), how.force, how.reason)
    for part in _named(ids) if ids else _matching(session, check(verb, wanted, how)):
        rows = change(session, verb, part, how)
        looked_at, done = looked_at + len(rows), done + sum(row.done for row in rows)
        for row in rows:
            if not row.done:
                left[row.outcome] = left.get(row.outcome, 0) + 1
            if ids or (not row.done and len(told) < MOST_TOLD):
                told.append(row)
        if on_progress is not None:
            on_progress(looked_at, done)
    return Changes(verb.name, max(looked_at, seen.matched if ids else 0), done, seen.by_state, left, tuple(told))


def _known(session: Session, ids: tuple[int, ...]) -> dict[int, str]:
    found = standing(session, [job_id for job_id in ids if 0 <= job_id <= _LAST_ID])
    missing = [str(job_id) for job_id in dict.fromkeys(ids) if job_id not in found]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise UnknownJob(
            f"the database has no job {', '.join(missing[:5])}{more}: there was none, or its history is past its time and "
            f"was dropped; see `pqclock jobs list`"
        )
    return found


def _named(ids: tuple[int, ...]) -> Iterator[list[int]]:
    ordered = sorted(set(ids))
    for at in range(0, len(ordered), SLICE):
        yield ordered[at : at + SLICE]


def _matching(session: Session, wanted: Filter) -> Iterator[list[int]]:
    """By rising ids, with a place of its own in each table: what lives again, or ends, is not met twice."""
    # What comes to be while this goes on is not meant.
    params = _params(session, wanted)
    now = listings.now(session)
    params["until"] = min(params["until"] or now, now)
    for statement in _tables("choose", params["states"]):
        after = -1
        while True:
            rows = session.run(statement, after=after, most=SLICE, **params).fetchall()
            if rows:
                yield [job_id for (job_id,) in rows]
                after = rows[-1][0]
            if len(rows) < SLICE:
                break


def _tables(verb: str, states: list[str]) -> Iterator[str]:
    """The statements for the tables in which such jobs can be."""
    if not set(states).isdisjoint(LIVE):
        yield f"job_verbs.{verb}_live"
    if not set(states).isdisjoint(TERMINAL):
        yield f"job_verbs.{verb}_past"


def _params(session: Session, wanted: Filter) -> dict[str, Any]:
    params = {entry.name: getattr(wanted, entry.name) for entry in fields(wanted)}
    key = params.pop("schedule")
    params["states"] = list(wanted.states)
    params["schedule_id"] = None if key is None else _schedule_id(session, key)
    return params


def _schedule_id(session: Session, key: str) -> int:
    row = session.run("job_verbs.schedule_id", key=key).fetchone()
    if row is None:
        raise changing.unknown(session, key)
    found: int = row[0]
    return found
