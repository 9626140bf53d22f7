"""`pqclock gates list|show`: how throttles and fuses stand, key by key; verbs are in `gating`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from pqclock.cli.gating import blow, cool, reset
from pqclock.cli.lazy import DefaultGroup
from pqclock.cli.options import TEXT, Asked, asking, paging
from pqclock.cli.output import details, heading, print_json, print_table, say, show, table
from pqclock.cli.replaying import replay
from pqclock.cli.root import EXIT_CODES
from pqclock.cli.rules import limits
from pqclock.rules.moments import moment, span
from pqclock.store import gates as store
from pqclock.store import listings
from pqclock.store.gate_rows import FailureRow, GateRow, LaneRow, RuleTerms, Shown, SlotRow

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = ("gate", "kind", "state", "tokens", "running", "lanes", "jobs", "opens", "blown until", "note")


@click.group(cls=DefaultGroup, default="list", epilog=EXIT_CODES)
def gates() -> None:
    """Gates: throttles and fuses, each applied to a key; without a verb they are listed."""


for command in (blow, reset, cool, replay):
    gates.add_command(command)


@gates.command("list", epilog=EXIT_CODES)
@click.option("--rule", type=TEXT, metavar="NAME", help="Only gates of this rule.")
@click.option("--kind", type=click.Choice(store.KINDS), help="Only gates of this kind.")
@click.option("--state", type=click.Choice(store.STATES), help="Only gates in this state.")
@click.option("--prefix", type=TEXT, help="Only gates whose key begins so.")
@paging
@asking("database_url", "schema")
def list_gates(asked: Asked, limit: int, cursor: str | None, **filters: str | None) -> None:
    """List the gates that jobs have met: what they let through now, and what waits for them.

    Tokens are the starts that a rate allows at this instant. Lanes are jobs of one queue and task behind the same gates.

    \b
    Examples:
      pqclock gates
      pqclock gates list --rule stripe --state blown --json
    """
    from pqclock.cli.connection import connected

    with connected(asked.settings) as session, listings.reading(session):
        page = store.listing(session, **filters, after=cursor or "", limit=limit)
        now = listings.now(session)
    if asked.json:
        print_json("gates", page.rows, page.next)
    elif page.rows:
        print_table(
            _COLUMNS, [_row(row, now, store.MOST_LISTED) for row in page.rows], page.next, optional=("lanes", "tokens")
        )
    else:
        say("no such gates" if any(filters.values()) else "no gates: no job with a throttle or a fuse was claimed yet")


def _row(row: GateRow, now: datetime, most: int) -> tuple[object, ...]:
    return (
        reference(row.rule, row.key),
        row.kind,
        row.standing,
        None if row.tokens is None else f"{row.tokens}/{row.burst}",
        _running(row),
        row.waiting,
        counted(row.waiting_jobs, most),
        moment(row.opens_at, now) if row.state != "open" else None,
        moment(_ahead(row, row.blown_until, now), now),
        row.note,
    )


def _ahead(row: GateRow, instant: datetime | None, now: datetime) -> datetime | None:
    """The instant, while it is to come and means something."""
    return instant if instant is not None and instant > now and row.standing != "removed" else None


def reference(rule: str, key: str) -> str:
    """How a job names the gate."""
    return f"{rule}:{key}" if key else rule


def counted(number: int, most: int) -> str:
    """A number that was counted up to a bound."""
    return str(number) if number <= most else f"{most}+"


def _running(row: GateRow) -> str:
    places = row.probes if row.kind == "fuse" and row.standing == "half open" else row.concurrency
    return str(row.running) if places is None else f"{row.running}/{places}"


@gates.command("show", epilog=EXIT_CODES)
@click.argument("gate", type=TEXT, metavar="RULE[:KEY]")
@asking("database_url", "schema")
def show_gate(asked: Asked, gate: str) -> None:
    """Show the throttle and the fuse of one reference: terms, what runs, which lanes wait, what failed last.

    \b
    Example:
      pqclock gates show stripe:acct_42
    """
    from pqclock.cli.connection import connected

    with connected(asked.settings) as session, listings.reading(session):
        found = store.one(session, gate)
        now = listings.now(session)
    if asked.json:
        print_json(
            "gates", found.gates, None, rules=found.terms, slots=found.slots, lanes=found.lanes, failures=found.failures
        )
    else:
        _show(gate, found, now)


def _show(gate: str, found: Shown, now: datetime) -> None:
    if not found.gates:
        say(f"gate {gate}: no job has met it yet")
    parts: list[RenderableType] = []
    for row in found.gates:
        shown = zip(_COLUMNS, _row(row, now, store.MOST_SHOWN), strict=True)
        pairs = [*shown, ("closed until", moment(_ahead(row, row.closed_until, now), now))]
        parts += [heading(row.kind, first=not parts), details(pairs)]
    columns: tuple[str, ...] = ("kind", "rule", "state", "source", "terms")
    parts += [heading("rules", first=not parts), table(columns, [_terms(rule) for rule in found.terms])]
    if found.slots:
        columns = ("gate", "job", "task", "queue", "worker", "host", "pid", "since")
        parts += [heading("running"), table(columns, [_slot(slot, now) for slot in found.slots])]
    if found.lanes:
        columns = ("gate", "queue", "task", "units", "priority", "jobs", "first job", "waited")
        parts += [heading("waiting"), table(columns, [_lane(lane, now) for lane in found.lanes])]
    if found.failures:
        columns = ("when", "job", "error", "message", "counts")
        parts += [heading("last failures"), table(columns, [_failure(one, now) for one in found.failures])]
    show(*parts)


def _terms(rule: RuleTerms) -> tuple[object, ...]:
    return rule.kind, rule.rule, rule.state, rule.source, limits(rule.definition)


def _failure(one: FailureRow, now: datetime) -> tuple[object, ...]:
    words = (one.error or "").strip().partition("\n")[0]
    # The first line of an error begins with its class, which has a column of its own.
    message = words.removeprefix(f"{one.error_type}: ") if words != one.error_type else ""
    return moment(one.failed_at, now), one.job_id, one.error_type, message, one.counts


def _slot(slot: SlotRow, now: datetime) -> tuple[object, ...]:
    return slot.kind, slot.job_id, slot.task, slot.queue, slot.worker_id, slot.host, slot.pid, moment(slot.since, now)


def _lane(lane: LaneRow, now: datetime) -> tuple[object, ...]:
    waited = "" if lane.run_at is None else span(now - lane.run_at)
    jobs = counted(lane.jobs, store.MOST_SHOWN)
    return lane.kind, lane.queue, lane.task, lane.units, lane.priority, jobs, lane.job_id, waited
