"""What is told of a job at its address: where it stands, how soon to ask again, and what it came to."""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil
from typing import Any

from pqclock.http.answers import Answer, json_answer, problem
from pqclock.rules.job import TERMINAL
from pqclock.store.statuses import Standing

_ASK_AGAIN_WITHIN = 60
# Of a job that runs: ask again when it has run for another quarter of what it has.
_QUARTER = 4
_LONGEST_QUARTER = 30
_ENDS = {
    "failed": (500, "the job has failed"),
    "cancelled": (410, "the job was cancelled"),
    "discarded": (410, "the job was discarded: it was not run"),
}


def is_over(standing: Standing | None) -> bool:
    """True when there is nothing to wait for."""
    return standing is None or standing.state in TERMINAL


def status_answer(standing: Standing, code: int, headers: dict[str, str]) -> Answer:
    """Where the job stands, with when to ask again as long as it has not ended."""
    if standing.state not in TERMINAL:
        headers = {**headers, "Retry-After": str(ask_again_in(standing))}
    return json_answer(code, told(standing), headers)


def told(standing: Standing) -> dict[str, Any]:
    """The JSON of a status; `progress` is there once a job has told of some."""
    progress = standing.progress or {}
    return {
        "state": standing.state,
        "attempt": standing.attempt,
        "max_attempts": standing.max_attempts,
        "created_at": _iso(standing.created_at),
        "started_at": _iso(standing.started_at),
        "finished_at": _iso(standing.finished_at),
        **({"progress": {name: progress.get(name) for name in ("done", "total")}} if progress else {}),
    }


def ask_again_in(standing: Standing) -> int:
    """Seconds after which another question is worth it."""
    if standing.runs_for is not None:
        return max(1, min(round(standing.runs_for / _QUARTER), _LONGEST_QUARTER))
    return max(1, min(ceil(standing.due_in or 0), _ASK_AGAIN_WITHIN))


def result_answer(standing: Standing, headers: dict[str, str], *, expose_errors: bool) -> Answer:
    """What a job came to that has ended: its result, or a problem."""
    if standing.state == "succeeded":
        return json_answer(200, standing.result, headers)
    code, detail = _ENDS[standing.state]
    if expose_errors and standing.error:
        detail = f"{detail}: {standing.error}"
    return problem(code, detail, headers, state=standing.state, finished_at=_iso(standing.finished_at))


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
