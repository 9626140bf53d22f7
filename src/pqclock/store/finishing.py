"""Finish: what runs came to is written, fenced by their leases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from pqclock.rules.job import Outcome
from pqclock.store import gating
from pqclock.store.database import Session

# What is stored of an outcome; the rest of it is for the gates.
_WRITTEN = (
    "lease",
    "state",
    "outcome",
    "charged",
    "delay",
    "error_type",
    "error",
    "traceback",
    "kept",
    "crashed",
    "keeps_place",
)
_MICROSECOND = timedelta(microseconds=1)
_by_id = attrgetter("job_id")


def finish(session: Session, outcomes: Sequence[Outcome], worker_id: int, now: datetime | None = None) -> set[int]:
    """Write what runs came to; gives the ids that were accepted, the others had lost their lease.

    Plain successes, most of all, are written by a shorter statement; those that it does not take, by the one for all.
    """
    ends = [gating.End.of(o, number) for number, o in enumerate(outcomes) if o.gated or o.cools]
    plain = [outcome for outcome in outcomes if _is_plain(outcome)]
    if not ends and len(plain) in (0, len(outcomes)):
        return _finish_all(session, plain, outcomes, worker_id, now)
    with session.transaction():
        if ends:
            gating.settle(session, ends, now)
        return _finish_all(session, plain, outcomes, worker_id, now)


def _finish_all(
    session: Session, plain: Sequence[Outcome], outcomes: Sequence[Outcome], worker_id: int, now: datetime | None
) -> set[int]:
    accepted = _finish_plain(session, plain)
    if len(accepted) == len(outcomes):
        return accepted
    return accepted | _finish(session, [o for o in outcomes if o.job_id not in accepted], worker_id, now)


def _is_plain(outcome: Outcome) -> bool:
    return (
        outcome.state == "succeeded"
        and outcome.result is None
        and outcome.error is None
        and outcome.checkpoint is None
        and (not outcome.kept or (outcome.started_at is not None and outcome.finished_at is not None))
    )


def _finish_plain(session: Session, outcomes: Sequence[Outcome]) -> set[int]:
    kept = [outcome for outcome in outcomes if outcome.kept]
    unkept = [outcome for outcome in outcomes if not outcome.kept]
    accepted: set[int] = set()
    if unkept:
        unkept.sort(key=_by_id)
        cursor = session.run("finishing.finish_plain", **_arrays(unkept))
        accepted.update([job_id for (job_id,) in cursor.fetchall()])
    if kept:
        kept.sort(key=_by_id)
        base = kept[0].finished_at
        began = [(outcome.started_at - base) // _MICROSECOND for outcome in kept]  # type: ignore[operator]
        ended = [(outcome.finished_at - base) // _MICROSECOND for outcome in kept]  # type: ignore[operator]
        cursor = session.run(
            "finishing.finish_plain_kept", base=base, began=_array(began), ended=_array(ended), **_arrays(kept)
        )
        accepted.update([job_id for (job_id,) in cursor.fetchall()])
    return accepted


def _arrays(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {"ids": _array([o.job_id for o in outcomes]), "leases": _array([o.lease for o in outcomes])}


def _array(numbers: Sequence[int]) -> str:
    """As PostgreSQL writes it; the driver takes longer for a list."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _finish(session: Session, outcomes: Sequence[Outcome], worker_id: int, now: datetime | None) -> set[int]:
    rows = sorted((_outcome_row(outcome) for outcome in outcomes), key=lambda row: row["id"])
    cursor = session.run("finishing.finish", outcomes=json.dumps(rows), worker_id=worker_id, now=now)
    return {job_id for (job_id,) in cursor}


def written(session: Session, outcomes: Sequence[Outcome]) -> set[int]:
    """The ids of those outcomes that an earlier `finish` has written, whose reply did not arrive."""
    rows = [_outcome_row(outcome) for outcome in outcomes]
    return {job_id for (job_id,) in session.run("finishing.written", outcomes=json.dumps(rows))}


def _outcome_row(outcome: Outcome) -> dict[str, Any]:
    row = {name: getattr(outcome, name) for name in _WRITTEN}
    row["id"] = outcome.job_id
    row["result"] = None if outcome.result is None else json.loads(outcome.result)
    row["checkpoint"] = None if outcome.checkpoint is None else json.loads(outcome.checkpoint)
    row["started_at"] = outcome.started_at and outcome.started_at.isoformat()
    row["finished_at"] = outcome.finished_at and outcome.finished_at.isoformat()
    return row
