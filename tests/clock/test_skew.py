"""A machine whose clock is off: told, then refused the lead; measured by round trips."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from pqclock import loop
from pqclock.alarms import Told
from pqclock.clock import leader as leader_module
from pqclock.clock import lookout
from pqclock.clock.clock import Clock
from pqclock.clock.skew import Skew
from processes.fleet import eventually
from store.samples import NOW

if TYPE_CHECKING:
    from conftest import Database

LEADING = "SELECT count(*) FROM pqclock.leader WHERE process_id IS NOT NULL"


class Machine:
    """A skew whose machine is so many seconds ahead, and what was said of it."""

    def __init__(self) -> None:
        self.warned: list[Told] = []
        self.refused: list[Told] = []
        self.skew = Skew(self.warned.append, self.refused.append)

    def ahead(self, seconds: float, trip: float = 0.0) -> None:
        """Measure with a round trip, in whose middle the database has told its time."""
        self.skew.measure(NOW, NOW + timedelta(seconds=seconds + trip / 2), 100.0, 100.0 + trip)


@pytest.mark.parametrize("seconds", [0.0, 0.4, -0.4])
def test_a_small_difference_is_nothing(seconds: float) -> None:
    machine = Machine()
    machine.ahead(seconds)
    assert machine.skew.seconds == pytest.approx(seconds)
    assert (machine.warned, machine.refused, machine.skew.refuses) == ([], [], False)


@pytest.mark.parametrize(("seconds", "words"), [(2.5, "2.5 s ahead of"), (-2.5, "2.5 s behind")])
def test_more_than_half_a_second_is_a_warning_once_with_both_times(seconds: float, words: str) -> None:
    machine = Machine()
    for _ in range(3):
        machine.ahead(seconds)
    assert [told.state for told in machine.warned] == ["raised"]
    message = machine.warned[0].message
    assert words in message and "NTP" in message and "2026-11-22 12:00:00.000000 UTC there" in message
    assert not machine.skew.refuses
    machine.ahead(0.3)
    assert [told.state for told in machine.warned] == ["raised"]
    machine.ahead(0.1)
    assert [told.state for told in machine.warned] == ["raised", "over"]


@pytest.mark.parametrize("seconds", [31.0, -31.0])
def test_more_than_thirty_seconds_is_a_refusal_until_it_is_half_of_that(seconds: float) -> None:
    machine = Machine()
    machine.ahead(seconds)
    assert machine.skew.refuses and "does not lead" in machine.refused[0].message
    machine.ahead(20.0)
    assert machine.skew.refuses
    machine.ahead(14.0)
    assert not machine.skew.refuses
    assert [told.state for told in machine.refused] == ["raised", "over"]
    assert [told.state for told in machine.warned] == ["raised"]


def test_the_round_trip_is_taken_off_and_a_long_one_says_nothing() -> None:
    machine = Machine()
    machine.ahead(0.0, trip=0.9)
    assert machine.skew.seconds == pytest.approx(0.0)
    machine.ahead(3600.0, trip=1.1)
    assert machine.skew.seconds == pytest.approx(0.0)
    assert not machine.skew.refuses


@contextmanager
def running(clock: Clock) -> Iterator[None]:
    """A clock in a thread, which has ended at the end."""
    thread = threading.Thread(target=clock.run)
    thread.start()
    try:
        yield
    finally:
        clock.stop()
        thread.join(10)
        assert not thread.is_alive()


def test_a_clock_that_is_far_off_does_not_lead_and_one_that_leads_resigns(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    off = [timedelta(seconds=45)]
    right = loop.now
    monkeypatch.setattr(loop, "now", lambda: right() + off[0])
    monkeypatch.setattr(lookout, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(leader_module, "BEAT_EVERY", 0.05)
    caplog.set_level("INFO")
    clock = Clock(database.url)
    with running(clock):
        eventually(lambda: database.value("SELECT max(skew) FROM pqclock.process"))
        assert clock.state == "standby"
        assert database.value(LEADING) == 0
        assert "this machine's clock is 45.0 s ahead" in caplog.text
        off[0] = timedelta()
        eventually(lambda: clock.state == "leading")
        off[0] = -timedelta(hours=1)
        eventually(lambda: database.value(LEADING) == 0)
        assert "3600.0 s behind" in caplog.text
        eventually(lambda: "resigned: term 1" in caplog.text and clock.state == "standby")
        off[0] = timedelta()
        eventually(lambda: database.value(LEADING) == 1)
        eventually(lambda: clock.epoch == 2)  # the row is there before the clock has read of it


def test_the_skew_of_each_clock_is_in_the_list_of_processes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = loop.now
    monkeypatch.setattr(loop, "now", lambda: right() + timedelta(seconds=3))
    with running(Clock(database.url)):
        eventually(lambda: database.value("SELECT round(max(skew)) = 3 FROM pqclock.process"))
