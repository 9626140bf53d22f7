"""The clock process: stand by until the lock is free, lead, and begin again after every fault."""

from __future__ import annotations

import logging
import os
import random
import socket
import time
from collections.abc import Mapping
from types import MappingProxyType

from pqclock import __version__
from pqclock.alarm_hooks import Hook
from pqclock.alarming import Alarming
from pqclock.clock.caretaker import PartitionKeeper
from pqclock.clock.leader import Leader, TermOver, Untrusted
from pqclock.clock.lookout import Lookout, describe
from pqclock.errors import Refused
from pqclock.loop import Wakeup, backoff
from pqclock.metrics import clock_metrics
from pqclock.pulse import Pulse
from pqclock.rules.retention import DEFAULT, Keep
from pqclock.store import leadership, processes
from pqclock.store.database import CONNECTION_LOST, TRY_AGAIN, Session
from pqclock.store.listening import hear, listen
from pqclock.watchdog import OnHang, Watchdog, report_hang

log = logging.getLogger("pqclock.clock")

TRY_EVERY = 0.5
# After a resignation the lock comes free within milliseconds: look closely for a moment.
TRY_AFTER_RESIGNATION = 0.01
RESIGNATION_LASTS = 1.0
BEAT_EVERY = 2.0
RETRY_LIMIT = 0.5
SURPRISED_LIMIT = 5.0
# A term of so many seconds shows that the errors before it are over.
STEADY_AFTER = 60.0
RETRY_TURN_AFTER = 0.05
# Names that are looked up and several hosts that are tried take their time, and nothing is held meanwhile.
CONNECT_MAY_TAKE = 50.0


class Clock:
    """One clock: `run()` until `stop()`. `state` is `starting`, `standby` or `leading`."""

    def __init__(
        self,
        url: str,
        schema: str = "pqclock",
        *,
        allow_session_pooler: bool = False,
        keep: Keep = DEFAULT,
        on_hang: OnHang = report_hang,
        pulse: Pulse | None = None,
        hooks: Mapping[str, Hook] = MappingProxyType({}),
    ) -> None:
        self._url = url
        self._schema = schema
        self._keep = keep
        self._allow_session_pooler = allow_session_pooler
        self._pulse = pulse or Pulse()
        self._watchdog = Watchdog("clock", on_hang, pulse=self._pulse)
        self._metrics = clock_metrics()
        self._alarming = Alarming(url, schema, hooks, log)
        self._lookout = Lookout(self._alarming)
        self._wakeup = Wakeup()
        self._stopping = False
        self._failures = 0
        self._surprises = 0
        self._lived = False
        self.state = "starting"
        self.epoch: int | None = None

    def stop(self) -> None:
        """Have `run()` resign and return; callable from any thread and from signal handlers, so it takes no lock."""
        self._stopping = True
        self._wakeup.wake()

    def run(self) -> None:
        """Follow and lead until stopped; a lost database is retried for ever. Raises Refused behind a pooler."""
        self._watchdog.start()
        try:
            self._live_again_and_again()
        finally:
            self._watchdog.stop()
            self._alarming.stop()
            self.close()

    def close(self) -> None:
        """Free what it holds, also when it has never run."""
        self._wakeup.close()

    def _live_again_and_again(self) -> None:
        while not self._stopping:
            try:
                self._live()
            except TermOver as over:
                log.warning("no longer the leader: %s", over)
            except CONNECTION_LOST as error:
                self._report("the clock lost the database and tries again", error)
            except Refused:
                raise
            except Exception:
                if not self._lived:
                    raise
                self._surprises += 1
                log.exception("the clock met an unexpected error and begins again")
            self.state, self.epoch = "starting", None
            if not self._stopping:
                self._pulse.say("waiting for the database")
                self._watchdog.enter("waiting to try again")
                # An error of our own may come with every term: others shall have the time to lead.
                self._wakeup.wait(
                    backoff(self._surprises, SURPRISED_LIMIT)
                    if self._surprises
                    else backoff(self._failures, RETRY_LIMIT)
                )

    def _report(self, what: str, error: Exception) -> None:
        if self._failures == 0:
            log.warning("%s: %s", what, " ".join(str(error).split()))
        self._failures += 1

    def _live(self) -> None:
        """One life on one connection: stand by, lead, and leave in order."""
        self._watchdog.enter("connecting to the database", CONNECT_MAY_TAKE)
        session = leadership.connect_direct(
            self._url, self._schema, "clock", allow_session_pooler=self._allow_session_pooler
        )
        try:
            self._watchdog.enter("entering the list of processes")
            self._lookout.begin()
            listen(session)
            process_id = processes.register(
                session, "clock", pid=os.getpid(), host=socket.gethostname(), code_version=__version__,
                token=os.environ.get(processes.TOKEN_VARIABLE),
            )  # fmt: skip
            self._failures, self._lived = 0, True
            if self._stand_by(session, process_id):
                self._lead(session, process_id)
            else:
                processes.leave(session, process_id)
        finally:
            session.close()

    def _stand_by(self, session: Session, process_id: int) -> bool:
        """Try for the lock until it is ours; False when stopped before."""
        next_beat, look_closely_until = time.monotonic() + BEAT_EVERY, 0.0
        while not self._stopping:
            self._watchdog.enter("standing by")
            self._pulse.reach()
            self._lookout.look_if_due(session)
            trusted = not self._lookout.skew.refuses
            if trusted and leadership.try_lock(session):
                return True
            if self.state != "standby":
                self.state = "standby"
                self._pulse.say("standing by")
                log.info("standing by: %s", _who_leads(session) if trusted else "this machine's clock is not trusted")
            if time.monotonic() >= next_beat:
                processes.beat(session, process_id, skew=self._lookout.skew.seconds)
                next_beat = time.monotonic() + BEAT_EVERY
            closely = time.monotonic() < look_closely_until
            pause = TRY_AFTER_RESIGNATION if closely else TRY_EVERY * random.uniform(0.8, 1.0)  # noqa: S311
            if self._resigns_within(session, pause):
                look_closely_until = time.monotonic() + RESIGNATION_LASTS
        return False

    def _resigns_within(self, session: Session, seconds: float) -> bool:
        """Wait so long, or until the leader resigns; whatever else is told is no reason to try for the lock."""
        deadline = time.monotonic() + seconds
        while not self._stopping:
            # Hear before waiting: what came along with the answer to a query does not show on the socket any more.
            if "resigned" in hear(session):
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._wakeup.wait(left, session.conn.fileno())
        return False

    def _lead(self, session: Session, process_id: int) -> None:
        self._watchdog.enter("beginning a term")
        epoch = leadership.elect(session, process_id)
        leadership.wait_briefly(session)
        self.epoch, self.state = epoch, "leading"
        self._pulse.say("leading")
        log.info("leading: term %s", epoch, extra={"epoch": epoch})
        self._lookout.calm()
        leader = Leader(session, epoch, process_id, self._lookout.skew, self._metrics)
        self._alarming.lead(True)
        if self._metrics is not None:
            self._metrics.term()
        partition_keeper = PartitionKeeper(self._url, self._schema, self._keep)
        partition_keeper.start()
        steady_at = time.monotonic() + STEADY_AFTER
        try:
            while not self._stopping:
                if time.monotonic() > steady_at:
                    self._surprises = 0
                self._sleep(session, leader, self._turn(leader))
            self._resign(session, epoch, process_id)
        except Untrusted:
            self._resign(session, epoch, process_id)
            raise
        finally:
            self._alarming.lead(False)
            partition_keeper.stop()

    def _resign(self, session: Session, epoch: int, process_id: int) -> None:
        self._watchdog.enter("resigning")
        self._pulse.say("stopping")
        processes.leave(session, process_id)
        leadership.resign(session, epoch)
        log.info("resigned: term %s", epoch)

    def _turn(self, leader: Leader) -> float:
        self._watchdog.enter("a turn of the leader")
        try:
            seconds = leader.turn()
        except TRY_AGAIN as error:
            log.info("a turn has to be repeated: %s", " ".join(str(error).split()))
            return RETRY_TURN_AFTER
        self._pulse.reach()
        return seconds

    def _sleep(self, session: Session, leader: Leader, seconds: float) -> None:
        """Sleep for so long, or until a notification or a stop that is a reason to turn."""
        self._watchdog.enter("asleep", seconds)
        deadline = time.monotonic() + seconds
        while not self._stopping:
            heard = [leader.hear(payload) for payload in hear(session)]
            if any(heard):
                return
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._wakeup.wait(left, session.conn.fileno())


def _who_leads(session: Session) -> str:
    """Whose the lock is, in words; it is nobody's when it came free in between."""
    holder = leadership.holder(session)
    return f"{describe(holder)} holds the lock" if holder else "the leader has just left"
