"""Tasks as the database knows them: the defaults that code has published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pqclock.store.database import Session


def publication(tasks: Sequence[dict[str, Any]], now: datetime | None = None) -> dict[str, Any]:
    """The parameters of the statement `tasks.publish`, for sync and async connections alike.

    Each task has name, queue, priority, max_attempts, labels, arg_defaults, options and code_version.
    """
    return {"tasks": json.dumps(tasks), "now": now}


def publish(session: Session, tasks: Sequence[dict[str, Any]], now: datetime | None = None) -> int:
    """Write the tasks whose published options differ; newer code wins. Gives the number written.

    What waits for its tick already gets the new defaults, in a second transaction: whoever inserts ticks at the same
    time either sees the tasks, or the jobs get the defaults when they are promoted.
    """
    names = [name for (name,) in session.run("tasks.publish", **publication(tasks, now))]
    if names:
        session.run("tasks.settle", names=names)
    return len(names)


def names(session: Session) -> list[str]:
    """The tasks that were ever published; at most 10,000 of them."""
    return [name for (name,) in session.run("tasks.names")]
