"""Fuses: when failures close a gate, and how it opens again. The model to which the settling in SQL is held.

A fuse is whole, blown until an instant, or half open from then on. Half open it lets a few probes through: when as many
have succeeded it is whole, and one that fails blows it again, for twice as long. Each time it blows or heals its epoch
rises, and an outcome counts only in the epoch of its grant: what began before says nothing about now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from pqclock.rules.durations import parse_duration
from pqclock.rules.throttles import nanoseconds

# How an outcome counts; a neutral one says nothing of what the fuse watches.
SUCCESS, FAILURE, NEUTRAL = "success", "failure", "neutral"
_FAILED = ("failed", "crashed", "timed_out")


@dataclass(frozen=True, slots=True)
class Fuse:
    """When it blows, for how long, and how it heals; without `max_cool_down` the cool-down does not grow."""

    within: timedelta
    cool_down: timedelta
    max_cool_down: timedelta
    failures: int | None = None
    failure_rate: float | None = None
    minimum: int | None = None
    probes: int = 1
    only: tuple[str, ...] | None = None
    ignore: tuple[str, ...] | None = None

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> Fuse:
        """The fuse that a checked definition declares."""
        cool_down = parse_duration(definition["cool_down"])
        return cls(
            within=parse_duration(definition["within"]),
            cool_down=cool_down,
            max_cool_down=parse_duration(definition.get("max_cool_down", cool_down)),
            failures=definition.get("failures"),
            failure_rate=definition.get("failure_rate"),
            minimum=definition.get("minimum"),
            probes=definition.get("probes", 1),
            only=_names(definition.get("only")),
            ignore=_names(definition.get("ignore")),
        )

    def counts(self, outcome: str, names: Collection[str] = ()) -> str:
        """How an outcome counts; `names` are the classes of the error, from its own up through its bases.

        What `only` leaves out or `ignore` names is neutral: a bad argument says nothing about the warehouse.
        """
        if outcome == "succeeded":
            return SUCCESS
        if outcome not in _FAILED:
            return NEUTRAL
        if self.only and not set(self.only) & set(names):
            return NEUTRAL
        return NEUTRAL if self.ignore and set(self.ignore) & set(names) else FAILURE

    def blows(self, failures: int, successes: int) -> bool:
        """Whether so many outcomes within the window are too many failures."""
        if self.failures is not None and failures >= self.failures:
            return True
        seen = failures + successes
        if self.failure_rate is None or self.minimum is None or seen < self.minimum:
            return False
        return failures > 0 and failures >= self.failure_rate * seen


class Grant(NamedTuple):
    """A start that a fuse let through: its epoch, and whether it took the place of a probe."""

    epoch: int
    probe: bool


@dataclass(slots=True)
class FuseState:
    """Where the fuse of one gate stands; instants are nanoseconds since 1970.

    `probing` are the probes that run, also those of an earlier epoch: what is ailing must not get more than that at once.
    """

    epoch: int = 0
    blown_until: int | None = None
    cool_down: int = 0
    passed: int = 0
    probing: int = 0
    seen: deque[tuple[int, bool]] = field(default_factory=deque)  # since it was whole: when, and whether it failed
    failures: int = 0

    def blown(self, now: int) -> bool:
        """Whether nothing gets through."""
        return self.blown_until is not None and now < self.blown_until

    def half_open(self, now: int) -> bool:
        """Whether only probes get through."""
        return self.blown_until is not None and now >= self.blown_until

    def allows(self, fuse: Fuse, now: int) -> bool:
        """Whether a job may start."""
        return self.blown_until is None or (now >= self.blown_until and self.probing < fuse.probes)

    def grant(self, now: int) -> Grant:
        """A job starts."""
        probe = self.half_open(now)
        self.probing += probe
        return Grant(self.epoch, probe)

    def settle(self, fuse: Fuse, grant: Grant, counted: str, now: int) -> bool:
        """A job has ended; gives whether that blew the fuse."""
        # The place of a probe is free again however it ended: one that was killed holds up nobody.
        self.probing -= grant.probe
        if grant.epoch != self.epoch:
            return False
        if self.blown_until is not None:
            return self._settle_probe(fuse, counted, now)
        if counted == NEUTRAL or (counted == SUCCESS and fuse.failure_rate is None):
            return False
        self.seen.append((now, counted == FAILURE))
        self.failures += counted == FAILURE
        while self.seen and self.seen[0][0] <= now - nanoseconds(fuse.within):
            self.failures -= self.seen.popleft()[1]
        if fuse.blows(self.failures, len(self.seen) - self.failures):
            self._blow(nanoseconds(fuse.cool_down), now)
            return True
        return False

    def _settle_probe(self, fuse: Fuse, counted: str, now: int) -> bool:
        if counted == FAILURE:
            self._blow(min(2 * self.cool_down, nanoseconds(fuse.max_cool_down)), now)
            return True
        if counted == SUCCESS:
            self.passed += 1
            if self.passed >= fuse.probes:
                self._begin_epoch()
                self.blown_until = None
        return False

    def _blow(self, cool_down: int, now: int) -> None:
        self._begin_epoch()
        self.cool_down = cool_down
        self.blown_until = now + cool_down

    def _begin_epoch(self) -> None:
        self.epoch += 1
        self.passed = self.failures = 0
        self.seen.clear()


def _names(given: Collection[str] | None) -> tuple[str, ...] | None:
    return tuple(given) if given else None
