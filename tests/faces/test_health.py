"""Health as it is told: pulses, what follows from them, the words to systemd, the pages."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from pqclock import pulse as pulses
from pqclock.errors import SettingsError
from pqclock.health import Health, status, unready, unwell
from pqclock.marks import VARIABLE, Marks, MarksFile
from pqclock.pulse import BEGINS_WITHIN, LIMIT, READY_FOR, STATES, Pulse, Reading, read
from pqclock.settings import Settings
from pqclock.store.processes import TOKEN_VARIABLE
from pqclock.systemd import Notifier

TOKEN = "f" * 32


class Time:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(pulses, "time", clock)
    return clock


def test_a_loop_is_alive_while_it_turns_in_time(clock: Time) -> None:
    pulse = Pulse()
    pulse.turn(10.0)
    clock.at += LIMIT + 9
    assert pulse.read(0.0).alive
    clock.at += 4
    assert pulse.read(0.0).overdue == pytest.approx(3)
    pulse.turn()
    assert pulse.read(0.0).alive


def test_one_that_has_said_nothing_yet_has_its_time_to_begin(clock: Time) -> None:
    pulse = Pulse()
    assert pulse.read(began=clock.at) == Reading(0.0, False, "starting")
    assert not pulse.read(began=clock.at - BEGINS_WITHIN - 1).alive


def test_ready_is_who_has_reached_the_database_lately(clock: Time) -> None:
    pulse = Pulse()
    pulse.reach()
    assert pulse.read(clock.at).ready
    clock.at += READY_FOR + 1
    assert not pulse.read(clock.at).ready


def test_a_child_writes_what_its_supervisor_reads() -> None:
    page = MarksFile(TOKEN)
    marks = Marks.inherited({TOKEN_VARIABLE: TOKEN, VARIABLE: str(page.descriptor)})
    assert marks is not None
    child = Pulse.of(marks)
    began = time.monotonic()
    place = marks.begin(-1)
    assert read(page.pulse(), began) == Reading(0.0, False, "starting")
    for state in STATES:
        child.say(state)
        assert read(page.pulse(), began).state == state
    child.turn()
    child.reach()
    assert read(page.pulse(), began) == Reading(0.0, True, STATES[-1])
    assert page.begun() == [-1], "the pulse is no mark"
    marks.end(place)
    page.close()


WELL, SICK = Reading(0.0, True, "working"), Reading(3.0, False, "working")
AWAY = Reading(0.0, False, "waiting for the database")


@pytest.mark.parametrize(
    ("readings", "ill", "away"),
    [
        ({"clock": WELL, "worker 1": WELL}, [], []),
        ({"clock": WELL, "worker 1": SICK, "worker 2": WELL}, ["worker 1"], []),
        ({"clock": WELL, "worker 1": AWAY, "worker 2": AWAY}, [], ["worker"]),
        ({"clock": AWAY}, [], ["clock"]),
    ],
)
def test_what_follows(readings: dict[str, Reading], ill: list[str], away: list[str]) -> None:
    assert (unwell(readings), unready(readings)) == (ill, away)


def test_status_is_one_line() -> None:
    assert status({"clock": WELL, "worker 1": AWAY}) == "clock: working; worker 1: waiting for the database"


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(5)
        yield server


def test_systemd_hears_what_is_news(systemd: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier.from_environment(environment)
    assert not environment, "children do not speak for this process"
    assert notifier.watchdog == 3.0
    notifier.tell(alive=True, ready=False, status="starting")
    assert systemd.recv(999) == b"STATUS=starting\nWATCHDOG=1"
    notifier.tell(alive=True, ready=True, status="leading")
    assert systemd.recv(999) == b"READY=1\nSTATUS=leading\nWATCHDOG=1"
    notifier.tell(alive=False, ready=True, status="leading")
    notifier.stopping()
    assert systemd.recv(999) == b"STOPPING=1", "one that does not turn gives no sign of life"


def test_a_watchdog_of_another_process_is_none_of_ours() -> None:
    assert Notifier.from_environment({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}).watchdog is None
    assert not Notifier.from_environment({}).wanted


def test_systemd_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "gone")).tell(alive=True, ready=True, status="leading")


class Served:
    """A health that is served, and what it reads."""

    def __init__(self) -> None:
        self.readings = {"clock": WELL}
        self.health = Health(Settings(health="127.0.0.1:0"), "", lambda: self.readings, Notifier())
        self.health.start()

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        assert self.health.probes is not None
        connection = HTTPConnection("127.0.0.1", self.health.probes.endpoint.port, timeout=5)
        connection.request(method, path)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text


def hosted(port: int, *hosts: str) -> int:
    """The status for a request by these names."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    connection.putrequest("GET", "/livez", skip_host=True)
    for host in hosts:
        connection.putheader("Host", host)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.health.stop()


def test_pages(served: Served) -> None:
    assert served.ask("/livez") == served.ask("/readyz?verbose") == (200, "ok\n")
    assert served.ask("/livez", "HEAD") == (200, "")
    served.readings = {"clock": SICK}
    assert served.ask("/livez") == (503, "clock has not turned for too long\n")
    assert served.ask("/readyz") == (503, "no clock reaches the database\n")
    assert served.ask("/") == (404, "there is /livez, /readyz\n")
    assert served.ask("/livez", "POST")[0] == 501


def test_silent_callers_hold_nobody_up(served: Served) -> None:
    assert served.health.probes is not None
    address = ("127.0.0.1", served.health.probes.endpoint.port)
    silent = [socket.create_connection(address) for _ in range(20)]
    assert served.ask("/livez") == (200, "ok\n")
    for one in silent:
        one.close()


def test_a_port_that_is_taken_is_said_at_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(SettingsError, match=f"default: {taken} cannot be listened on .*: choose another"):
            Health(Settings(health=taken), "", dict, Notifier())


def test_health_is_told_to_nobody_who_comes_by_a_strange_name(served: Served) -> None:
    assert served.health.probes is not None
    port = served.health.probes.endpoint.port
    for known in ((), ("127.0.0.1:8081",), ("localhost",), ("[::1]:8081",), ("pqclock.default.svc:8081",)):
        assert hosted(port, *known) == 200, known
    for strange in (("evil.example",), ("evil.example:8081",), ("localhost", "evil.example"), ("127.0.0.1.nip.io",)):
        assert hosted(port, *strange) == 421, strange
