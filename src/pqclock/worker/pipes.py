"""What a worker and its child processes say to each other: one JSON object a line."""

from __future__ import annotations

import json
from datetime import datetime
from typing import IO, Any

from pqclock.rules.job import Outcome
from pqclock.store.jobs import ClaimedJob

_JOB_INSTANTS = ("run_at", "tick", "claimed_at")
_OUTCOME_INSTANTS = ("started_at", "finished_at")


def send(pipe: IO[bytes], message: dict[str, Any]) -> None:
    """Write one message; raises OSError when nobody reads any more."""
    pipe.write(json.dumps(message).encode() + b"\n")
    pipe.flush()


def receive(pipe: IO[bytes]) -> dict[str, Any] | None:
    """Read one message; None at the end."""
    line = pipe.readline()
    if not line.endswith(b"\n"):
        return None
    message: dict[str, Any] = json.loads(line)
    return message


def job_message(job: ClaimedJob) -> dict[str, Any]:
    """A claimed job as JSON values."""
    return _texts(job._asdict(), _JOB_INSTANTS)


def read_job(message: dict[str, Any]) -> ClaimedJob:
    """The claimed job of a message."""
    return ClaimedJob(**_instants(message, _JOB_INSTANTS))


def outcome_message(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON values."""
    return _texts(outcome._asdict(), _OUTCOME_INSTANTS)


def read_outcome(message: dict[str, Any]) -> Outcome:
    """The outcome of a message."""
    values = _instants(message, _OUTCOME_INSTANTS)
    return Outcome(**{**values, "error_names": tuple(values["error_names"])})


def _texts(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return values | {name: values[name] and values[name].isoformat() for name in names}


def _instants(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return values | {name: values[name] and datetime.fromisoformat(values[name]) for name in names}
