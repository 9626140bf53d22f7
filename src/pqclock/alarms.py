"""Alarms: raised when something is wrong, repeated while it is, and called off; and the dead man's switch that uses them.

Nothing here reads a clock or sleeps: every time is an argument, in the seconds of a monotonic clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from pqclock.rules.promises import over_words
from pqclock.store.jobs import LEADER_SILENCE
from pqclock.store.leadership import Pulse

Value = TypeVar("Value")

REPEAT_EVERY = 60.0
SILENCE = LEADER_SILENCE.total_seconds()
# Ticks are inserted a minute ahead, and planned again when half of that is left: where a tick is planned half a minute
# late, planning is a whole minute behind.
LATE = timedelta(seconds=30)
# Catching up after an outage may be late for a moment.
LATE_FOR = 10.0
# Two looks further apart than this saw nothing of what went on between them, such as a server that stood still.
GAP = 3.0


@dataclass(frozen=True, slots=True)
class Told:
    """One word of an alarm: `raised`, `lasts` or `over`, after so many seconds."""

    alarm: str
    state: str
    seconds: float
    message: str


Tell = Callable[[Told], None]


def to_log(log: logging.Logger, level: int = logging.ERROR) -> Tell:
    """Tell of an alarm in the log; its end is a piece of information."""

    def tell(told: Told) -> None:
        if told.state == "over":
            log.info("%s", over_words(told.message, timedelta(seconds=told.seconds)), extra={"alarm": told.alarm})
        else:
            log.log(level, "%s", told.message, extra={"alarm": told.alarm})

    return tell


class Alarm:
    """One thing that may be wrong: told when it begins, at most once a minute while it lasts, and when it is over."""

    def __init__(self, name: str, tell: Tell, repeat_every: float = REPEAT_EVERY) -> None:
        self._name = name
        self._tell = tell
        self._repeat_every = repeat_every
        self._since: float | None = None
        self._told_at = 0.0
        self._told_message = ""

    @property
    def raised(self) -> bool:
        """True while it lasts."""
        return self._since is not None

    def look(self, wrong: str | None, at: float) -> None:
        """Note what is wrong at a monotonic time, None when nothing is."""
        if wrong is not None and self._since is None:
            self._since = at
            self._say("raised", wrong, at)
        elif wrong is not None and at - self._told_at >= self._repeat_every:
            self._say("lasts", wrong, at)
        elif wrong is None and self._since is not None:
            self._say("over", self._told_message, at)
            self._since = None

    def _say(self, state: str, message: str, at: float) -> None:
        assert self._since is not None
        self._told_at, self._told_message = at, message
        self._tell(Told(self._name, state, at - self._since, message))


class Unchanged(Generic[Value]):
    """For how long a value was seen to stay the same.

    Of a long gap between two looks only a little counts: in an outage, or while this process was frozen, nobody could
    have changed anything. So it needs no clock but its own, and steps of the database's clock do not matter.
    """

    def __init__(self, gap: float = GAP) -> None:
        self._gap = gap
        self._value: Value | None = None
        self._looked_at: float | None = None
        self._seconds = 0.0

    def restart(self) -> None:
        """Count anew, whatever was seen before."""
        self._seconds, self._looked_at = 0.0, None

    def seen(self, value: Value, at: float) -> float:
        """Look at a monotonic time; gives the seconds."""
        if self._looked_at is None or value != self._value:
            self._seconds = 0.0
        else:
            self._seconds += min(self._gap, at - self._looked_at)
        self._value, self._looked_at = value, at
        return self._seconds


class DeadMansSwitch:
    """Raises the alarm when no leader beats, or when the one that beats plans no ticks; looked at beside the clock."""

    def __init__(self, tell: Tell) -> None:
        self._silence = Alarm("silence", tell)
        self._ledger = Alarm("ledger", tell)
        self._beat: Unchanged[object] = Unchanged()
        self._late: Unchanged[bool] = Unchanged()

    def restart(self) -> None:
        """Watch anew, after an outage in which nobody could beat; what was found wrong before is so until it is seen."""
        if not self._silence.raised:
            self._beat.restart()
        if not self._ledger.raised:
            self._late.restart()

    @property
    def silent(self) -> bool:
        """True while no leader beats."""
        return self._silence.raised

    def calm(self, at: float) -> None:
        """Nothing is wrong any more: this process leads now."""
        self._silence.look(None, at)
        self._ledger.look(None, at)

    def look(self, pulse: Pulse, at: float) -> None:
        """Judge what was read at a monotonic time."""
        silent = self._beat.seen((pulse.epoch, pulse.beat_at), at)
        no_leader = pulse.clock_expected and silent > SILENCE
        self._silence.look(_silence_words(pulse, silent) if no_leader else None, at)
        late = self._late.seen(pulse.waits_since is not None, at)
        behind = pulse.waits_since is not None and late > LATE_FOR and not no_leader
        self._ledger.look(_ledger_words(pulse) if behind else None, at)


def _silence_words(pulse: Pulse, silent: float) -> str:
    if pulse.beat_at is None:
        return "no clock leads and none ever has, so no schedule ticks: start one with `pqclock` or `pqclock clock`"
    by_its_clock = (pulse.now - pulse.beat_at).total_seconds()
    last = f"{pulse.host}:{pulse.pid}, term {pulse.epoch}," if pulse.pid is not None else f"term {pulse.epoch}"
    return (
        f"no clock leads: the last beat, of {last} was {max(silent, by_its_clock):.0f} s ago; no schedule ticks, and workers do "
        "what else a leader does: look at the clocks' logs and `pqclock doctor`, or start `pqclock clock`"
    )


def _ledger_words(pulse: Pulse) -> str:
    assert pulse.waits_since is not None
    late = (pulse.now - pulse.waits_since).total_seconds()
    return (
        f"the ledger falls behind: schedule {pulse.waiting_key} has a tick that should have been planned {late:.0f} s ago, and "
        f"the leader {pulse.host}:{pulse.pid} has not done it: look at its log and at `pqclock doctor`"
    )
