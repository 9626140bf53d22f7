"""Schedules and their ledger: what is due to be planned, the ticks that were, and the application of files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pqclock.rules.json_values import storable_text
from pqclock.rules.overlap import Unfinished
from pqclock.store.ahead import AHEAD
from pqclock.store.database import Session

# Schedules at one version each: (id, version).
Versions = Collection[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """A schedule with something to plan, and where its planning stands."""

    id: int
    key: str
    version: int
    definition: dict[str, Any]
    planned_to: datetime
    created_at: datetime
    unique_task: bool = False


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a schedule was planned: written only if it still stands at `planned_from` and at `version`.

    `plan_at` is when it is to be planned next. Missed ticks after `owed_after` up to `owed_upto`, noticed at an instant,
    are left to be decided on later. With `owed_id` it is such a span that was planned, from `planned_from` to `planned_to`.
    """

    schedule_id: int
    version: int
    planned_from: datetime
    planned_to: datetime
    next_tick: datetime | None = None
    plan_at: datetime | None = None
    owed_after: datetime | None = None
    owed_upto: datetime | None = None
    noticed_at: datetime | None = None
    owed_id: int | None = None
    unique_task: bool | None = None


@dataclass(frozen=True, slots=True)
class TickRow:
    """A row for the ledger; with `run_at`, `expires_at` and `args` for its job when the outcome is `inserted`.

    `nominal` is the instant from which the tick was moved, if it was. A job that is `held` waits until those of its
    schedule before it have ended; one that `replaces` cancels them. `owed_id` is the span that the tick belongs to. A job
    that is `keyed` takes its unique key, or is left out for it.
    """

    schedule_id: int
    tick: datetime
    through: datetime
    count: int
    outcome: str
    reason: str | None
    origin: str
    nominal: datetime | None = None
    run_at: datetime | None = None
    expires_at: datetime | None = None
    args: dict[str, Any] | None = None
    held: bool = False
    replaces: bool = False
    owed_id: int | None = None
    keyed: bool = False


@dataclass(frozen=True, slots=True)
class OwedSpan:
    """Missed ticks after `after` up to `upto`, noticed at an instant, and what is known of their schedule.

    `definition` is the one that held when they came due; version, state and pause are those of now.
    """

    id: int
    schedule_id: int
    key: str
    version: int
    state: str
    definition: dict[str, Any]
    after: datetime
    upto: datetime
    noticed_at: datetime
    created_at: datetime
    paused_until: datetime | None
    unique_task: bool = False


@dataclass(frozen=True, slots=True)
class Insertion:
    """What came of inserting ticks: False in `in_office` means that the term is over and nothing was written.

    `moved` are the schedules whose cursors were, `spans` is the number of spans of missed ticks that were. `keyed` are
    the jobs that have unique keys.
    """

    in_office: bool
    moved: list[int]
    spans: int
    inserted: int
    first_run_at: datetime | None
    keyed: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class KnownSchedule:
    """A schedule as the database has it, its row locked for a change."""

    id: int
    key: str
    version: int
    set_name: str | None
    source: str
    state: str
    definition: dict[str, Any]
    planned_to: datetime
    paused_until: datetime | None
    note: str | None
    created_at: datetime


def due(session: Session, before: datetime, limit: int, broken: Versions = ()) -> list[DueSchedule]:
    """The schedules that are to be planned up to `before`, those first whose ticks are due first, without the `broken`."""
    return session.fetch(DueSchedule, "schedules.due", before=before, limit=limit, ahead=AHEAD.least, **_broken(broken))


def earliest(session: Session, broken: Versions = ()) -> datetime | None:
    """When the first schedule is to be planned; the `broken` ones do not count."""
    row = session.run("schedules.earliest", **_broken(broken)).fetchone()
    return row[0] if row else None


def owed(session: Session, limit: int, broken: Versions = ()) -> list[OwedSpan]:
    """Spans of missed ticks, the first noticed first, without the `broken` ones, which are named by (id, 0)."""
    return session.fetch(OwedSpan, "schedules.owed", limit=limit, broken=[span_id for span_id, _ in broken])


def owed_by(session: Session, ids: Collection[int]) -> list[OwedSpan]:
    """All spans of missed ticks of these schedules, locked."""
    return session.fetch(OwedSpan, "schedules.owed_by", ids=list(ids))


def owed_since(session: Session, schedule_id: int) -> datetime | None:
    """From where on missed ticks of a schedule are still to be decided on."""
    row = session.run("schedules.owed_since", schedule_id=schedule_id).fetchone()
    return row[0] if row else None


def unfinished(session: Session, ids: Collection[int]) -> dict[int, Unfinished]:
    """Of these schedules, those with jobs that have not ended."""
    rows = session.run("schedules.unfinished", ids=list(ids))
    return {schedule_id: Unfinished(jobs, waiting, newest) for schedule_id, jobs, waiting, newest in rows}


def hold(session: Session, ids: Collection[int]) -> set[int]:
    """Lock these schedules until the transaction ends; gives those that nobody else holds."""
    return {schedule_id for (schedule_id,) in session.run("schedules.hold", ids=list(ids))}


def hold_unfinished(session: Session, ids: Collection[int]) -> Counter[int]:
    """Lock the unfinished jobs of these schedules; gives how many of each nobody else holds."""
    return Counter(schedule_id for (schedule_id,) in session.run("schedules.hold_unfinished", ids=list(ids)))


def insert_ticks(
    session: Session, epoch: int | None, reaches: Sequence[Reach], ticks: Sequence[TickRow], now: datetime | None = None
) -> Insertion:
    """Write ledger, jobs and cursors in one statement; a tick that has a row is left alone.

    The leader writes under its term's epoch; without one, the caller holds the schedules' rows locked. Where ticks are
    keyed, it is part of a transaction of the caller.
    """
    written = session.fetch(
        Insertion, "schedules.insert_ticks", epoch=epoch, cursors=_json(reaches), entries=_json(ticks), now=now
    )[0]
    if not written.keyed:
        return written
    row = session.run("schedules.admit_ticks", keyed=json.dumps(written.keyed), now=now).fetchone()
    return replace(written, inserted=written.inserted - (row[0] if row else 0))


def database_now(session: Session, now: datetime | None = None) -> datetime:
    """The database's time."""
    row = session.run("schedules.now", now=now).fetchone()
    assert row is not None
    result: datetime = row[0]
    return result


def set_aside(session: Session, identity: tuple[int, int], fault: str, *, span: bool = False) -> None:
    """Note why a schedule at one version, or a span of missed ticks, is not planned."""
    statement = "schedules.set_span_aside" if span else "schedules.set_aside"
    session.run(statement, id=identity[0], version=identity[1], fault=storable_text(fault, 1_000))


def lock_set(session: Session, set_name: str) -> None:
    """Hold everybody else's application of this set up until the transaction ends."""
    session.run("schedules.allow_time")
    session.run("schedules.lock_set", set_name=set_name)


def applied_contents(session: Session, set_name: str) -> list[str]:
    """The content hashes of a set that were ever applied; the last one rules."""
    return [content_hash for content_hash, _ in session.run("schedules.set_versions", set_name=set_name)]


def record_version(session: Session, set_name: str, content_hash: str, now: datetime) -> None:
    """Note that this content of the set rules from now on."""
    session.run("schedules.record_version", set_name=set_name, content_hash=content_hash, now=now)


def lock_known(session: Session, set_name: str, keys: Iterable[str]) -> list[KnownSchedule]:
    """The schedules of a set and of these keys, also removed ones, locked."""
    return session.fetch(KnownSchedule, "schedules.lock_known", set_name=set_name, keys=list(keys))


def add(session: Session, set_name: str | None, rows: Iterable[Mapping[str, Any]], now: datetime) -> None:
    """Insert schedules in the order of their keys: key, source, state, definition, planned_to each, next_tick and plan_at.

    Without the last two they are looked at at once.
    """
    by_key = sorted(rows, key=lambda row: str(row["key"]))
    session.copy_in(
        "schedules.add",
        (
            (
                *(row["key"], set_name, row["source"], row["state"], json.dumps(row["definition"], default=dict)),
                *(row["planned_to"], now, row.get("next_tick"), row.get("plan_at", row["planned_to"]), now, now),
            )
            for row in by_key
        ),
    )


def move(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Note another place in the files for schedules that are otherwise the same: id, source each."""
    session.run("schedules.move", rows=json.dumps(rows))


def wake_clock(session: Session) -> None:
    """Have the leader look at once."""
    session.run("schedules.wake_clock")


def _broken(versions: Versions) -> dict[str, list[int]]:
    return {"broken_ids": [pair[0] for pair in versions], "broken_versions": [pair[1] for pair in versions]}


def _json(rows: Sequence[Reach] | Sequence[TickRow]) -> str:
    """Rows as JSON, without what is not there: `asdict` would copy every value of every row."""
    names = rows[0].__slots__ if rows else ()
    plain = [
        {name: value for name in names if (value := getattr(row, name)) is not None and value is not False}
        for row in rows
    ]
    return json.dumps(plain, default=_instant, separators=(",", ":"))


def _instant(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} of type {type(value).__name__} is not written to the database as JSON")
