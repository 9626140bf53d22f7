"""What a worker does in the leader's place, and from when on."""

from __future__ import annotations

import logging
import time

import pytest

from conftest import Database
from pqclock.alarming import Alarming
from pqclock.store import leadership, processes
from pqclock.worker.deputy import Deputy


class Noted(Alarming):
    """Alarms of which only is noted that somebody was to judge."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.url, "pqclock", {}, logging.getLogger("pqclock.test"))
        self.asked = 0

    def stand_in(self) -> None:
        self.asked += 1


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds by which the machine's monotonic clock is ahead of what it is."""
    seconds, monotonic = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + seconds[0])
    return seconds


def test_promises_are_judged_after_the_silence_was_listened_to(database: Database, ahead: list[float]) -> None:
    alarming = Noted(database)
    deputy = Deputy(alarming)
    # As after a stop of everything: the leader will be here in a moment.
    deputy.begin()
    deputy.look(database.session)
    ahead[0] = 9.0
    deputy.look(database.session)
    assert alarming.asked == 0
    ahead[0] = 10.5
    deputy.look(database.session)
    assert alarming.asked == 1
    # As after an outage of the database.
    deputy.begin()
    deputy.look(database.session)
    assert alarming.asked == 1


def test_nobody_judges_in_the_place_of_a_leader_who_beats(database: Database, ahead: list[float]) -> None:
    alarming = Noted(database)
    deputy = Deputy(alarming)
    deputy.begin()
    ahead[0] = 20.0
    clock = processes.register(database.session, "clock", pid=1, host="box", code_version="1")
    leadership.elect(database.session, clock)
    deputy.look(database.session)
    assert alarming.asked == 0
