"""The first connection of a long-running role: it may be early, so it waits a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import psycopg

from pqclock.errors import DatabaseUnreachable
from pqclock.store.database import Session

TRY_EVERY = 0.2


def within(wait: timedelta, open_session: Callable[[], Session]) -> Session:
    """The session that `open_session` gives, tried again until `wait` is over; then its DatabaseUnreachable is raised."""
    deadline = time.monotonic() + wait.total_seconds()
    while True:
        try:
            return open_session()
        except (DatabaseUnreachable, psycopg.OperationalError):
            if time.monotonic() >= deadline:
                raise
        time.sleep(TRY_EVERY)
