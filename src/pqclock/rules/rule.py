"""A rule as it is declared: `[throttle.NAME]` or `[fuse.NAME]`, from a file or from the API."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pqclock.errors import ArgumentError
from pqclock.rules.fuses import Fuse
from pqclock.rules.throttles import Throttle

KINDS = ("throttle", "fuse")
_OF_THROTTLES = frozenset(("rate", "burst", "concurrency"))


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `label` is its identity as files write it, `throttle.stripe`.

    `definition` has the plain values that were given and no others.
    """

    kind: str
    name: str
    definition: Mapping[str, Any]
    source: str = field(default="", compare=False)

    @property
    def label(self) -> str:
        """KIND.NAME."""
        return f"{self.kind}.{self.name}"

    def limits(self) -> Throttle | Fuse:
        """What the definition means."""
        return Throttle.of(self.definition) if self.kind == "throttle" else Fuse.of(self.definition)

    def numbers(self) -> dict[str, Any]:
        """What the definition means, by the columns that the claim reads; lengths of time in seconds."""
        limits = self.limits()
        if isinstance(limits, Throttle):
            return {
                "rate": limits.rate,
                "per": _seconds(limits.per),
                "interval_ns": limits.interval_ns,
                "burst": limits.burst,
                "concurrency": limits.concurrency,
            }
        return {
            "failures": limits.failures,
            "failure_rate": limits.failure_rate,
            "minimum": limits.minimum,
            "within": _seconds(limits.within),
            "cool_down": _seconds(limits.cool_down),
            "max_cool_down": _seconds(limits.max_cool_down),
            "probes": limits.probes,
            "only_names": limits.only,
            "ignored_names": limits.ignore,
        }


def split_label(label: str) -> tuple[str, str] | None:
    """Kind and name of a label; None where it does not begin with a kind."""
    kind, dot, name = label.partition(".")
    return (kind, name) if dot and kind in KINDS else None


def meant(given: str, known: Iterable[str], fields: Collection[str] = ()) -> str:
    """The label that a label or a bare name stands for, among those known, else by the fields that go with it.

    Raises ArgumentError where that may be either kind.
    """
    if split_label(given) is not None:
        return given
    found = [label for label in known if label.partition(".")[2] == given]
    if len(found) == 1:
        return found[0]
    if not found and fields:
        return f"{KINDS[0] if set(fields) & _OF_THROTTLES else KINDS[1]}.{given}"
    both = " and ".join(sorted(found)) or "no such rule"
    raise ArgumentError(f"the rule {given!r:.120}: there is {both}: write {' or '.join(f'{k}.NAME' for k in KINDS)}")


def _seconds(length: timedelta | None) -> str | None:
    return None if length is None else f"{length / timedelta(seconds=1):.3f} seconds"
