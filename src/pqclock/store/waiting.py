"""The first connection of a long-running role: it may be early, so it waits a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import psycopg

from pqclock.errors import DatabaseUnreachable
from pqclock.rules.durations import format_duration

Opened = TypeVar("Opened")

log = logging.getLogger("pqclock")

TRY_EVERY = 0.2


def within(
    wait: timedelta, open_session: Callable[[], Opened], stopped: Callable[[float], bool] | None = None
) -> Opened | None:
    """What `open_session` gives, a session mostly, tried again until `wait` is over; then its DatabaseUnreachable is raised.

    `stopped` sleeps at most so many seconds and says whether a stop was asked for; None is given then.
    """
    stopped = _sleep if stopped is None else stopped
    deadline, told = time.monotonic() + wait.total_seconds(), False
    while not stopped(0.0):
        try:
            return open_session()
        except (DatabaseUnreachable, psycopg.OperationalError) as error:
            if time.monotonic() >= deadline:
                raise
            if not told:
                told = True
                log.warning(
                    "waiting up to %s for the database: %s", format_duration(wait), " ".join(str(error).split())
                )
        stopped(TRY_EVERY)
    return None


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
