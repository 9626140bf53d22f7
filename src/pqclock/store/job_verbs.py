"""What a person does with jobs: retry, run, cancel, discard; a slice of them is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import psycopg

from pqclock.rules.job import LIVE, TERMINAL
from pqclock.store import gating
from pqclock.store.database import IN_THE_WAY, Session

Name = Literal["retry", "run", "cancel", "discard"]

# Somebody else was in the way of a slice: it is done again, so many times, before its jobs are taken one by one.
_TRIES = 3
_AGAIN = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


@dataclass(frozen=True, slots=True)
class Verb:
    """`states` are those of the jobs that it takes, `unasked` those that a filter without a state means."""

    name: Name
    states: tuple[str, ...]
    unasked: tuple[str, ...]


VERBS: dict[str, Verb] = {
    "retry": Verb("retry", ("scheduled", *TERMINAL), ("failed",)),
    "run": Verb("run", ("scheduled",), ("scheduled",)),
    "cancel": Verb("cancel", LIVE, LIVE),
    "discard": Verb("discard", ("scheduled", "ready"), ("scheduled", "ready")),
}


@dataclass(frozen=True, slots=True)
class How:
    """How a verb is done: `succeeded` lets `retry` take jobs that have succeeded, `force` lets `cancel` not wait for a run.

    `reason` is written into the job, as its error.
    """

    succeeded: bool = False
    force: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of one job. `outcome` of one that was `done` is `ready`, `due`, `held`, `ended` or `asked`.

    Else it is `unique` (its key is taken by the job `holder`), `succeeded`, `state` (it is in another state than the verb
    takes), `locked` or `gone`. `state` is where it stands now, None when the database does not have it any more.
    """

    id: int
    done: bool
    outcome: str
    state: str | None
    holder: int | None = None


def change(session: Session, verb: Verb, ids: Sequence[int], how: How, now: datetime | None = None) -> list[Changed]:
    """Do it with these jobs, each at most once whoever else does; gives what became of each, in the order of ids."""
    wanted = sorted(set(ids))
    for _ in range(_TRIES):
        try:
            return _change(session, verb, wanted, how, now)
        except _AGAIN:
            continue
        except IN_THE_WAY:
            break
    if len(wanted) == 1:
        return [Changed(wanted[0], False, "locked", standing(session, wanted).get(wanted[0]))]
    return [row for job_id in wanted for row in change(session, verb, [job_id], how, now)]


def standing(session: Session, ids: Sequence[int]) -> dict[int, str]:
    """The states of these jobs, without those that the database does not have."""
    return dict(session.run("job_verbs.standing", ids=list(ids)).fetchall())


def end_asked(session: Session, ids: Sequence[int], now: datetime | None = None) -> set[int]:
    """End those that were to be cancelled while they ran and wait again instead; gives their ids."""
    return {job_id for (job_id,) in session.run("job_verbs.end_asked", ids=list(ids), now=now)}


def asked(session: Session, worker_id: int) -> list[int]:
    """The ids of the jobs that this worker runs and that are to end."""
    return [job_id for (job_id,) in session.run("job_verbs.asked", worker_id=worker_id)]


def _change(session: Session, verb: Verb, ids: list[int], how: How, now: datetime | None) -> list[Changed]:
    act: Callable[[Session, list[int], How, datetime | None], list[Changed]] = _ACTS[verb.name]
    with session.transaction():
        session.run("job_verbs.patience")
        rows = {row.id: row for row in act(session, ids, how, now)}
        left = [job_id for job_id in ids if job_id not in rows]
        # A job may move while it is looked for, as from running to scheduled: those that still suit are looked for again.
        suiting = [job_id for job_id, state in standing(session, left).items() if state in _taken(verb, how)]
        if suiting:
            rows.update({row.id: row for row in act(session, suiting, how, now)})
        states = standing(session, [job_id for job_id in ids if job_id not in rows])
    return [rows.get(job_id) or _left(job_id, states.get(job_id), verb) for job_id in ids]


def _taken(verb: Verb, how: How) -> tuple[str, ...]:
    if verb.name == "retry" and not how.succeeded:
        return tuple(state for state in verb.states if state != "succeeded")
    return verb.states


def _left(job_id: int, state: str | None, verb: Verb) -> Changed:
    if state is None:
        return Changed(job_id, False, "gone", None)
    return Changed(job_id, False, "succeeded" if verb.name == "retry" and state == "succeeded" else "state", state)


def _retry(session: Session, ids: list[int], how: How, now: datetime | None) -> list[Changed]:
    states = [state for state in TERMINAL if how.succeeded or state != "succeeded"]
    revived = session.run("job_verbs.revive", ids=ids, states=states, now=now).fetchall()
    kept = [job_id for job_id, outcome, _ in revived if outcome == "unique"]
    stand = standing(session, kept) if kept else {}
    return [
        Changed(job_id, outcome != "unique", outcome, _state_of(outcome) or stand.get(job_id), holder)
        for job_id, outcome, holder in revived
    ] + _run(session, ids, how, now)


def _state_of(outcome: str) -> str | None:
    return {"ready": "ready", "held": "scheduled"}.get(outcome)


def _run(session: Session, ids: list[int], _: How, now: datetime | None) -> list[Changed]:
    due = session.run("job_verbs.due", ids=ids, now=now).fetchall()
    return [Changed(job_id, True, outcome, "scheduled") for job_id, outcome in due]


def _cancel(session: Session, ids: list[int], how: How, now: datetime | None) -> list[Changed]:
    rows = _end(session, ids, "cancelled", how, now)
    if how.force:
        return rows + _end_running(session, ids, how, now)
    told = session.run("job_verbs.ask", ids=ids, reason=how.reason, now=now).fetchall()
    return rows + [Changed(job_id, True, "asked", "running") for (job_id,) in told]


def _end_running(session: Session, ids: list[int], how: How, now: datetime | None) -> list[Changed]:
    """In the database at once; the places that the runs had at gates are free then."""
    running = session.run("job_verbs.lock_running", ids=ids).fetchall()
    if not running:
        return []
    gated = [gating.End(job_id, lease, n, "cancelled") for n, (job_id, lease, gates) in enumerate(running) if gates]
    if gated:
        gating.settle(session, gated, now)
    ended = session.run(
        "job_verbs.end_running", ids=[job_id for job_id, *_ in running], leases=[lease for _, lease, _ in running],
        reason=how.reason, now=now,
    )  # fmt: skip
    return [Changed(job_id, True, "ended", "cancelled") for (job_id,) in ended]


def _discard(session: Session, ids: list[int], how: How, now: datetime | None) -> list[Changed]:
    return _end(session, ids, "discarded", how, now)


def _end(session: Session, ids: list[int], state: str, how: How, now: datetime | None) -> list[Changed]:
    ended = session.run(
        "job_verbs.end_waiting", ids=ids, states=["scheduled", "ready"], state=state, reason=how.reason, now=now
    )
    return [Changed(job_id, True, "ended", state) for (job_id,) in ended]


_ACTS: dict[Name, Callable[[Session, list[int], How, datetime | None], list[Changed]]] = {
    "retry": _retry,
    "run": _run,
    "cancel": _cancel,
    "discard": _discard,
}
