"""When an alarm speaks, and when the dead man's switch falls; time is told, not passed."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from pqclock.alarms import Alarm, DeadMansSwitch, Told, Unchanged, to_log
from pqclock.store.leadership import Pulse
from store.samples import HOUR, MINUTE, NOW, SECOND

LED = Pulse(
    now=NOW, epoch=3, beat_at=NOW, backend_pid=77, host="box", pid=5, schedules=True, waiting_key=None, waits_since=None
)


class Ears:
    """What was told, and of which alarm."""

    def __init__(self) -> None:
        self.told: list[Told] = []

    def __call__(self, told: Told) -> None:
        self.told.append(told)

    def states(self, alarm: str) -> list[str]:
        return [told.state for told in self.told if told.alarm == alarm]


def test_an_alarm_is_told_at_once_then_each_minute_and_when_it_is_over() -> None:
    ears = Ears()
    alarm = Alarm("silence", ears)
    alarm.look(None, 0.0)
    for second in range(10, 140):
        alarm.look(f"wrong at {second}", float(second))
    assert alarm.raised
    alarm.look(None, 140.0)
    alarm.look(None, 141.0)
    assert [(told.state, told.seconds, told.message) for told in ears.told] == [
        ("raised", 0.0, "wrong at 10"),
        ("lasts", 60.0, "wrong at 70"),
        ("lasts", 120.0, "wrong at 130"),
        ("over", 130.0, "wrong at 130"),
    ]
    alarm.look("again", 150.0)
    assert ears.told[-1].state == "raised"


def test_the_log_has_the_alarm_as_an_error_and_its_end_as_information(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    alarm = Alarm("silence", to_log(logging.getLogger("pqclock.test")))
    alarm.look("no clock leads", 1.0)
    alarm.look(None, 13.0)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "no clock leads"),
        ("INFO", "is over after 12s: no clock leads"),
    ]


def test_of_a_long_gap_between_looks_only_a_little_counts() -> None:
    unchanged: Unchanged[str] = Unchanged(gap=3.0)
    assert unchanged.seen("a", 0.0) == 0.0
    assert unchanged.seen("a", 2.0) == 2.0
    assert unchanged.seen("a", 3600.0) == 5.0
    assert unchanged.seen("b", 3601.0) == 0.0


def watched(switch: DeadMansSwitch, pulse: Pulse, seconds: range) -> None:
    """Look each second at a leader row that stays as it is, while the database's clock goes on."""
    for second in seconds:
        switch.look(replace(pulse, now=pulse.now + second * SECOND), float(second))


def test_a_beat_that_stays_as_it_is_for_ten_seconds_raises_the_alarm() -> None:
    ears = Ears()
    switch = DeadMansSwitch(ears)
    watched(switch, LED, range(11))
    assert ears.told == []
    watched(switch, LED, range(11, 13))
    assert ears.states("silence") == ["raised"]
    assert "no clock leads" in ears.told[0].message and "box:5, term 3" in ears.told[0].message
    assert "11 s ago" in ears.told[0].message
    switch.look(replace(LED, epoch=4), 13.0)
    assert ears.states("silence") == ["raised", "over"]


@pytest.mark.parametrize("offset", [-HOUR, HOUR, timedelta()])
def test_the_age_of_the_beat_by_the_databases_clock_is_no_matter(offset: timedelta) -> None:
    ears = Ears()
    switch = DeadMansSwitch(ears)
    for second in range(0, 60, 2):
        beat = NOW + offset + second * SECOND
        switch.look(replace(LED, now=NOW + second * SECOND, beat_at=beat), float(second))
    assert ears.told == []
    watched(switch, replace(LED, beat_at=NOW + offset), range(60, 80))
    assert ears.states("silence") == ["raised"]


def test_neither_a_start_nor_an_outage_is_a_silence() -> None:
    ears = Ears()
    switch = DeadMansSwitch(ears)
    old = replace(LED, beat_at=NOW - HOUR)
    watched(switch, old, range(9))
    switch.restart()
    watched(switch, old, range(300, 309))
    assert ears.told == []
    watched(switch, old, range(309, 313))
    assert ears.states("silence") == ["raised"]
    switch.restart()
    watched(switch, old, range(400, 403))
    assert ears.states("silence") == ["raised", "lasts"]


def test_where_nobody_ever_led_and_nothing_ticks_nobody_is_missed() -> None:
    ears = Ears()
    switch = DeadMansSwitch(ears)
    never = replace(LED, epoch=0, beat_at=None, pid=None, host=None, schedules=False)
    watched(switch, never, range(60))
    assert ears.told == []
    watched(switch, replace(never, schedules=True), range(60, 80))
    assert ears.states("silence") == ["raised"]
    assert "none ever has" in ears.told[0].message


def test_a_leader_that_beats_and_does_not_plan_raises_the_alarm_of_the_ledger() -> None:
    ears = Ears()
    switch = DeadMansSwitch(ears)
    for second in range(13):
        now = NOW + second * SECOND
        switch.look(replace(LED, now=now, beat_at=now, waiting_key="nightly", waits_since=NOW - MINUTE), float(second))
    assert ears.states("silence") == []
    assert ears.states("ledger") == ["raised"]
    assert "nightly" in ears.told[0].message and "71 s ago" in ears.told[0].message
    switch.look(replace(LED, beat_at=NOW + MINUTE), 14.0)
    assert ears.states("ledger") == ["raised", "over"]
