"""The pages of jobs, gates, queues, processes, the database, and deeds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from pqclock.errors import PqclockError, UnknownGate, UnknownJob
from pqclock.rules.explained import explained
from pqclock.rules.job import LIVE, TERMINAL
from pqclock.rules.pools import parse_pools
from pqclock.rules.promises import promise_of
from pqclock.store import alarms, audit, backlog, dashboard, explaining, gates, health, listings
from pqclock.store.database import Session
from pqclock.store.jobs import LEASE_LENGTH
from pqclock.web.params import Params

STATES = (*LIVE, *TERMINAL)
FILTERS = ("queue", "task", "label", "schedule")
# A page looks through so many jobs for those that its filters let through.
SPAN = 100_000
# From this age on a transaction is worth a look.
OLD = timedelta(seconds=1)


def jobs(session: Session, params: Params) -> dict[str, Any]:
    """Jobs, the newest first."""
    filters: dict[str, Any] = {"state": params.choice("state", STATES), **{name: params.text(name) for name in FILTERS}}
    before, above = params.number("before"), 0
    if any(filters[name] for name in FILTERS) and filters["state"] not in LIVE:
        # All of a history is too much to look through for what is rare.
        above = max(0, (before or dashboard.newest(session) + 1) - SPAN)
    page = listings.jobs(session, before=before, above=above - 1, limit=params.limit(), **filters)
    return {
        "now": listings.now(session),
        "rows": page.rows,
        "next": page.next or (str(above) if above else None),
        "looked_at": SPAN if above and page.next is None else None,
        "filters": filters,
        "states": STATES,
        "counts": dashboard.counts(session),
        "most": dashboard.MOST,
        "progress": listings.progress(session, [row.id for row in page.rows]),
    }


def job(session: Session, params: Params) -> dict[str, Any] | None:
    """One job: where it stands, what is in its way, its runs."""
    job_id = params.number("id") or 0
    found = listings.job(session, job_id)
    if found is None:
        return None
    row, attempts = found
    now = listings.now(session)
    return {
        "now": now,
        "row": row,
        "attempts": attempts,
        "why": _why(session, job_id, now) if row.state in LIVE else [],
        "progress": listings.progress(session, [job_id]).get(job_id),
        "trace_id": listings.trace_id(session, job_id),
        "parts": listings.jobs(session, parent=job_id, limit=10).rows,
        "deeds": audit.rows(session, target=f"job {job_id}", limit=5).rows,
        "is_live": row.state in LIVE,
    }


def _why(session: Session, job_id: int, now: datetime) -> list[str]:
    try:
        return explained(explaining.explain(session, job_id), now, UTC)
    except UnknownJob:
        # It has just ended.
        return []


def all_gates(session: Session, params: Params) -> dict[str, Any]:
    """Throttles and fuses, key by key."""
    filters = {
        "rule": params.text("rule"),
        "kind": params.choice("kind", gates.KINDS),
        "state": params.choice("state", gates.STATES),
        "prefix": params.text("prefix"),
    }
    page = gates.listing(session, **filters, after=params.text("after") or "", limit=params.limit())
    return {
        "now": listings.now(session),
        "rows": page.rows,
        "next": page.next,
        "most": gates.MOST_LISTED,
        "kinds": gates.KINDS,
        "states": gates.STATES,
        **filters,
    }


def gate(session: Session, params: Params) -> dict[str, Any] | None:
    """The throttle and the fuse of one reference."""
    reference = params.text("ref") or ""
    try:
        found = gates.one(session, reference)
    except UnknownGate:
        return None
    return {
        "now": listings.now(session),
        "ref": reference,
        "found": found,
        "most": gates.MOST_SHOWN,
        "deeds": audit.rows(session, target=f"gate {reference}", limit=5).rows,
    }


def queues(session: Session, params: Params) -> dict[str, Any]:
    """Queues, tasks and labels: what waits, how fast it goes, what is paused."""
    page = backlog.queues(session, after=params.text("after") or "", limit=params.limit())
    return {
        "now": listings.now(session),
        "rows": page.rows,
        "next": page.next,
        "pace": dashboard.pace(session),
        "promise_of": partial(promise_of, declared=alarms.slos(session)),
        "within": dashboard.WITHIN,
        "tasks": listings.tasks(session, limit=100, counted=dashboard.MOST).rows,
        "labels": listings.labels(session, limit=50, counted=dashboard.MOST).rows,
    }


def places_of(doing: str) -> int | None:
    """How many jobs a worker of these pools runs at once; None for what names no pools."""
    try:
        return sum(pool.size for pool in parse_pools(doing)) or None
    except PqclockError:
        return None


def all_alarms(session: Session, params: Params) -> dict[str, Any]:  # noqa: ARG001
    """What is wrong, and what was."""
    return {
        "now": listings.now(session),
        "open": alarms.open_alarms(session),
        "ended": alarms.ended_alarms(session),
    }


def processes(session: Session, params: Params) -> dict[str, Any]:  # noqa: ARG001
    """Leader, standbys, workers."""
    now = listings.now(session)
    members = dashboard.fleet(session)
    return {
        "now": now,
        "members": members,
        "leader": listings.leader(session),
        "silent": now - LEASE_LENGTH,
        "places_of": places_of,
        "versions": sorted({member.code_version for member in members}),
    }


def database(session: Session, params: Params) -> dict[str, Any]:  # noqa: ARG001
    """What may slow the database down, and how large it is."""
    return {
        "now": listings.now(session),
        "server": health.server(session),
        "limits": health.limits(session),
        "holders": health.holders(session, OLD),
        "sees_all": health.sees_all(session),
        "old": timedelta(minutes=10),
        "dead": health.dead_rows(session),
        "vacuumed": dashboard.vacuumed(session),
        "notifications": health.notifications(session),
        "missing": health.missing_partitions(session, timedelta(days=2)),
        "strays": health.strays(session, 1_000),
        "sizes": dashboard.sizes(session),
    }


def deeds(session: Session, params: Params) -> dict[str, Any]:
    """What people did by hand."""
    page = audit.rows(session, target=params.text("target"), before=params.number("before"), limit=params.limit())
    return {"now": listings.now(session), "rows": page.rows, "next": page.next, "target": params.text("target")}
