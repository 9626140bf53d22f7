"""The leader's housekeeping: rescue, expire and sweep in bounded slices; partitions on a connection of their own."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from functools import partial

from pqclock.rules.retention import DEFAULT, Keep
from pqclock.store import (
    after,
    alarms,
    audit,
    gating,
    jobs,
    partitions,
    pauses,
    processes,
    rules,
    running,
    schedules,
    statuses,
)
from pqclock.store.database import CONNECTION_LOST, DatabaseError, Session, connect

log = logging.getLogger("pqclock.clock")

SLICE = 1_000
FORGET_PROCESS_AFTER = timedelta(minutes=1)
FOLLOW_EVERY = 60.0
PARTITIONS_EVERY = 3_600.0
PARTITIONS_RETRY = 5.0
WARN_AFTER = 12


def tidy(session: Session, *, silent_too: bool) -> bool:
    """One bounded slice of housekeeping; True when there is more to do at once.

    Jobs of workers that were declared dead are rescued; those of silent ones only with `silent_too`.
    """
    rescued = jobs.rescue(session, SLICE, silent_too=silent_too)
    for job_id, state in rescued:
        log.warning("job %s was running on a worker that is gone: it is %s now", job_id, state)
    expired = jobs.expire(session, SLICE)
    running.drop_unreported(session, SLICE)
    for job_id in expired:
        log.warning("job %s expired before it was started: it is discarded", job_id)
    forgotten = jobs.drop_expired_keys(session, SLICE)
    processes.sweep(session, FORGET_PROCESS_AFTER)
    gating.tidy(session, SLICE)
    reviewing = rules.review(session, slices=1)
    after.forget(session, SLICE)
    holding = pauses.tidy(session)
    return holding or reviewing or SLICE in (len(rescued), len(expired), forgotten)


class Followed:
    """Looks for awaited jobs that have ended and that nobody has told of: a slice a look, and all of them each minute."""

    def __init__(self) -> None:
        self._beyond = 0
        self._next_round = 0.0

    def look(self, session: Session) -> None:
        """Note those of the next slice, when it is time to."""
        if time.monotonic() < self._next_round:
            return
        beyond = after.walk(session, self._beyond, SLICE)
        self._beyond = beyond or 0
        if beyond is None:
            self._next_round = time.monotonic() + FOLLOW_EVERY


class PartitionKeeper:
    """Makes and drops partitions, forgets idle gates and old addresses; on a connection that gives way to everybody."""

    def __init__(self, url: str, schema: str, keep: Keep = DEFAULT) -> None:
        self._url = url
        self._schema = schema
        self._keep = keep
        self._failures = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pqclock-partitions", daemon=True)

    def start(self) -> None:
        """Begin, with a first look at once."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present statement; waits a little for it."""
        self._stopped.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        wait = 0.0
        while not self._stopped.wait(wait):
            wait = PARTITIONS_EVERY if self._maintain() else PARTITIONS_RETRY

    def _maintain(self) -> bool:
        try:
            session = connect(self._url, self._schema, "partitions")
        except CONNECTION_LOST:
            return False
        try:
            made, dropped = partitions.maintain(session, keep=self._keep)
            before = schedules.database_now(session) - self._keep["ticks"]
            old = (partial(audit.forget, before=before), partial(alarms.forget, before=before))
            for forget in (gating.forget_gates, statuses.forget, *old):
                while forget(session, SLICE) == SLICE and not self._stopped.is_set():
                    pass
        except DatabaseError as error:
            self._failures += 1
            level = logging.WARNING if self._failures >= WARN_AFTER else logging.DEBUG
            log.log(level, "daily partitions have to wait: %s", " ".join(str(error).split()))
            return False
        finally:
            session.close()
        self._failures = 0
        if made or dropped:
            log.info("made %s and dropped %s daily partitions", made, dropped)
        return True
