"""The id, task and attempt of a job on every log record that its handler makes."""

from __future__ import annotations

import logging

from pqclock.tasks.context import running


class JobFields(logging.Filter):
    """For a handler of yours: `handler.addFilter(JobFields())`. The commands of pqclock have it on theirs.

    A record that is made while a job runs, in its thread or coroutine, gets `job_id`, `task` and `attempt`, where it has
    none of its own. With `always=True` records outside of a job get them as None, for formats that name them.
    """

    def __init__(self, *, always: bool = False) -> None:
        super().__init__()
        self._always = always

    def filter(self, record: logging.LogRecord) -> bool:
        """Every record passes."""
        run = running.get(None)
        job = None if run is None else run.known
        if job is not None or self._always:
            for name, attribute in (("job_id", "id"), ("task", "task"), ("attempt", "attempt")):
                if not hasattr(record, name):
                    setattr(record, name, getattr(job, attribute, None))
        return True
