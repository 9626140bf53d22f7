"""What becomes of ticks that are due while jobs of the same schedule are unfinished.

A job is unfinished until it has ended for good: one that waits for its next attempt counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pqclock.rules.ticks import Entry


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The jobs of a schedule that have not ended: how many, and whether one of them waits for the others to end.

    `newest` is the last tick among them, if they have ticks.
    """

    jobs: int = 0
    waiting: bool = False
    newest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """An entry of the ledger, and how its job comes in: held until those before it end, or in their place."""

    entry: Entry
    held: bool = False
    replaces: bool = False


def judge(entries: Sequence[Entry], overlap: str, unfinished: Unfinished) -> list[Judged]:
    """The entries as `overlap` lets them be; ticks that come together overlap one another, in their order.

    `skip` lets a tick in when nothing is unfinished, `wait` one more that is held, and `replace` the last one, unless a
    job of a later tick is there: missed ticks come behind those of the present.
    """
    due = [entry for entry in entries if entry.outcome == "inserted"]
    if overlap == "replace":
        last = [entry for entry in due[-1:] if unfinished.newest is None or entry.tick > unfinished.newest]
        admitted = {entry.tick: Judged(entry, replaces=True) for entry in last}
        return _run_together(entries, admitted, "coalesced")
    free = [] if unfinished.jobs else due[:1]
    admitted = {entry.tick: Judged(entry) for entry in free}
    if overlap == "wait" and not unfinished.waiting:
        admitted |= {entry.tick: Judged(entry, held=True) for entry in due[len(free) : len(free) + 1]}
    return _run_together(entries, admitted, "skipped")


def _run_together(entries: Sequence[Entry], admitted: Mapping[datetime, Judged], outcome: str) -> list[Judged]:
    """The admitted ones, and those that are not, which follow each other, as one row."""
    judged: list[Judged] = []
    last_left_out = False
    for entry in entries:
        left_out = entry.outcome == "inserted" and entry.tick not in admitted
        if not left_out:
            judged.append(admitted[entry.tick] if entry.outcome == "inserted" else Judged(entry))
        elif last_left_out:
            run = judged[-1].entry
            judged[-1] = Judged(replace(run, through=entry.tick, count=run.count + 1))
        else:
            judged.append(Judged(replace(entry, outcome=outcome, reason="overlap")))
        last_left_out = left_out
    return judged
