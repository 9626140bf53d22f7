"""What a worker hears from the database, and whether it hears at all: behind some poolers nothing arrives."""

from __future__ import annotations

import logging
import secrets
import time

from pqclock.store import listening
from pqclock.store.database import Session

log = logging.getLogger("pqclock.worker")

POLL_EVERY = 2.0
# How often it looks where nothing tells it when to.
POLL_ONLY_EVERY = 0.5
PROBE_WITHIN = 5.0


class Ear:
    """Listens on one session after the other, and finds out by a probe whether notifications arrive.

    With `poll_only` it does not even try. Either way it is only a matter of milliseconds: polling is the truth.
    """

    def __init__(self, *, poll_only: bool = False) -> None:
        self._poll_only = poll_only
        self._probe: str | None = None
        self._until = 0.0
        self._deaf = poll_only

    @property
    def poll_every(self) -> float:
        """How long to sleep at most, in seconds."""
        return POLL_ONLY_EVERY if self._deaf else POLL_EVERY

    def begin(self, session: Session) -> None:
        """Listen on a new session, and say something to oneself."""
        if self._poll_only:
            return
        listening.listen(session)
        self._probe, self._until = f"probe {secrets.token_hex(8)}", time.monotonic() + PROBE_WITHIN
        listening.say(session, self._probe)

    def hear(self, session: Session) -> list[str]:
        """What has arrived since the last call; never waits."""
        if self._poll_only:
            return []
        heard = listening.hear(session)
        if self._probe is not None:
            if self._probe in heard:
                self._probe, self._deaf = None, False
            elif time.monotonic() > self._until:
                self._probe = None
                self._give_up()
        return heard

    def _give_up(self) -> None:
        if not self._deaf:
            log.warning(
                "notifications do not arrive, as behind a pooler that shares sessions: this worker looks for jobs every "
                "%s s; give it a direct address, or say --poll-only to have no warning", POLL_ONLY_EVERY,
            )  # fmt: skip
        self._deaf = True


def cancelled_job(words: str, worker_id: int | None) -> int | None:
    """Which job of this worker is meant; None for what is not for it. Anybody may say anything on a channel."""
    told, _, job_id = words.partition(" ")
    return int(job_id) if told == str(worker_id) and job_id.isascii() and job_id.isdigit() else None
