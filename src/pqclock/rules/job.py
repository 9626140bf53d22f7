"""A job's states, the moves between them with their reasons, and what one run of a job came to."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

LIVE = ("scheduled", "ready", "running")
TERMINAL = ("succeeded", "failed", "cancelled", "discarded")

# state -> the states it may move to, each with the reason. The store's statements make these moves and no others, but for
# a person's retry of what has ended, which lives again as `ready`.
MOVES: dict[str, dict[str, str]] = {
    "scheduled": {
        "ready": "its run_at has come, or a person has it run now, and what held it back has ended",
        "cancelled": "a person cancelled it, or a later tick replaced it",
        "discarded": "it expired before it was started, or a person discarded it",
    },
    "ready": {
        "running": "a worker claimed it",
        "cancelled": "a person cancelled it, or a later tick replaced it",
        "discarded": "it expired before it was started, or a person discarded it",
    },
    "running": {
        "succeeded": "the handler returned",
        "failed": "the attempts are used up, or its worker died three times",
        "cancelled": "the handler raised Cancel, a person cancelled it, or a later tick replaced it",
        "discarded": "it failed with an exception for which its task gives it up",
        "scheduled": "it failed and is tried again, or it raised Snooze",
        "ready": "it was given back at a shutdown or a checkpoint, or its worker died",
    },
}


class Outcome(NamedTuple):
    """What one claim of a job came to: decided by the worker, written by the store.

    `state` is the state that follows, `held` being `scheduled` until a person has looked; `outcome` names the attempt's
    row, None when the handler never began and there is none. `charged` says whether the attempt counts, `crashed` whether
    its process died. `delay` is in seconds, for `scheduled` alone. A job that becomes `ready` and `keeps_place` goes
    before those that came after it. `checkpoint` is how far it came, as JSON text; `kept`
    says whether history and attempt get a row. For the gates: `gated` when the job passed some, the names of the
    exception's classes, and the gate that is to be closed for so many seconds.
    """

    job_id: int
    lease: int
    state: str
    outcome: str | None
    charged: bool = True
    delay: float = 0.0
    result: str | None = None
    error_type: str | None = None
    error: str | None = None
    traceback: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    gated: bool = False
    error_names: tuple[str, ...] = ()
    cools: str | None = None
    cools_for: float = 0.0
    checkpoint: str | None = None
    kept: bool = True
    crashed: bool = False
    keeps_place: bool = False
