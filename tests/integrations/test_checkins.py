"""Check-ins of real runs, at a server that notes what it is sent, and through the real SDK of Sentry."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from conftest import Database
from faces.test_alarm_hooks import Listener
from pqclock import ArgumentError, Cancel, Retry, Snooze, current_job
from pqclock.clock.planner import Planner
from pqclock.integrations.healthchecks import healthchecks
from pqclock.integrations.sentry import sentry
from pqclock.rules.monitors import MARGIN, in_units, is_common, monitored, slug_of
from pqclock.rules.schedule import Schedule
from pqclock.store import jobs, leadership, processes, schedules
from processes.fleet import eventually
from worker.bench import Bench


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()
    yield found
    found.close()


class Ticking:
    """Schedules of a bench's app that tick now."""

    def __init__(self, bench: Bench, database: Database) -> None:
        self._bench, self._session = bench, database.session
        process_id = processes.register(self._session, "clock", pid=1, host="box", code_version="1")
        self._planner = Planner(self._session, leadership.elect(self._session, process_id))

    def tick(self, key: str, task: str, **fields: Any) -> None:
        """Put a schedule that ticks each second, and have one tick run."""
        self._bench.app.schedules.put(key, task=task, every="1s", **fields)

        def ticked() -> bool:
            now = schedules.database_now(self._session)
            self._planner.step(now)
            return jobs.promote(self._session, 1).promoted > 0

        eventually(ticked)
        self._bench.app.schedules.remove(key)


@pytest.fixture
def ticking(bench: Bench, database: Database) -> Ticking:
    return Ticking(bench, database)


@pytest.fixture
def tasks(bench: Bench) -> None:
    @bench.app.task("good")
    def good() -> None: ...

    @bench.app.task("bad", retry=Retry(max_attempts=2, base="0s"))
    def bad() -> None:
        raise ValueError("no money")

    @bench.app.task("wished")
    async def wished() -> None:
        raise Cancel("nothing to do")

    @bench.app.task("sleepy")
    def sleepy() -> None:
        if current_job().max_attempts and not seen:
            seen.append(1)
            raise Snooze("1ms")

    seen: list[int] = []


def pings(listener: Listener) -> list[str]:
    return [urlsplit(path).path for path, _ in listener.heard]


@pytest.mark.parametrize(
    ("task", "heard"),
    [
        ("good", ["/key/my-job/start", "/key/my-job"]),
        ("bad", ["/key/my-job/start", "/key/my-job/start", "/key/my-job/fail"]),
        ("wished", ["/key/my-job/start", "/key/my-job"]),
        ("sleepy", ["/key/my-job/start", "/key/my-job/start", "/key/my-job"]),
    ],
)
@pytest.mark.usefixtures("tasks")
def test_a_check_is_pinged(task: str, heard: list[str], bench: Bench, ticking: Ticking, listener: Listener) -> None:
    healthchecks(bench.app, f"http://{listener.host}/key/")
    ticking.tick("my.job", task)
    bench.app.tasks[task].using().enqueue()
    bench.start("*:1")
    eventually(lambda: len(listener.heard) >= len(heard))
    assert pings(listener) == heard
    asked = [parse_qs(urlsplit(path).query) for path, _ in listener.heard]
    assert len({one["rid"][0] for one in asked}) == 1 and {one["create"][0] for one in asked} == {"1"}
    assert "no money" in listener.heard[-1][1] if task == "bad" else not listener.heard[-1][1]


@pytest.mark.usefixtures("tasks")
def test_with_the_key_of_the_api_checks_are_kept_as_schedules_say(
    bench: Bench, ticking: Ticking, listener: Listener
) -> None:
    url = f"http://{listener.host}"
    healthchecks(bench.app, f"{url}/key", api_key="secret", api_url=f"{url}/api/v3", schedules=["often"])
    ticking.tick("often", "good", alert_after="2m", timeout="30m")
    ticking.tick("other", "good")
    # What is asked for is the present definition: of one that is removed nothing is known any more.
    bench.app.schedules.put("often", task="good", every="1d", alert_after="2m", timeout="30m")
    bench.start("*:1")
    eventually(lambda: len(listener.heard) == 3)
    assert pings(listener) == ["/api/v3/checks/", "/key/often/start", "/key/often"]
    assert json.loads(listener.heard[0][1]) == {
        "name": "often", "slug": "often", "tags": "pqclock", "grace": 1800, "unique": ["slug"], "timeout": 86_400,
    }  # fmt: skip


@pytest.mark.usefixtures("tasks")
def test_a_service_that_is_away_fails_no_job(
    bench: Bench, ticking: Ticking, listener: Listener, caplog: pytest.LogCaptureFixture, database: Database
) -> None:
    caplog.set_level(logging.WARNING)
    listener.status = 500
    healthchecks(bench.app, f"http://{listener.host}/key")
    ticking.tick("job", "good")
    bench.start("*:1")
    eventually(lambda: caplog.text.count("was not sent: HTTP Error 500") == 2)
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.jobs WHERE state = 'succeeded'") == 1)


class Sent(Transport):
    """Keeps the check-ins."""

    def __init__(self) -> None:
        super().__init__()
        self.checked: list[Any] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.checked += [item.payload.json for item in envelope.items if item.type == "check_in"]


@pytest.fixture
def sent() -> Iterator[Sent]:
    transport = Sent()
    sentry_sdk.init("https://key@sentry.invalid/1", transport=transport, default_integrations=False)
    yield transport
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


@pytest.mark.parametrize(
    ("task", "statuses"), [("good", ["in_progress", "ok"]), ("bad", ["in_progress", "in_progress", "error"])]
)
@pytest.mark.usefixtures("tasks")
def test_a_monitor_of_sentry_is_checked_in_with_the_schedule(
    task: str, statuses: list[str], bench: Bench, ticking: Ticking, sent: Sent
) -> None:
    sentry(bench.app, monitors=["job*"])
    ticking.tick("job", task)
    bench.app.schedules.put(
        "job", task=task, cron="0 2 * * *", timezone="Europe/Berlin", alert_after="90s", timeout="1h"
    )
    bench.start("*:1")
    eventually(lambda: len(sent.checked) == len(statuses))
    assert [one["status"] for one in sent.checked] == statuses
    assert {one["monitor_slug"] for one in sent.checked} == {"job"} and len(
        {o["check_in_id"] for o in sent.checked}
    ) == 1
    assert sent.checked[0]["monitor_config"] == {
        "schedule": {"type": "crontab", "value": "0 2 * * *"}, "timezone": "Europe/Berlin", "checkin_margin": 2,
        "max_runtime": 60,
    }  # fmt: skip


def test_addresses_that_are_none_are_refused(bench: Bench) -> None:
    with pytest.raises(ArgumentError, match="must be an http or https URL"):
        healthchecks(bench.app, "hc-ping.com/key")


@pytest.mark.parametrize(
    ("cron", "common"),
    [
        ("0 2 * * *", True), ("*/15 8-18 1,15 jan-mar mon-fri", True), ("0 0 L * *", False), ("0 0 * * 5#2", False),
        ("0 0 15W * *", False), ("0 0 * * friL", False), ("H 2 * * *", False), ("0 0 2 * * *", False), ("@daily", False),
        ("0 0 ? * *", False), ("0 0 * * thu", True),
    ],
)  # fmt: skip
def test_what_every_cron_reads_alike(cron: str, common: bool) -> None:
    assert is_common(cron) is common


def test_what_monitors_are_told() -> None:
    told = monitored(Schedule("a", "t", every=timedelta(hours=36), spread=timedelta(minutes=1)))
    assert told is not None and told.margin == MARGIN + timedelta(minutes=1)
    assert in_units(timedelta(hours=36)) == (36, "hour") and in_units(timedelta(days=2)) == (2, "day")
    assert in_units(timedelta(seconds=90)) is None
    assert monitored(Schedule("a", "t", cron="0 0 L * *")) is None
    assert slug_of("billing.eu-1_x") == "billing-eu-1_x"
