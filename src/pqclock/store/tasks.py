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
    """Write the tasks whose published options differ; newer code wins. Gives the number written."""
    return session.run("tasks.publish", **publication(tasks, now)).rowcount
