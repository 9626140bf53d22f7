"""What a rule would have done to runs of the past: each start goes through the model of its gate, in the order of time.

A gate of a key is served in the order of its starts, and how long a run takes does not depend on when it starts. So each
start can be placed as soon as it is read, and only what is running at that moment is kept: memory grows with the keys,
not with the runs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import NamedTuple

from pqclock.errors import ArgumentError
from pqclock.rules.fuses import Fuse, FuseState, Grant
from pqclock.rules.throttles import Throttle

# More keys than anybody reads, and as much memory as one may take without asking.
MOST_KEYS = 50_000
# Delays are counted in classes of 1 % width.
_STEP = math.log(1.01)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Run(NamedTuple):
    """A run of the past; `names` are the classes of its error, as far as they are known."""

    key: str
    started_at: datetime
    finished_at: datetime
    outcome: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delays:
    """What would have become of the starts of one key; median, p95 and max are of those that were delayed."""

    key: str
    starts: int
    delayed: int
    share: float
    total: timedelta
    median: timedelta
    p95: timedelta
    max: timedelta
    worst_at: datetime | None
    blown: int
    blown_for: timedelta


class Replay:
    """The gates of one rule; `run` takes the runs in the order of their starts."""

    def __init__(self, limits: Throttle | Fuse, units: int = 1) -> None:
        if isinstance(limits, Throttle) and limits.rate is not None and units > limits.rate:
            raise ArgumentError(f"units {units} are above the rate, {limits.rate}: such a job never starts")
        self._limits = limits
        self._units = units
        self._gates: dict[str, _Gate] = {}

    def run(self, run: Run) -> None:
        """Place a run at its gate."""
        gate = self._gates.get(run.key)
        if gate is None:
            if len(self._gates) >= MOST_KEYS:
                raise ArgumentError(f"there are more than {MOST_KEYS:,} keys: look at a shorter time or at fewer tasks")
            gate = self._gates[run.key] = _gate_of(self._limits, self._units)
        begin = _ns(run.started_at)
        gate.start(begin, max(_ns(run.finished_at) - begin, 0), run)

    def results(self, until: datetime) -> tuple[list[Delays], Delays]:
        """By key, the longest delays first, and of all keys together."""
        tallies = {key: gate.finish(_ns(until)) for key, gate in self._gates.items()}
        found = [tally.delays(key) for key, tally in tallies.items()]
        found.sort(key=lambda one: (-one.total, -one.blown, -one.starts, one.key))
        return found, _together(tallies.values()).delays("")


@dataclass(slots=True)
class _Tally:
    """Counts, in nanoseconds."""

    starts: int = 0
    delayed: int = 0
    total: int = 0
    max: int = 0
    worst_at: int | None = None
    classes: Counter[int] = field(default_factory=Counter)
    blown: int = 0
    blown_for: int = 0

    def count(self, at: int, delay: int) -> None:
        """A start that was wanted at an instant, and how much later it would have come."""
        self.starts += 1
        if delay <= 0:
            return
        self.delayed += 1
        self.total += delay
        self.classes[int(math.log(delay) / _STEP)] += 1
        if delay > self.max:
            self.max, self.worst_at = delay, at

    def delays(self, key: str) -> Delays:
        """As people read it."""
        return Delays(
            key=key,
            starts=self.starts,
            delayed=self.delayed,
            share=round(self.delayed / self.starts, 4) if self.starts else 0.0,
            total=_length(self.total),
            median=_length(self._percentile(0.5)),
            p95=_length(self._percentile(0.95)),
            max=_length(self.max),
            worst_at=None if self.worst_at is None else _EPOCH + _length(self.worst_at),
            blown=self.blown,
            blown_for=_length(self.blown_for),
        )

    def _percentile(self, part: float) -> int:
        left = math.ceil(self.delayed * part)
        for step in sorted(self.classes):
            left -= self.classes[step]
            if left <= 0:
                return min(round(math.exp((step + 0.5) * _STEP)), self.max)
        return self.max


def _together(tallies: Iterable[_Tally]) -> _Tally:
    whole = _Tally()
    for one in tallies:
        whole.starts += one.starts
        whole.delayed += one.delayed
        whole.total += one.total
        whole.classes.update(one.classes)
        whole.blown += one.blown
        whole.blown_for += one.blown_for
        if one.max > whole.max:
            whole.max, whole.worst_at = one.max, one.worst_at
    return whole


class _End(NamedTuple):
    at: int
    grant: Grant
    counted: str


_UNFUSED = Grant(0, probe=False)


class _Gate:
    """One gate: it lets runs start one after the other, each as early as it may."""

    def __init__(self) -> None:
        self.tally = _Tally()
        self.last = 0
        self.ends: list[_End] = []  # of what runs, the first one first

    def start(self, wanted: int, length: int, run: Run) -> None:
        """Place one run."""
        now = max(wanted, self.last)
        while True:
            self.end_until(now)
            opens = self.opens(now)
            if opens is None or opens <= now:
                break
            now = opens
        self.last = now
        self.tally.count(wanted, now - wanted)
        self.grant(now, now + length, run)

    def end_until(self, now: int) -> None:
        """What has ended by now runs no more."""
        while self.ends and self.ends[0].at <= now:
            self.ended(heappop(self.ends))

    def finish(self, until: int) -> _Tally:
        """The counts, when nothing more comes."""
        self.end_until(until)
        return self.tally

    def opens(self, now: int) -> int | None:
        """When the next look is worth it; None is now."""
        raise NotImplementedError

    def grant(self, now: int, end: int, run: Run) -> None:
        """A run starts."""
        raise NotImplementedError

    def ended(self, end: _End) -> None:
        """A run has ended."""


class _ThrottleGate(_Gate):
    def __init__(self, throttle: Throttle, units: int) -> None:
        super().__init__()
        self.throttle = throttle
        self.units = units
        self.tat = 0

    def opens(self, now: int) -> int | None:  # noqa: ARG002
        limit = self.throttle.concurrency
        if limit is not None and len(self.ends) >= limit:
            return self.ends[0].at
        return self.throttle.opens_ns(self.tat, self.units)

    def grant(self, now: int, end: int, run: Run) -> None:  # noqa: ARG002
        self.tat = self.throttle.started(self.tat, now, self.units)
        if self.throttle.concurrency is not None:
            heappush(self.ends, _End(end, _UNFUSED, ""))


class _FuseGate(_Gate):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.fuse = fuse
        self.state = FuseState()

    def opens(self, now: int) -> int | None:
        if self.state.allows(self.fuse, now):
            return None
        if self.state.blown(now):
            return self.state.blown_until
        return self.ends[0].at

    def grant(self, now: int, end: int, run: Run) -> None:
        counted = self.fuse.counts(run.outcome, run.names)
        heappush(self.ends, _End(end, self.state.grant(now), counted))

    def ended(self, end: _End) -> None:
        if self.state.settle(self.fuse, end.grant, end.counted, end.at):
            assert self.state.blown_until is not None
            self.tally.blown += 1
            self.tally.blown_for += self.state.blown_until - end.at

    def finish(self, until: int) -> _Tally:
        tally = super().finish(until)
        # What is still to come of the last cool-down is no more than a guess.
        tally.blown_for -= max((self.state.blown_until or 0) - until, 0) if tally.blown else 0
        return tally


def _gate_of(limits: Throttle | Fuse, units: int) -> _Gate:
    return _ThrottleGate(limits, units) if isinstance(limits, Throttle) else _FuseGate(limits)


def _ns(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000


def _length(ns: int) -> timedelta:
    return timedelta(microseconds=-(-ns // 1000))
