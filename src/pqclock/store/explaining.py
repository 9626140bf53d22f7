"""What there is to know of a job that does not run: read in one look, judged by `rules.explaining`."""

from __future__ import annotations

from dataclasses import replace

from pqclock.errors import UnknownJob
from pqclock.rules import explaining
from pqclock.rules.explaining import MOST_AHEAD, Explanation
from pqclock.rules.explaining_facts import GateFacts, LiveJob, PauseFacts
from pqclock.store import after, listings, tasks
from pqclock.store.database import Session
from pqclock.store.jobs import LEASE_LENGTH

_LAST_ID = 2**63 - 1


def explain(session: Session, job_id: int) -> Explanation:
    """Why the job is not running, until when, and how far it has come; call it inside of `listings.reading`.

    It reads the job, its gates, and a bounded part of what goes before it, whatever waits behind the same gates.
    Raises UnknownJob.
    """
    found = _judged(session, job_id)
    return replace(found, progress=listings.progress(session, [job_id]).get(job_id))


def _judged(session: Session, job_id: int) -> Explanation:
    known = 0 <= job_id <= _LAST_ID
    found = session.fetch(LiveJob, "explaining.job", id=job_id, most=MOST_AHEAD) if known else []
    if not found:
        return _ended(session, job_id)
    job = found[0]
    if not job.published:
        job = replace(job, tasks=tuple(tasks.names(session)))
    awaited = after.waiting(session, [job_id]).get(job_id)
    if awaited is not None:
        job = replace(job, awaits=(awaited.many, awaited.first))
    asked = {"names": job.gates or [], "units": job.units or 1, "lane": job.lane, "most": MOST_AHEAD}
    gates = session.fetch(GateFacts, "explaining.gates", **asked)
    pauses = session.fetch(PauseFacts, "explaining.pauses", task=job.task, labels=job.labels)
    workers = [doing for (doing,) in session.run("explaining.workers", lease_length=LEASE_LENGTH)]
    return explaining.explain(job, gates, pauses, workers, listings.now(session))


def _ended(session: Session, job_id: int) -> Explanation:
    found = listings.job(session, job_id)
    if found is None:
        raise UnknownJob(f"the database has no job {job_id}, or not any more: see `pqclock jobs list`")
    job, _ = found
    return explaining.ended(job.id, job.state, job.task, job.queue, job.error)
