"""Alarms: what is judged of schedules and queues, what was found wrong, and who has to be told.

An alarm is open once at most for each kind and subject, whoever finds it; so it is told once, whoever tells it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pqclock.rules.durations import parse_duration
from pqclock.rules.json_values import storable_text
from pqclock.rules.promises import missed_words, promise_of, slo_words
from pqclock.store.database import Session
from pqclock.store.listing_rows import AlarmRow

KINDS = ("silence", "ledger", "missed", "slo")
SLICE = 500
MOST_HEADS = 1_000
MOST_OPEN = 100
TRIES = 20


@dataclass(frozen=True, slots=True)
class Broken:
    """A schedule that was judged: the tick at which its promise is broken, None where it is kept; and whether that is new."""

    key: str
    within: timedelta
    broken: datetime | None
    unplanned: datetime | None
    job_id: int | None
    fault: str | None
    changes: bool


@dataclass(frozen=True, slots=True)
class Look:
    """Whether schedules are due to be judged, and the kinds of alarms that are open."""

    due: bool
    open: list[str]


@dataclass(frozen=True, slots=True)
class Change:
    """An alarm that begins, with its words; or that ends, without."""

    kind: str
    subject: str
    message: str | None


@dataclass(frozen=True, slots=True)
class Untold:
    """News of an alarm: that it is open, or with `ended_at` that it is over; told for the so many-th time.

    Of kind `many` it stands for all those in `rest`, by their ids.
    """

    id: int
    kind: str
    subject: str
    message: str
    raised_at: datetime
    ended_at: datetime | None
    tries: int
    rest: Sequence[int] = ()


def look(session: Session, now: datetime | None = None) -> Look:
    """What there is to do."""
    return session.fetch(Look, "alarms.look", now=now)[0]


def judge(session: Session, now: datetime | None = None) -> tuple[list[Change], bool]:
    """Judge a slice of the schedules that are due for it; gives the alarms that begin and end.

    True beside them when there are more to judge at once.
    """
    with session.transaction():
        found = session.fetch(Broken, "alarms.judge_schedules", limit=SLICE, now=now)
        changes = [_judged(one) for one in found if one.changes]
        return [change for change in changes if _write(session, change, now)], len(found) == SLICE


def _judged(one: Broken) -> Change:
    if one.broken is None:
        return Change("missed", one.key, None)
    unplanned = one.unplanned is not None
    return Change("missed", one.key, missed_words(one.key, one.broken, one.within, one.job_id, unplanned, one.fault))


def _write(session: Session, change: Change, now: datetime | None) -> bool:
    """Whether it changed anything: somebody else may have been faster."""
    if change.message is None:
        return end(session, change.kind, change.subject, now)
    return begin(session, change.kind, change.subject, change.message, now)


def judge_queues(session: Session, now: datetime | None = None) -> list[Change]:
    """Judge all queues; gives the alarms that begin and end."""
    broken: dict[str, str] = {}
    oldest = session.run("alarms.oldest_ready", limit=MOST_HEADS, now=now).fetchall()
    declared = slos(session) if oldest else {}
    for queue, job_id, _, waited in oldest:
        slo = promise_of(queue, declared)
        if slo is not None and waited > slo:
            broken[queue] = slo_words(queue, slo, waited, job_id)
    open_ones = {row.subject for row in open_alarms(session, "slo", 2 * MOST_HEADS)}
    changes = [Change("slo", queue, broken[queue]) for queue in sorted(broken.keys() - open_ones)]
    changes += [Change("slo", queue, None) for queue in sorted(open_ones - broken.keys())]
    return [change for change in changes if _write(session, change, now)]


def begin(session: Session, kind: str, subject: str, message: str, now: datetime | None = None) -> bool:
    """Open an alarm; False when it is open already."""
    row = session.run("alarms.raise", kind=kind, subject=subject, message=storable_text(message, 2_000), now=now)
    return row.fetchone() is not None


def end(session: Session, kind: str, subject: str, now: datetime | None = None) -> bool:
    """Close an alarm; False when it is not open."""
    return session.run("alarms.end", kind=kind, subject=subject, now=now).fetchone() is not None


def open_alarms(session: Session, kind: str | None = None, limit: int = MOST_OPEN) -> list[AlarmRow]:
    """Those that are open, the oldest first, as far as anybody can look through."""
    return session.fetch(AlarmRow, "alarms.open", kind=kind, limit=limit)


def ended_alarms(session: Session, limit: int = 50) -> list[AlarmRow]:
    """Those that were over last."""
    return session.fetch(AlarmRow, "alarms.ended", limit=limit)


def slos(session: Session) -> dict[str, timedelta]:
    """What files promise of queues; of several promises the shortest."""
    found: dict[str, timedelta] = {}
    for queue, slo in session.run("alarms.slos"):
        found[queue] = min(parse_duration(slo), found.get(queue, timedelta.max))
    return found


def slos_of_set(session: Session, set_name: str) -> dict[str, str]:
    """What the files of one set promise, as they say it."""
    return dict(session.run("alarms.slos_of_set", set_name=set_name).fetchall())


def write_slos(session: Session, set_name: str, wanted: Mapping[str, str]) -> None:
    """Make what a set promises of queues this, and nothing else."""
    session.run("alarms.write_slos", set_name=set_name, queues=list(wanted), slos=list(wanted.values()))


def claim_untold(session: Session, limit: int = 20) -> Sequence[Untold]:
    """Take what somebody has to be told of; nobody else gets it for a minute."""
    return session.fetch(Untold, "alarms.claim_untold", limit=limit, tries=TRIES)


def claim_rest(session: Session) -> Untold | None:
    """Take all that is untold together, to be told in one sentence, and nobody of its ends; None when there is nothing."""
    row = session.run("alarms.claim_rest", tries=TRIES).fetchone()
    if row is None:
        return None
    ids, first, raised_at, tries = row
    words = f"and {len(ids):,} more alarm{'s' * (len(ids) > 1)}, the first of them: {first}; see `pqclock status`"
    return Untold(ids[0], "many", "", words, raised_at, None, tries, ids)


def told(session: Session, news: Untold, untold: str | None = None) -> None:
    """Note that it was told, or given up, and why somebody was not."""
    if news.rest:
        session.run("alarms.rest_told", ids=news.rest, untold=untold)
    else:
        session.run("alarms.told", id=news.id, ended=news.ended_at is not None, untold=untold)


def not_told(session: Session, news: Untold, why: str) -> None:
    """Note why somebody could not be told; it is tried again."""
    session.run("alarms.not_told", ids=news.rest or [news.id], why=storable_text(why, 500))


def untold(session: Session, limit: int = MOST_OPEN) -> list[AlarmRow]:
    """Those of which somebody was not told lately, the newest first."""
    return session.fetch(AlarmRow, "alarms.untold", limit=limit)


def forget(session: Session, limit: int, *, before: datetime) -> int:
    """Drop some that were over long ago; gives their number."""
    return len(session.run("alarms.forget", limit=limit, before=before).fetchall())
