"""A term in office, turn by turn."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from pqclock import loop
from pqclock.alarms import to_log
from pqclock.clock import caretaker
from pqclock.clock.planner import Planned, Planner
from pqclock.clock.skew import Skew
from pqclock.loop import DatabaseClock
from pqclock.metrics import ClockMetrics
from pqclock.store import after, gating, jobs, leadership, processes
from pqclock.store.database import Session
from pqclock.store.jobs import Promotion

log = logging.getLogger("pqclock.clock")

BEAT_EVERY = 2.0
TIDY_EVERY = 2.0
LOOK_AT_GATES = timedelta(seconds=2)
BEHIND_WORKERS = timedelta(milliseconds=10)
# What is due first becomes ready with the first slice: of many that are due together it must not wait for all.
PROMOTE_SLICE = 500
# Planning is put off while much is due, or something in so many seconds, but not more often than this in a row.
MOMENT = 0.03
PUT_OFF_AT_MOST = 4
# A difference between the database's clock and the monotonic one, in seconds, that is no drift any more.
STEP = 2.0


class TermOver(Exception):
    """Another term has begun, or this one was ended: stop writing."""


class Untrusted(TermOver):
    """This machine's clock and the database's are so far apart that this one must not lead."""


class Leader:
    """The one clock that inserts and promotes; `turn()` does one round and says how long to sleep."""

    def __init__(
        self,
        session: Session,
        epoch: int,
        process_id: int,
        skew: Skew | None = None,
        metrics: ClockMetrics | None = None,
    ) -> None:
        self._session = session
        self._epoch = epoch
        self._process_id = process_id
        self._metrics = metrics
        self._planner = Planner(session, epoch, metrics)
        self._clock = DatabaseClock()
        self._skew = Skew(to_log(log, logging.WARNING), to_log(log)) if skew is None else skew
        self._next_beat = 0.0
        self._next_tidy = 0.0
        self._watching_since = time.monotonic()
        self._plan_again_at: datetime | None = None
        self._replan = True
        self._release = True
        self._resolve = True
        self._followed = caretaker.Followed()
        self._put_off = 0
        self._woken_to: datetime | None = None
        self._gates_at: datetime | None = None

    def hear(self, payload: str) -> bool:
        """Take a notification; True when it is a reason to turn at once."""
        if payload == "clock":
            self._replan = True
            self._gates_at = None
            return True
        if payload == "release":
            self._release = True
            return True
        if payload == "after":
            self._resolve = True
            return True
        if payload == "rescue":
            self._next_tidy = 0.0
            return True
        return False

    def turn(self) -> float:
        """Beat, promote, plan, tidy; gives the seconds until there is something to do. Raises TermOver."""
        self._beat_if_due()
        # Before the promotion, which makes ready those that wait for nothing more.
        self._resolve = self._resolve and after.resolve(self._session, PROMOTE_SLICE).more
        promotion = jobs.promote(self._session, PROMOTE_SLICE, release=self._release)
        if self._metrics is not None and promotion.promoted:
            self._metrics.promoted(promotion.promoted)
        self._release = promotion.promoted >= PROMOTE_SLICE
        more = self._release or self._resolve
        wakes = [promotion.next_run_at]
        if self._may_plan(promotion):
            planned = self._plan(promotion.now)
            wakes += [planned.first_run_at, planned.plan_again_at]
            more = more or planned.more
        elif not self._put_off:
            wakes.append(self._plan_again_at)
        wakes.append(self._wake_gates(promotion.now))
        more = self._tidy_if_due() or more
        return 0.0 if more else self._sleep(wakes)

    def _may_plan(self, promotion: Promotion) -> bool:
        """Whether there is something to plan, and promotion does not go before it: that is what people wait for."""
        if not self._replan and (self._plan_again_at is None or self._plan_again_at > promotion.now):
            self._put_off = 0
            return False
        soon = promotion.next_run_at is not None and (promotion.next_run_at - promotion.now).total_seconds() < MOMENT
        if (soon or promotion.promoted >= PROMOTE_SLICE) and self._put_off < PUT_OFF_AT_MOST:
            self._put_off += 1
            return False
        self._put_off = 0
        return True

    def _plan(self, now: datetime) -> Planned:
        planned = self._planner.step(now)
        if not planned.in_office:
            raise TermOver(f"term {self._epoch} is over")
        self._replan = planned.more
        self._plan_again_at = planned.plan_again_at
        # The job that a new one waits for may have ended meanwhile, and told of it too early.
        self._release = self._release or planned.inserted > 0
        return planned

    def _wake_gates(self, now: datetime) -> datetime:
        """Tell of gates that have opened, a moment after they did: the worker that met one closed wakes by itself."""
        if self._gates_at is None or self._gates_at <= now:
            opens_at, self._woken_to = gating.wake(self._session, self._woken_to or now)
            nearest = opens_at + BEHIND_WORKERS if opens_at is not None else None
            # Others close meanwhile, and may open sooner.
            self._gates_at = min(filter(None, (nearest, self._woken_to + LOOK_AT_GATES)))
        return self._gates_at

    def _beat_if_due(self) -> None:
        sent = time.monotonic()
        if sent < self._next_beat:
            return
        now = leadership.beat(self._session, self._epoch)
        if now is None:
            raise TermOver(f"term {self._epoch} is over")
        here, received = loop.now(), time.monotonic()
        self._read_clock(now, sent, received)
        self._skew.measure(now, here, sent, received)
        processes.beat(self._session, self._process_id, skew=self._skew.seconds)
        if self._skew.refuses:
            raise Untrusted(f"this machine's clock is {self._skew.seconds:+.0f} s off the database's")
        # A job that ended otherwise than by a worker tells nobody.
        self._release = self._resolve = True
        self._next_beat = time.monotonic() + BEAT_EVERY

    def _read_clock(self, now: datetime, sent: float, received: float) -> None:
        """Only the beat tells the time: of a long statement nobody knows when in its course the clock was read."""
        if self._clock.known and abs(self._clock.seconds_until(now)) > STEP:
            log.warning("the database's clock stepped by %.1f s", self._clock.seconds_until(now))
            self._watching_since = received
            self._woken_to = self._gates_at = None
        self._clock.read(now, sent, received)

    def _tidy_if_due(self) -> bool:
        if time.monotonic() < self._next_tidy:
            return False
        # In an outage, or over a step of the clock, nobody's beats are seen: silence counts once it was watched for the
        # whole length of a lease.
        watched = time.monotonic() - self._watching_since
        more = caretaker.tidy(self._session, silent_too=watched > jobs.LEASE_LENGTH.total_seconds())
        self._followed.look(self._session)
        self._next_tidy = 0.0 if more else time.monotonic() + TIDY_EVERY
        return more

    def _sleep(self, instants: list[datetime | None]) -> float:
        until_instants = [self._clock.seconds_until(instant) for instant in instants if instant is not None]
        until_duties = [self._next_beat - time.monotonic(), self._next_tidy - time.monotonic()]
        return max(0.0, min([*until_instants, *until_duties]))
