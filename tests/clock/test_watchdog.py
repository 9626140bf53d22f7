"""When the watchdog bites; time is told, not passed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

from pqclock.watchdog import FAILED, Watchdog


def watched(limit: float = 10.0) -> tuple[Watchdog, list[str], float]:
    """A watchdog, what it says, and the time at which it was made."""
    said: list[str] = []
    return Watchdog("clock", said.append, limit), said, time.monotonic()


def test_a_loop_that_turns_is_left_alone_and_one_that_hangs_is_told_once() -> None:
    dog, said, begun = watched()
    dog.enter("a turn")
    for second in range(1, 11):
        dog.look(begun + second)
    assert said == []
    for second in range(11, 20):
        dog.look(begun + second)
    assert said == ["the loop of the clock hangs: it has not turned for 11 s, in: a turn"]


def test_a_step_may_be_given_more_time() -> None:
    dog, said, begun = watched()
    dog.enter("connecting", 50.0)
    for second in range(1, 60):
        dog.look(begun + second)
    assert said == []
    dog.look(begun + 61)
    assert "connecting" in said[0]


def test_a_process_that_was_frozen_as_a_whole_gets_its_time_anew() -> None:
    dog, said, begun = watched()
    dog.enter("asleep")
    dog.look(begun + 1)
    for second in range(3600, 3610):
        dog.look(begun + second)
    assert said == []
    dog.look(begun + 3611)
    assert len(said) == 1


def test_a_loop_that_is_done_is_not_watched() -> None:
    dog, said, begun = watched()
    dog.enter("a turn")
    dog.leave()
    for second in range(1, 30):
        dog.look(begun + second)
    assert said == []


def test_the_thread_looks_by_itself() -> None:
    bitten = threading.Event()
    dog = Watchdog("clock", lambda _: bitten.set(), limit=0.1)
    dog.enter("a turn")
    dog.start()
    assert bitten.wait(10)
    dog.stop()


HANGING = """
import logging, sys, threading
from pqclock import logs, watchdog
logs.set_up("json")
if sys.argv[1:] == ["locked"]:
    logging.getLogger("pqclock").handlers[0].acquire()
watchdog.LOOK_EVERY = 0.05
dog = watchdog.Watchdog("clock", watchdog.end_process, limit=0.2)
dog.enter("a turn of the leader")
dog.start()
threading.Event().wait(30)
"""


def test_the_process_ends_itself_and_says_where_it_hung() -> None:
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == FAILED
    assert "in: a turn of the leader: this process ends itself" in done.stderr
    assert "most recent call first" in done.stderr


def test_the_process_ends_itself_also_when_the_log_is_what_hangs() -> None:
    done = subprocess.run([sys.executable, "-c", HANGING, "locked"], capture_output=True, timeout=20, check=False)
    assert done.returncode == FAILED
