"""What `was` says: a former key is given up, so nobody in the set has it any more, and one schedule alone had it."""

from __future__ import annotations

from collections.abc import Mapping

from pqclock.rules.files.findings import show
from pqclock.rules.files.kinds import Fault
from pqclock.rules.schedule import Schedule


def former_key_faults(
    schedule: Schedule, declared: Mapping[tuple[str, str], str], heirs: dict[str, str]
) -> list[Fault]:
    """The faults of a schedule's former keys; `heirs` gets the key that took each of them over."""
    faults = []
    for number, former in enumerate(schedule.was):
        place, heir = declared.get(("schedule", former)), heirs.setdefault(former, schedule.key)
        if former == schedule.key:
            message = f"names {show(former)}, the key that it has now: leave it out"
        elif place is not None:
            message = f"names {show(former)}, which is still declared at {place}: a former key is given up"
        elif heir != schedule.key:
            message = (
                f"names {show(former)}, which was the key of {show(heir)} already: only one of them can go on from it"
            )
        else:
            continue
        faults.append(Fault(message, ("was", number)))
    return faults
