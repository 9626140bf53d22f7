"""Gates for people: how they stand, who is in them and behind them; and blown, reset and cooled by hand.

A gate is named by its reference, as jobs write it: `RULE`, or `RULE:KEY`. A throttle and a fuse of the same name are two
gates with one reference; with its kind before it, `fuse:RULE:KEY` or `fuse.RULE:KEY`, it is that one alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from pqclock.errors import ArgumentError, UnknownGate
from pqclock.rules.files.findings import hint, show
from pqclock.rules.keys import split_kind
from pqclock.store.changing import ENDLESS
from pqclock.store.database import Session
from pqclock.store.gate_rows import FailureRow, GateRow, LaneRow, RuleTerms, Shown, SlotRow
from pqclock.store.listing_rows import Page
from pqclock.store.pauses import checked_note, end_of_pause
from pqclock.store.schedules import database_now

KINDS = ("throttle", "fuse")
STATES = ("open", "waiting", "blown", "half open")

# Jobs behind a gate are counted up to here: in a list, and where one is shown.
MOST_LISTED = 1_000
MOST_SHOWN = 10_000
# A claim holds a gate for milliseconds.
PATIENCE = "3s"

_SLOTS_SHOWN = 100
_LANES_SHOWN = 20
_FAILURES_SHOWN = 10
_AT_ONCE = 500
_LONGEST_REFERENCE = 1000


def listing(
    session: Session,
    *,
    rule: str | None = None,
    kind: str | None = None,
    state: str | None = None,
    prefix: str | None = None,
    after: str = "",
    limit: int = 50,
) -> Page[GateRow]:
    """The gates that jobs have met, by name (`KIND:RULE:KEY`); `prefix` is how their keys begin."""
    if rule is not None:
        said, rule = split_kind(rule)
        kind = kind or said
    filters = {"rule": rule, "kind": kind, "state": state, "prefix": prefix, "names": None}
    rows = session.fetch(GateRow, "gates.list", after=after, limit=limit + 1, most=MOST_LISTED, **filters)
    shown = rows[:limit]
    return Page(shown, shown[-1].gate if len(rows) > limit else None)


def named(session: Session, names: Sequence[str]) -> list[GateRow]:
    """The gates of these names (`KIND:RULE:KEY`), as far as jobs have met them."""
    nothing = dict.fromkeys(("rule", "kind", "state", "prefix"))
    return session.fetch(
        GateRow, "gates.list", names=list(names), after="", limit=len(names), most=MOST_LISTED, **nothing
    )


def holding(session: Session, limit: int) -> list[GateRow]:
    """Gates that hold something back, those that are blown or closed first."""
    names = [name for (name,) in session.run("gates.holding", limit=limit)]
    return named(session, names) if names else []


def one(session: Session, reference: str) -> Shown:
    """The gates of a reference with what they hold back; raises UnknownGate when there is neither gate nor rule."""
    kinds, reference = _kinds_of(reference)
    rule = _rule_of(reference)
    names = [f"{kind}:{reference}" for kind in kinds]
    nothing = dict.fromkeys(("rule", "kind", "state", "prefix"))
    rows = session.fetch(GateRow, "gates.list", names=names, after="", limit=2, most=MOST_SHOWN, **nothing)
    terms = [row for row in session.fetch(RuleTerms, "gates.terms", rule=rule) if row.kind in kinds]
    if not rows and not terms:
        raise _unknown(session, rule, kinds)
    return Shown(
        rows,
        terms,
        session.fetch(SlotRow, "gates.slots", names=names, limit=_SLOTS_SHOWN),
        session.fetch(LaneRow, "gates.lanes", names=names, limit=_LANES_SHOWN, most=MOST_SHOWN),
        session.fetch(FailureRow, "gates.failures", names=names, limit=_FAILURES_SHOWN),
    )


def blow(
    session: Session,
    reference: str,
    until: datetime | timedelta | None = None,
    note: str | None = None,
    *,
    all_keys: bool = False,
    now: datetime | None = None,
) -> list[str]:
    """Blow a fuse by hand, until an instant, when it is half open, or until it is reset; gives the names of its gates.

    With `all_keys` the reference is a rule, and all gates are blown that it has by now. Raises UnknownGate for a fuse
    that is not declared.
    """
    kinds, reference = _kinds_of(reference)
    what, rule = f"gate {show(reference)}", _rule_of(reference, whole=all_keys)
    note = checked_note(what, note)
    if "fuse" not in kinds:
        raise _unknown(session, rule, ("fuse",))
    _declared(session, rule, ("fuse",))
    moment = database_now(session, now)
    end = None if until is None else end_of_pause(what, until, moment)
    values = {"until": None if end == ENDLESS else end, "note": note}
    if not all_keys:
        session.run("gates.make", names=[f"fuse:{reference}"])
    ids = _find(session, [f"fuse:{reference}"], rule if all_keys else None, ("fuse",))
    return _changed(session, "gates.blow", ids, now, **values)


def reset(session: Session, reference: str, *, all_keys: bool = False, now: datetime | None = None) -> list[str]:
    """Make a fuse whole and forget its failures, and end what closed the gates by hand; gives the names of the gates.

    What a throttle has let through still counts. Raises UnknownGate when there is neither gate nor rule.
    """
    kinds, reference = _kinds_of(reference)
    rule = _rule_of(reference, whole=all_keys)
    ids = _find(session, [f"{kind}:{reference}" for kind in kinds], rule if all_keys else None, kinds)
    if not ids:
        _declared(session, rule, kinds)
    return _changed(session, "gates.reset", ids, now, now=now)


def cool(
    session: Session,
    reference: str,
    until: datetime | timedelta,
    note: str | None = None,
    now: datetime | None = None,
) -> int:
    """Close the throttle and the fuse of a reference for the whole fleet until then; gives their number.

    One that is closed for longer stays so. Raises UnknownGate when no rule of that name is declared.
    """
    reference = _kinds_of(reference)[1]
    what, rule = f"gate {show(reference)}", _rule_of(reference)
    note = checked_note(what, note)
    _declared(session, rule, KINDS)
    with session.transaction():
        session.run("gates.wait_briefly", timeout=PATIENCE)
        end = end_of_pause(what, until, database_now(session, now))
        row = session.run("gates.cool", reference=reference, until=None if end == ENDLESS else end).fetchone()
        if note is not None:
            session.run("gates.note", names=[f"{kind}:{reference}" for kind in KINDS], note=note)
    return int(row[0]) if row else 0


def undeclared(session: Session, names: Collection[str]) -> set[str]:
    """Of these names of rules, those that no throttle or fuse in force has."""
    return {name for (name,) in session.run("gates.undeclared", names=sorted(names))}


def _changed(
    session: Session, statement: str, ids: Sequence[int], given_now: datetime | None, **values: Any
) -> list[str]:
    """Change the gates in slices, each under its locks, and tell who waits for them."""
    names: list[str] = []
    for first in range(0, len(ids), _AT_ONCE):
        some = list(ids[first : first + _AT_ONCE])
        with session.transaction():
            session.run("gates.wait_briefly", timeout=PATIENCE)
            session.run("gates.lock", ids=some)
            names += [name for (name,) in session.run(statement, ids=some, **values)]
            session.run("gates.tell", ids=some, now=given_now)
    return sorted(names)


def _find(session: Session, names: list[str], rule: str | None, kinds: Sequence[str]) -> list[int]:
    return [gate for (gate,) in session.run("gates.find", names=names, rule=rule, kinds=list(kinds))]


def _kinds_of(reference: str) -> tuple[Sequence[str], str]:
    """The kinds that a reference is meant for, and the reference without them: also as listings and rules name it."""
    kind, rest = split_kind(reference) if isinstance(reference, str) else (None, reference)
    return (KINDS if kind is None else (kind,)), rest


def _rule_of(reference: str, *, whole: bool = False) -> str:
    """The text before the first colon; raises ArgumentError."""
    if not isinstance(reference, str) or not 1 <= len(reference) <= _LONGEST_REFERENCE or not reference.isprintable():
        raise ArgumentError(f"{show(reference)} names no gate: write RULE or RULE:KEY, for example stripe:acct_42")
    rule, colon, key = reference.partition(":")
    if rule and colon and not key:
        raise ArgumentError(
            f"{show(reference)} has an empty key: write {rule} for the gate without a key, or {rule}:KEY"
        )
    if not rule or (whole and colon):
        raise ArgumentError(f"{show(reference)} names no rule: write the name alone, for example stripe")
    return rule


def _declared(session: Session, rule: str, kinds: Sequence[str]) -> None:
    if not any((kind, rule) in _all_declared(session) for kind in kinds):
        raise _unknown(session, rule, kinds)


def _all_declared(session: Session) -> list[tuple[str, str]]:
    return [(kind, name) for kind, name in session.run("gates.declared")]


def _unknown(session: Session, rule: str, kinds: Sequence[str]) -> UnknownGate:
    known = _all_declared(session)
    if kinds == ("fuse",) and ("throttle", rule) in known:
        return UnknownGate(f"{show(rule)} is a throttle and no fuse: close it with `pqclock gates cool`")
    words = " or ".join(kinds)
    names = [name for kind, name in known if kind in kinds]
    return UnknownGate(f"no {words} {show(rule)} is declared{hint(rule, names)}; see `pqclock rules list`")
