"""Run all jobs that are due, here and now: promoted, claimed, run and finished as workers do it, one after the other."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pqclock import __version__
from pqclock.errors import PqclockError
from pqclock.rules.job import Outcome
from pqclock.rules.pools import Pool, parse_pools
from pqclock.store import after, finishing, jobs, processes, running, schedules, tasks
from pqclock.store.claiming import claim_gated
from pqclock.store.database import Session
from pqclock.store.jobs import ClaimedJob
from pqclock.tasks.app import App
from pqclock.testing.running import Runner, Still, clock_at

SLICE = 1_000
LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of a job: `outcome` as the attempt's row has it, `state` the job's afterwards.

    `exception` is what the handler raised, also Cancel and Snooze.
    """

    id: int
    task: str
    args: dict[str, Any]
    queue: str
    attempt: int
    outcome: str
    state: str
    result: Any
    error: str | None
    exception: BaseException | None


def drain(
    app: App,
    *,
    queues: str = "*",
    now: datetime | None = None,
    raise_errors: bool = False,
    limit: int = LIMIT,
) -> list[Ran]:
    """Run what is due at `now` (default: the app's moved time, else the database's), and what that makes due.

    In this thread, in the order in which one worker with one executor would. Gives every run, in order. With
    `raise_errors` the first error of a handler is raised as it is, after it was written; signals such as Snooze are none.
    Raises PqclockError when `limit` runs were not enough.
    """
    moment = app.as_of if now is None else now
    ran: list[Ran] = []
    with app.connections.session() as session, _worker(session) as worker_id:
        tasks.publish(session, app.publication())
        for claimed in _claimed(session, app, queues, worker_id, moment):
            if len(ran) >= limit:
                raise PqclockError(
                    f"drain() ran {limit} jobs and more are due, of task {claimed[0].task!r}: raise its limit"
                )
            ended = _run(session, app, claimed, worker_id, moment)
            ran += ended
            if raise_errors:
                _raise_failure(ended)
    return ran


def _run(session: Session, app: App, claimed: list[ClaimedJob], worker_id: int, now: datetime | None) -> list[Ran]:
    clock = clock_at(schedules.database_now(session)) if now is None else Still(now)

    def save(job: ClaimedJob, checkpoint: str) -> None:
        running.save(session, [(job.id, job.lease, checkpoint)])

    ends = Runner(app, claimed, clock, save).run()
    finishing.finish(session, [outcome for outcome, _ in ends], worker_id, now)
    return [_ran(session, job, outcome, error) for job, (outcome, error) in zip(claimed, ends, strict=True)]


def _ran(session: Session, job: ClaimedJob, outcome: Outcome, error: BaseException | None) -> Ran:
    found = jobs.result(session, job.id)
    return Ran(
        job.id, job.task, json.loads(job.args), job.queue, job.attempt, outcome.outcome or "",
        found.state if found else "gone", found.result if found else None, outcome.error, error,
    )  # fmt: skip


def _raise_failure(ended: list[Ran]) -> None:
    for run in ended:
        if run.exception is not None and run.outcome == "failed":
            raise run.exception


def _claimed(
    session: Session, app: App, queues: str, worker_id: int, now: datetime | None
) -> Iterator[list[ClaimedJob]]:
    """The jobs that are due, one by one or those of one call, each after the ones before were finished."""
    pools = parse_pools(queues)
    batches = {name: task.options.batch for name, task in app.tasks.items() if task.options.batch is not None}
    wanted = [([name for name in sorted(app.tasks) if name not in batches], 1)]
    wanted += [([name], size) for name, size in sorted(batches.items())]
    while True:
        while after.resolve(session, SLICE, now).more:
            pass
        while jobs.promote(session, SLICE, now).promoted == SLICE:
            pass
        while len(jobs.expire(session, SLICE, now)) == SLICE:
            pass
        found = (
            _some(session, pool, names, most, worker_id, now) for pool in pools for names, most in wanted if names
        )  # fmt: skip
        claimed = next((some for some in found if some), None)
        if claimed is None:
            return
        yield claimed


def _some(
    session: Session, pool: Pool, names: list[str], most: int, worker_id: int, now: datetime | None
) -> list[ClaimedJob]:
    lease = secrets.randbits(62)
    gated = claim_gated(session, pool, names, most, worker_id=worker_id, lease=lease, now=now).jobs
    if len(gated) == most:
        return gated
    return gated + jobs.claim(session, pool, names, most - len(gated), worker_id=worker_id, lease=lease, now=now)


@contextmanager
def _worker(session: Session) -> Iterator[int]:
    """A row among the processes, whose jobs go back when something goes wrong."""
    worker_id = processes.register(
        session, "worker", pid=os.getpid(), host=socket.gethostname(), code_version=__version__, doing="testing"
    )
    try:
        yield worker_id
    finally:
        jobs.give_back(session, worker_id, [])
        processes.leave(session, worker_id)
