"""What a process does about alarms: judge promises when it is its turn, write down what it found, and tell the hooks.

Each process that sees silence writes it down; the database lets one of them begin the alarm, and one of them tell of it.
All of it takes time, which ticks and jobs do not have: it happens on a thread of its own, with a connection of its own for as
long as there is something to do.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence

from pqclock.alarm_hooks import ALIVE_EVERY, Hook, NotTold
from pqclock.alarms import LATE, Tell, Told, to_log
from pqclock.store import alarms, leadership
from pqclock.store.alarms import Change, Untold
from pqclock.store.database import CONNECTION_LOST, Session, connect

LOOK_EVERY = 5.0
# So long a new leader may take to catch up, and what waited meanwhile to begin: after a stop of everything, or an outage.
SETTLES_WITHIN = 10.0
AGAIN_AFTER = 5.0
# A little longer than somebody may take who has taken the news away.
UNTOLD_AGAIN_AFTER = 61.0
ENDS_WITHIN = 2.0
# What is told one by one; the rest of a minute in one sentence, and no more than one.
MOST_A_MINUTE = 20
MINUTE = 60.0


class Alarming:
    """Of one process, until `stop()`; its thread runs once there is something to do."""

    def __init__(self, url: str, schema: str, hooks: Mapping[str, Hook], log: logging.Logger) -> None:
        self._url = url
        self._schema = schema
        self._hooks = hooks
        self._log = log
        self._to_log = to_log(log)
        self._notes: deque[Told] = deque()
        self._told_to: set[tuple[str, int, bool, str]] = set()
        self._told_at: deque[float] = deque()
        self._woken = threading.Event()
        self._stopped = False
        self._leads = self._asked = self._complained = False
        self._thread: threading.Thread | None = None
        self._session: Session | None = None
        self._next_look = self._next_alive = self._judged_at = self._judges_from = 0.0
        self._summed_at = -MINUTE

    @property
    def tell(self) -> Tell:
        """For a dead man's switch: what it finds is logged here, and written down for all."""

        def tell(told: Told) -> None:
            self._to_log(told)
            self._notes.append(told)
            self._wake()

        return tell

    def lead(self, leads: bool) -> None:
        """Whether this process is the leader, who judges what was promised, and says that all is well."""
        self._leads, self._next_alive = leads, 0.0
        self._judges_from = time.monotonic() + SETTLES_WITHIN
        self._wake()

    def stand_in(self) -> None:
        """No leader judges: have it done here, when it is time to."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_EVERY
            self._asked = True
            self._wake()

    def stop(self) -> None:
        """Tell no more; waits a little for what is being told."""
        self._stopped = True
        self._woken.set()
        if self._thread is not None:
            self._thread.join(ENDS_WITHIN)

    def _wake(self) -> None:
        self._woken.set()
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._run, name="pqclock-alarms", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._stopped:
            self._woken.wait(self._turn())
            self._woken.clear()
        self._disconnect()

    def _turn(self) -> float | None:
        """Do what there is to do; gives the seconds until there may be more, None when somebody will say so."""
        try:
            self._session = self._session or connect(self._url, self._schema, "alarms")
            waits = self._work(self._session)
        except Exception as error:
            # Nobody would judge and tell any more, and nobody would know. A lost database is told of by others.
            level = logging.DEBUG if isinstance(error, CONNECTION_LOST) or self._complained else logging.WARNING
            self._log.log(level, "alarms have to wait: %s: %s", type(error).__name__, " ".join(str(error).split()))
            self._complained = self._complained or level == logging.WARNING
            self._disconnect()
            return AGAIN_AFTER
        self._complained = False
        if not self._leads:
            # It may be long until there is something again.
            self._disconnect()
        return min(waits, default=None)

    def _disconnect(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _work(self, session: Session) -> list[float]:
        while self._notes:
            _write(session, self._notes[0])
            self._notes.popleft()
        waits = []
        if self._leads or self._asked:
            self._asked = False
            self._judge(session)
            waits += [LOOK_EVERY] if self._leads else []
        if self._hooks:
            waits += [UNTOLD_AGAIN_AFTER] if self._tell_all(session) else []
            waits += [self._say_alive_if_due(session)] if self._leads else []
        return waits

    def _judge(self, session: Session) -> None:
        """Judge what was promised, as the leader or in its place."""
        self._judged_at = time.monotonic()
        seen = alarms.look(session)
        if self._leads:
            # Whoever raised these may be gone.
            if "silence" in seen.open:
                alarms.end(session, "silence", "")
            if "ledger" in seen.open and leadership.pulse(session, LATE).waits_since is None:
                alarms.end(session, "ledger", "")
            if self._judged_at < self._judges_from:
                return
        self._log_changes(alarms.judge_queues(session))
        more = seen.due
        while more and not self._stopped:
            changes, more = alarms.judge(session)
            self._log_changes(changes)

    def _log_changes(self, changes: Sequence[Change]) -> None:
        for change in changes[:MOST_A_MINUTE]:
            what = {"alarm": change.kind, "subject": change.subject}
            if change.message is None:
                self._log.info("is over: %s of %s", change.kind, change.subject, extra=what)
            else:
                self._log.error("%s", change.message, extra=what)
        if len(changes) > MOST_A_MINUTE:
            number = len(changes) - MOST_A_MINUTE
            self._log.error("and %s more alarms have begun or ended: see `pqclock status`", number)

    def _tell_all(self, session: Session) -> bool:
        """Tell what nobody else tells; True when some of it has to be told again."""
        failed = False
        while (news := self._claim(session)) is not None:
            self._told_at.append(time.monotonic())
            fault = self._tell_hooks(news, session)
            if fault is None or news.tries >= alarms.TRIES:
                alarms.told(session, news, fault)
            else:
                alarms.not_told(session, news, fault)
                failed = True
            if self._leads and time.monotonic() > self._judged_at + LOOK_EVERY:
                # Hooks may take their time.
                self._judge(session)
        # What had to wait for its minute is looked for again, too.
        return failed or self._budget() <= 0

    def _claim(self, session: Session) -> Untold | None:
        """What is to be told next: one piece at a time, so that none waits in vain behind a hook that takes long."""
        if self._budget() <= 0:
            if time.monotonic() < self._summed_at + MINUTE:
                return None
            self._summed_at = time.monotonic()
            return alarms.claim_rest(session)
        return next(iter(alarms.claim_untold(session, 1)), None)

    def _budget(self) -> int:
        """How much may be told one by one now: whoever hears of a thousand alarms hears of none."""
        while self._told_at and self._told_at[0] < time.monotonic() - MINUTE:
            self._told_at.popleft()
        return MOST_A_MINUTE - len(self._told_at)

    def _tell_hooks(self, news: Untold, session: Session) -> str | None:
        """Why one of them has not heard; None when all have, those of earlier tries too."""
        piece = (news.kind, news.id, news.ended_at is not None)
        fault = None
        for name, hook in self._hooks.items():
            if (*piece, name) in self._told_to:
                continue
            try:
                hook.tell(news, session)
            except NotTold as error:
                fault = f"{name}: {error}"
                last = ", for the last time" if news.tries >= alarms.TRIES else ""
                self._log.warning("%s did not hear of alarm %s%s: %s", name, news.id, last, error)
            else:
                self._told_to.add((*piece, name))
        if fault is None or news.tries >= alarms.TRIES:
            self._told_to = {one for one in self._told_to if one[:3] != piece}
        return fault

    def _say_alive_if_due(self, session: Session) -> float:
        left = self._next_alive - time.monotonic()
        if left > 0:
            return left
        self._next_alive = time.monotonic() + ALIVE_EVERY
        for name, hook in self._hooks.items() if not alarms.look(session).open else ():
            try:
                hook.alive()
            except NotTold as error:
                self._log.warning("%s did not hear that all is well: %s", name, error)
        return ALIVE_EVERY


def _write(session: Session, told: Told) -> None:
    if told.state == "over":
        alarms.end(session, told.alarm, "")
    else:
        alarms.begin(session, told.alarm, "", told.message)
