"""What a clock that stands by looks at: whether somebody beats, who holds the lock, and what time it is.

A leader whose beat is old loses its session, and so its lock, at the hands of whoever stands by: the server's own limits
end a session that is idle, but not one that is busy with nothing.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime

from pqclock import loop
from pqclock.alarming import Alarming
from pqclock.alarms import LATE, Alarm, DeadMansSwitch, Unchanged, to_log
from pqclock.clock.skew import Skew
from pqclock.store import leadership
from pqclock.store.database import CONNECTION_LOST, DatabaseError, Session
from pqclock.store.leadership import Holder, Pulse

log = logging.getLogger("pqclock.clock")

LOOK_EVERY = 1.0
# Three beats of a leader.
BEAT_LIMIT = 6.0
# For one who has not watched for so long, the age of the beat by the database's clock will do, if nobody beats for as
# long as one beat takes and half of another: a step of that clock makes a fresh beat old, but not for long.
WATCHED_AT_LEAST = 3.0


class Lookout:
    """Looks about every second while its clock stands by; its alarms outlive the connection."""

    def __init__(self, alarming: Alarming | None = None) -> None:
        tell = to_log(log)
        self.skew = Skew(to_log(log, logging.WARNING), tell)
        self.switch = DeadMansSwitch(tell if alarming is None else alarming.tell)
        self._alarming = alarming
        self._holder = Alarm("holder", tell)
        self._beat: Unchanged[object] = Unchanged()
        self._next_look = 0.0

    def begin(self) -> None:
        """Watch anew, on a new connection."""
        self.switch.restart()
        self._beat.restart()
        self._next_look = 0.0

    def calm(self) -> None:
        """Call off what is over because this clock leads now."""
        now = time.monotonic()
        self.switch.calm(now)
        self._holder.look(None, now)

    def look_if_due(self, session: Session) -> None:
        """Look, when it is time to."""
        sent = time.monotonic()
        if sent < self._next_look:
            return
        pulse = leadership.pulse(session, LATE)
        here, received = loop.now(), time.monotonic()
        self.skew.measure(pulse.now, here, sent, received)
        self.switch.look(pulse, received)
        holder = leadership.holder(session)
        self._holder.look(self.judge(session, holder, pulse, received), time.monotonic())
        if self.switch.silent and self._alarming is not None:
            self._alarming.stand_in()
        self._next_look = time.monotonic() + LOOK_EVERY

    def judge(self, session: Session, holder: Holder | None, pulse: Pulse, at: float) -> str | None:
        """What there is to say against the holder of the lock, who is ended if it is ours and silent.

        Who was elected and beats is right, whoever it is.
        """
        if holder is None:
            self._beat.restart()
            return None
        watched = self._beat.seen((holder.pid, holder.backend_start, pulse.epoch, pulse.beat_at), at)
        elected = holder.pid == pulse.backend_pid
        if not elected and not holder.is_clock:
            return f"the leader's lock is held by a session that is no clock: {describe(holder)}: {_way_out(holder)}"
        if _is_silent(pulse, watched):
            return self._end(session, holder, pulse, watched)
        # One that has just won holds the lock for a moment before it is elected.
        if not elected and not holder.same_role and watched > 0:
            who = "a clock of another role that does not lead"
            return f"the leader's lock is held by {who}: {describe(holder)}: {_way_out(holder)}"
        return None

    def _end(self, session: Session, holder: Holder, pulse: Pulse, watched: float) -> str | None:
        """End the session of a clock that does not beat, if it is one of ours; gives what to say of it."""
        words = f"who holds the leader's lock has not beaten for {_silence(pulse, watched):.0f} s: {describe(holder)}"
        if not (holder.is_clock and holder.same_role):
            return f"{words}: {_way_out(holder)}"
        try:
            ended = leadership.terminate(session, holder, pulse)
        except CONNECTION_LOST:
            raise
        except DatabaseError as error:
            return f"{words}: its session could not be ended ({' '.join(str(error).split())}): {_way_out(holder)}"
        if not ended:
            # It has beaten after all, or is gone.
            return None
        return f"{words}: its session is ended now; if it stays, its server process hangs: look at the server's log"


def _is_silent(pulse: Pulse, watched: float) -> bool:
    return watched > BEAT_LIMIT or (watched >= WATCHED_AT_LEAST and _silence(pulse, watched) > BEAT_LIMIT)


def _silence(pulse: Pulse, watched: float) -> float:
    """For how long nobody has beaten; a beat that lies in the future, after a step of the clock, says nothing."""
    return watched if pulse.beat_at is None else max(watched, (pulse.now - pulse.beat_at).total_seconds())


def _way_out(holder: Holder) -> str:
    return (
        "no clock can lead until it is gone: if it should not be there, end it as its role or as a superuser with "
        f"SELECT pg_terminate_backend({holder.pid})"
    )


def describe(holder: Holder) -> str:
    """The session that holds the lock, in words, as far as this role may see it."""
    name = f"{holder.application_name!r:.60}" if holder.application_name else "without a name"
    words = f"server process {holder.pid} of role {holder.usename}, application {name}"
    if holder.backend_start is None:
        return f"{words} (from where and since when, this role may not see)"
    place = holder.client_addr or "a local socket"
    words += f", connected from {place} since {_stamp(holder.backend_start)}"
    return f"{words}, {holder.state} since {_stamp(holder.state_change)}" if holder.state_change else words


def _stamp(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
