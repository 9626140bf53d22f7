"""What may be done from a page: one table, from which the forms, their checks and the deeds come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import Any
from urllib.parse import urlencode

from pqclock.errors import ArgumentError
from pqclock.rules.job import LIVE, TERMINAL
from pqclock.rules.moments import absolute
from pqclock.store import backfilling, gates, job_orders, pauses, runtime
from pqclock.store.database import Session
from pqclock.store.job_verbs import Changed, How
from pqclock.tasks.jobs import because
from pqclock.web.fields import NOTE, UNTIL, Field

# More than this is work for the command line, which shows how far it is and can be interrupted.
MOST_AT_ONCE = 5_000

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asks for: of what, with which values, and who it is."""

    of: str
    values: Values
    actor: str


@dataclass(frozen=True, slots=True)
class Action:
    """`perform` gives what came of it in words; `preview` what would, and it is asked for once more."""

    slug: str
    noun: str
    title: str
    text: str
    perform: Callable[[Session, Order], str]
    fields: tuple[Field, ...] = ()
    preview: Callable[[Session, Order], list[str]] | None = None
    grave: bool = False

    def target(self, of: str) -> str:
        """What it is done to, for the audit."""
        return f"{self.noun} {of}".strip()

    def back(self, of: str) -> str:
        """The page of what it is done to."""
        page, name = _PAGES[self.noun]
        return f"{page}?{urlencode({name: of})}" if name else page


_PAGES = {
    "schedule": ("schedule", "key"), "job": ("job", "id"), "gate": ("gate", "ref"), "queue": ("queues", ""),
    "task": ("queues", ""), "label": ("queues", ""), "jobs": ("jobs", ""),
}  # fmt: skip


def _trigger(session: Session, order: Order) -> str:
    job = runtime.trigger(session, order.of)
    return f"job {job.id} is {job.state}" if job.inserted else f"job {job.id}, which is {job.state}, has its unique key"


def _pause_schedule(session: Session, order: Order) -> str:
    runtime.pause(session, order.of, order.values["until"], order.values["note"])
    return "paused: its ticks are skipped" + ("" if order.values["until"] else " until it is resumed")


def _resume_schedule(session: Session, order: Order) -> str:
    return "resumed" if runtime.resume(session, order.of) else "it was not paused, nothing changed"


def _wanted(order: Order) -> backfilling.Backfill:
    v = order.values
    return backfilling.Backfill(order.of, v["since"], v["until"], MOST_AT_ONCE, None, False, v["force"])


def _preview_backfill(session: Session, order: Order) -> list[str]:
    seen = backfilling.preview(session, _wanted(order))
    if seen.first is None or seen.last is None:
        return ["The range has no ticks."]
    lines = [
        f"{seen.ticks:,} ticks from {absolute(seen.first, UTC)} to {absolute(seen.last, UTC)}: {seen.missing:,} without a "
        f"job, {seen.already_there:,} with one."
    ]
    if seen.excluded:
        lines.append(f"Calendars leave out or move {seen.excluded:,} more.")
    if seen.until < order.values["until"]:
        lines.append(f"Ticks from {absolute(seen.until, UTC)} on are left to the clock.")
    return lines


def _backfill(session: Session, order: Order) -> str:
    wanted = _wanted(order)
    seen = backfilling.preview(session, wanted)
    if seen.missing > MOST_AT_ONCE:
        raise ArgumentError(
            f"{seen.missing:,} jobs are more than {MOST_AT_ONCE:,}: use `pqclock schedules backfill {order.of}`, which "
            f"shows how far it is"
        )
    found = backfilling.run(lambda: nullcontext(session), wanted, seen)
    return f"{found.inserted:,} of {found.missing:,} jobs inserted"


def _job_verb(verb: str, session: Session, order: Order) -> str:
    if not (order.of.isascii() and order.of.isdecimal()) or int(order.of[:20]) >= 2**63:
        raise ArgumentError(f"{order.of!r:.60} is no job: a job id is a whole number, such as 4711")
    ids, how = (int(order.of),), _how(verb, order)
    wanted = job_orders.Filter()
    seen = job_orders.preview(session, verb, ids, wanted, how)
    return _words(job_orders.carry_out(session, seen, ids, wanted, how).jobs[0])


def _how(verb: str, order: Order) -> How:
    outcome = {"cancel": "cancelled", "discard": "discarded"}.get(verb)
    reason = because(outcome, order.values.get("note") or "", order.actor) if outcome else ""
    return How(bool(order.values.get("succeeded")), bool(order.values.get("force")), reason)


def _words(job: Changed) -> str:
    if job.done:
        return {"asked": "it runs, and was asked to end", "due": "it is due now", "ready": "it is ready again"}.get(
            job.outcome, f"it is {job.state}"
        )
    return "left alone: " + {
        "unique": f"its unique key is taken by job {job.holder}",
        "succeeded": "it has succeeded: tick the box to run it again",
        "locked": "a transaction of somebody else holds it: try again",
        "gone": "it is not there any more",
    }.get(job.outcome, f"it is {job.state}")


def _filter(order: Order) -> job_orders.Filter:
    v = order.values
    names = ("task", "queue", "label", "schedule", "error")
    wanted = job_orders.Filter(states=(v["state"],) if v["state"] else (), **{name: v[name] for name in names})
    if wanted.is_empty:
        raise ArgumentError("no job is named: fill in at least one of the fields")
    return wanted


def _preview_many(verb: str, session: Session, order: Order) -> list[str]:
    seen = job_orders.preview(session, verb, (), _filter(order), _how(verb, order))
    parts = ", ".join(f"{number:,} {state}" for state, number in sorted(seen.by_state.items()))
    return [f"{seen.matched:,} jobs" + (f": {parts}." if parts else ".")]


def _many(verb: str, session: Session, order: Order) -> str:
    wanted, how = _filter(order), _how(verb, order)
    seen = job_orders.preview(session, verb, (), wanted, how)
    if seen.matched > MOST_AT_ONCE:
        raise ArgumentError(
            f"{seen.matched:,} jobs are more than {MOST_AT_ONCE:,}: use `pqclock jobs {verb}`, which shows how far it is"
        )
    done = job_orders.carry_out(session, seen, (), wanted, how)
    left = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(done.left.items()))
    return f"{done.done:,} of {done.matched:,} jobs" + (f"; left alone: {left}" if left else "")


def _blow(session: Session, order: Order) -> str:
    gates.blow(session, order.of, order.values["until"], order.values["note"])
    return "blown" + ("" if order.values["until"] else " until it is reset")


def _reset(session: Session, order: Order) -> str:
    return "reset" if gates.reset(session, order.of) else "no job has met it yet, nothing changed"


def _cool(session: Session, order: Order) -> str:
    gates.cool(session, order.of, order.values["length"], order.values["note"])
    return "closed for a while"


def _pause(kind: pauses.Kind, session: Session, order: Order) -> str:
    pauses.pause(session, kind, order.of, order.values["until"], order.values["note"])
    return "paused: nothing of it starts" + ("" if order.values["until"] else " until it is resumed")


def _resume(kind: pauses.Kind, session: Session, order: Order) -> str:
    return "resumed" if pauses.resume(session, kind, order.of) else "it was not paused, nothing changed"


_FILTERS = (
    Field("state", "State", "choice", choices=(*LIVE, *TERMINAL)),
    Field("queue", "Queue"), Field("task", "Task"), Field("label", "Label"), Field("schedule", "Schedule"),
    Field("error", "Error contains"),
)  # fmt: skip
_SUCCEEDED = Field("succeeded", "Also if it has succeeded: it runs again", "flag")
_FORCE = Field(
    "force", "Do not wait for the handler: it has ended at once, and the handler's outcome is refused", "flag"
)
_RANGE = (
    Field("since", "From", "instant", "The first instant; without an offset it is in UTC.", required=True),
    Field("until", "To", "instant", "The end, which is not part of it.", required=True),
    Field("force", "Also ticks older than the ledger: if they have run, they run again", "flag"),
)

_ALL = (
    Action("trigger", "schedule", "Run now", "Inserts a job of this schedule, beside its ticks.", _trigger),
    Action("pause-schedule", "schedule", "Pause", "Skips its ticks. What waits or runs goes on.", _pause_schedule,
           (UNTIL, NOTE)),
    Action("resume-schedule", "schedule", "Resume", "The ticks that the pause skipped stay skipped.", _resume_schedule),
    Action("backfill", "schedule", "Backfill", "Inserts a job for each tick of a range that has none. Ticks that have one, "
           "or had one, are left alone. All of them are ready at once; the command line can do it bit by bit.",
           _backfill, _RANGE, _preview_backfill, grave=True),
    Action("retry", "job", "Retry", "Makes it live again: ready now, under the same id.", partial(_job_verb, "retry"),
           (_SUCCEEDED,)),
    Action("run", "job", "Run now", "Makes it due now.", partial(_job_verb, "run")),
    Action("cancel", "job", "Cancel", "Ends it: if it runs, when its handler does.", partial(_job_verb, "cancel"),
           (NOTE, _FORCE), grave=True),
    Action("discard", "job", "Discard", "Ends it now, as discarded.", partial(_job_verb, "discard"), (NOTE,), grave=True),
    *(
        Action(f"{verb}-many", "jobs", f"{verb.capitalize()} many", text, partial(_many, verb), (*_FILTERS, *own),
               partial(_preview_many, verb), grave=True)
        for verb, text, own in (
            ("retry", "Makes jobs that have ended live again; without a state: those that failed.", ()),
            ("run", "Makes scheduled jobs due now.", ()),
            ("cancel", "Ends jobs: waiting ones now, running ones when their handlers do.", (NOTE,)),
            ("discard", "Ends waiting jobs now, as discarded.", (NOTE,)),
        )
    ),
    Action("blow", "gate", "Blow", "Nothing behind the fuse starts; what runs goes on. At its end it is half open.", _blow,
           (Field("until", "Until", "end", "A length such as 10m, or an instant. Empty: until it is reset."), NOTE),
           grave=True),
    Action("reset", "gate", "Reset", "Makes a fuse whole, its failures forgotten, and ends what closed the gate by hand.",
           _reset),
    Action("cool", "gate", "Close for a while", "Closes the throttle and the fuse of this reference.", _cool,
           (Field("length", "For", "end", "A length such as 60s, or an instant.", required=True), NOTE)),
    *(
        Action(f"pause-{kind}", kind, f"Pause {kind}", "Nothing of it starts; what runs goes on, what waits is kept.",
               partial(_pause, kind), (UNTIL, NOTE))
        for kind in ("queue", "task", "label")
    ),
    *(
        Action(f"resume-{kind}", kind, f"Resume {kind}", "Its jobs may start again.", partial(_resume, kind))
        for kind in ("queue", "task", "label")
    ),
)  # fmt: skip

ACTIONS: Mapping[str, Action] = {action.slug: action for action in _ALL}
