"""Why a job is not running, and until when: reasons in words, from facts that the store has read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pqclock.errors import ArgumentError
from pqclock.rules.durations import format_duration
from pqclock.rules.explaining_facts import GateFacts, LiveJob, PauseFacts
from pqclock.rules.files.findings import hint
from pqclock.rules.pools import parse_pools

ENDLESS = 9999
# What goes before a job is counted up to here.
MOST_AHEAD = 10_000


@dataclass(frozen=True, slots=True)
class Reason:
    """What is in the way. `until` is when that ends, as far as anybody knows; `endless` says that nobody does.

    `kind` is scheduled, after, review, overlap, queue, task, label, worker, published, undeclared, units, closed, fuse, probes,
    concurrency or rate; and cancel, of one that runs.
    """

    kind: str
    text: str
    since: datetime | None = None
    until: datetime | None = None
    endless: bool = False
    estimate: bool = False
    gate: str | None = None
    jobs: tuple[int, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a job stands, and for one that waits, all that is in its way.

    `starts` is `now`, `at` (not before `starts_at`), `unknown` (it waits for something that has no time; if `starts_at`
    is there, not before), `never`, `running` or `ended`. `estimate` says that the time is one. `ahead` counts the jobs
    that go before it in its lane or queue, up to 10,001.
    One that runs has the reason `cancel` when it was told to end, with the instant as its `since`. `progress` is how far
    an iteration has come: done, total, and the seconds spent; None where it has told nothing.
    """

    job: int
    state: str
    task: str
    queue: str
    text: str
    starts: str
    starts_at: datetime | None
    estimate: bool
    ahead: int
    ahead_in: str | None
    reasons: tuple[Reason, ...]
    progress: Mapping[str, Any] | None = None


def explain(
    job: LiveJob, gates: list[GateFacts], pauses: list[PauseFacts], workers: list[str], now: datetime
) -> Explanation:
    """Every reason, the latest known instant, and whether there is anything without one; `workers` are their pools."""
    if job.state == "running":
        return _running(job)
    reasons = [
        *_timing(job),
        *_pauses(job, pauses),
        *(reason for gate in gates for reason in _gate(job, gate, now)),
        *_workers(job, workers),
    ]
    instants = [reason.until for reason in reasons if reason.until is not None]
    starts_at = max(instants, default=None)
    if any(reason.kind == "units" for reason in reasons):
        starts = "never"
    elif any(reason.endless for reason in reasons):
        starts = "unknown"
    else:
        starts = "now" if starts_at is None else "at"
    estimate = any(reason.estimate for reason in reasons) or (job.ahead > 0 and starts in ("now", "at"))
    where = None if job.state != "ready" else "lane" if job.gates else "queue"
    text = f"job {job.id} of task {job.task} waits in the queue {job.queue}"
    return Explanation(
        job.id, job.state, job.task, job.queue, text, starts, None if starts == "never" else starts_at, estimate,
        job.ahead, where, tuple(reasons),
    )  # fmt: skip


def ended(job_id: int, state: str, task: str, queue: str, error: str | None) -> Explanation:
    """The explanation of a job that is over."""
    words = (error or "").strip().partition("\n")[0]
    text = f"job {job_id} of task {task} has {'been ' if state in ('cancelled', 'discarded') else ''}{state}"
    return Explanation(
        job_id, state, task, queue, f"{text}: {words}" if words else text, "ended", None, False, 0, None, ()
    )


def _running(job: LiveJob) -> Explanation:
    text = f"job {job.id} of task {job.task} is running on worker {job.worker_id}"
    asked = Reason(
        "cancel", "its handler was told to end: it does at its next look, or checkpoint, and is interrupted if it goes on",
        job.cancel_requested_at, endless=True, note=job.cancel_reason,
    )  # fmt: skip
    return Explanation(
        job.id, job.state, job.task, job.queue, text, "running", job.running_since, False, 0, None,
        () if job.cancel_requested_at is None else (asked,),
    )  # fmt: skip


def _timing(job: LiveJob) -> Iterator[Reason]:
    if job.review:
        yield Reason(
            "review", "its worker died while it ran, and its task wants a person to look at what it did: then run it by "
            f"`pqclock jobs run {job.id}`, or end it by `pqclock jobs discard {job.id}`", endless=True,
        )  # fmt: skip
    elif job.awaits is not None:
        yield _awaiting(*job.awaits)
    elif job.held:
        before = "the jobs before it have ended" if job.held_by is None else f"job {job.held_by} has ended"
        schedule = "its schedule" if job.schedule_key is None else f"the schedule {job.schedule_key}"
        yield Reason(
            "overlap", f"{schedule} lets one job run at a time: it waits until {before}", endless=True,
            jobs=() if job.held_by is None else (job.held_by,),
        )  # fmt: skip
    elif job.state == "scheduled":
        error = (job.error or "").strip().partition("\n")[0]
        text = f"it waits for its next attempt, after {error}" if error else "it waits for its time"
        yield Reason("scheduled", text, until=job.run_at)


def _awaiting(many: int, first: tuple[tuple[int, str], ...]) -> Reason:
    named = ", ".join(f"job {other} ({state})" for other, state in first)
    more = f" and {many - len(first):,} more" if many > len(first) else ""
    have = "has" if many == 1 else "have"
    text = f"it waits until {named}{more} {have} succeeded; it is cancelled when one of them ends otherwise"
    text = text.replace("one of them", "that") if many == 1 else text
    return Reason("after", text, endless=True, jobs=tuple(other for other, _ in first))


def _pauses(job: LiveJob, pauses: list[PauseFacts]) -> Iterator[Reason]:
    if job.queue_paused_until is not None:
        yield _paused("queue", job.queue, None, job.queue_paused_until, job.queue_note)
    for pause in pauses:
        yield _paused(pause.kind, pause.name, pause.paused_at, pause.paused_until, pause.note)


def _paused(kind: str, name: str, since: datetime | None, until: datetime, note: str | None) -> Reason:
    text = f"the {kind} {name} is paused"
    if until.year == ENDLESS:
        text = f"{text}, until `pqclock {kind}s resume {name}`"
        return Reason(kind, text, since, endless=True, note=note)
    return Reason(kind, text, since, until, note=note)


def _workers(job: LiveJob, workers: list[str]) -> Iterator[Reason]:
    if not job.published:
        text = f"no worker has published the task {job.task}: start one whose App has it{hint(job.task, job.tasks)}"
        yield Reason("published", text, endless=True)
    if not workers:
        yield Reason("worker", "no worker is alive: start one with `pqclock worker`", endless=True)
    elif not any(_works(pools, job.queue) for pools in workers):
        text = f"no worker takes the queue {job.queue}: start one with --queues for it"
        yield Reason("worker", text, endless=True)


def _works(text: str, queue: str) -> bool:
    try:
        pools = parse_pools(text)
    except ArgumentError:
        return False
    return any(queue in pool.queues if pool.queues is not None else queue not in pool.excluded for pool in pools)


def _gate(job: LiveJob, gate: GateFacts, now: datetime) -> Iterator[Reason]:
    if gate.kind == "pause" or gate.declared == "removed":
        return
    name = f"the {gate.kind} {gate.rule}" + (f" for {gate.key}" if gate.key else "")
    if gate.declared is None:
        text = f"{name} is not declared, and counts as closed: declare [{gate.kind}.{gate.rule}] and apply the files"
        yield Reason("undeclared", text, endless=True, gate=gate.gate)
        return
    for reason in (
        _closed(gate, name, now),
        _fuse(gate, name, now),
        _concurrency(gate, name),
        _rate(job, gate, name, now),
    ):
        if reason is not None:
            yield replace(reason, gate=gate.gate)


def _closed(gate: GateFacts, name: str, now: datetime) -> Reason | None:
    if gate.closed_until is None or gate.closed_until <= now:
        return None
    endless = gate.closed_until.year == ENDLESS
    return Reason(
        "closed", f"{name} is closed", until=None if endless else gate.closed_until, endless=endless, note=gate.note
    )


def _fuse(gate: GateFacts, name: str, now: datetime) -> Reason | None:
    if gate.blown_until is None or gate.blown_until <= now:
        return None
    failed = f"; its last failure was {gate.failure}" if gate.failure else ""
    if gate.blown_until.year == ENDLESS:
        reference = f"{gate.rule}:{gate.key}" if gate.key else gate.rule
        text = f"{name} was blown by hand, until `pqclock gates reset {reference}`{failed}"
        return Reason("fuse", text, gate.failed_at, endless=True, note=gate.note)
    return Reason("fuse", f"{name} is blown{failed}", gate.failed_at, gate.blown_until, note=gate.note)


def _concurrency(gate: GateFacts, name: str) -> Reason | None:
    if gate.places is None or gate.running < gate.places:
        return None
    jobs = tuple(gate.running_jobs)
    if gate.kind == "fuse":
        text = f"{name} is half open, and probes with {gate.running} of {gate.places}: it waits for what comes of them"
        return Reason("probes", text, endless=True, jobs=jobs)
    text = f"{name} has {gate.running} of {gate.places} running: it waits for one to end"
    return Reason("concurrency", text, endless=True, jobs=jobs)


def _rate(job: LiveJob, gate: GateFacts, name: str, now: datetime) -> Reason | None:
    if gate.rate is None or gate.per is None or gate.burst is None or gate.interval is None:
        return None
    units = job.units or 1
    words = f"{gate.rate} in {format_duration(gate.per)}"
    if units > gate.rate:
        text = f"{name} lets {words} start, and the job needs {units} units: it never starts; raise the rate"
        return Reason("units", text, endless=True)
    ahead = job.ahead if job.state == "ready" else 0
    # Those before it take their part of the rate first, wherever the gate stands now.
    due_at = max(gate.tat or now, now) + (ahead * units + units - gate.burst) * gate.interval if ahead else gate.due_at
    if due_at is None or due_at <= now:
        return None
    text = (
        f"{name} has let its {words} start"
        if gate.due_at
        else f"{name} lets {words} start, and those before it go first"
    )
    if gate.others:
        jobs = "1 job of another lane waits" if gate.others == 1 else f"{_number(gate.others)} jobs of other lanes wait"
        text = f"{text}; {jobs} for it too, and may go first"
    return Reason("rate", text, until=due_at, estimate=bool(ahead or gate.others))


def _number(number: int) -> str:
    return f"{number:,}" if number <= MOST_AHEAD else f"more than {MOST_AHEAD:,}"
