"""A clock that stands by: when it tries for the lock, and when it does not."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from conftest import Database
from pqclock.clock import clock as module
from pqclock.clock.clock import Clock
from pqclock.store import leadership, listening
from pqclock.store.database import Session
from processes.fleet import eventually


class Standby:
    """A clock beside a leader, in a thread: it tries when it must and never because time has passed."""

    def __init__(self, database: Database, patch: pytest.MonkeyPatch) -> None:
        self.tries = 0
        self.heard: list[str] = []
        self.before_a_try: Callable[[], None] = lambda: None
        self._database = database
        self._try_lock, self._hear = leadership.try_lock, listening.hear
        patch.setattr(module, "TRY_EVERY", 60.0)
        patch.setattr(module, "TRY_AFTER_RESIGNATION", 60.0)
        patch.setattr(leadership, "try_lock", self._tried)
        patch.setattr(module, "hear", self._listened)
        self.clock = Clock(database.url)
        self._thread = threading.Thread(target=self.clock.run)

    def __enter__(self) -> Standby:
        assert self._try_lock(self._database.session)
        self._thread.start()
        eventually(lambda: self.clock.state == "standby")
        return self

    def __exit__(self, *_: object) -> None:
        self.clock.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def tell(self, payload: str) -> None:
        """What somebody tells everybody."""
        self._database.session.conn.execute("SELECT pg_notify('pqclock', %s)", [payload])

    def _tried(self, session: Session) -> bool:
        self.tries += 1
        self.before_a_try()
        return self._try_lock(session)

    def _listened(self, session: Session) -> list[str]:
        payloads = self._hear(session)
        self.heard += payloads
        return payloads


def test_only_a_resignation_has_a_standby_try_before_its_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Standby(database, monkeypatch) as standby:
        for payload in ("ready default", "clock"):
            standby.tell(payload)
            eventually(lambda: payload in standby.heard)  # noqa: B023
        standby.tell("resigned")
        eventually(lambda: standby.tries > 1)
    assert standby.tries == 2


def test_a_resignation_that_comes_along_with_an_answer_is_heard(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Standby(database, monkeypatch) as standby:
        # The leader resigns while the standby asks for the lock: both are in one answer.
        standby.before_a_try = lambda: standby.tell("resigned") if standby.tries == 2 else None
        standby.tell("resigned")
        eventually(lambda: standby.tries >= 3, within=5)
