"""Who holds the leader's lock, as a standby sees it: who is named, who is ended, and who is left alone."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psycopg
import pytest

from pqclock.alarms import LATE
from pqclock.clock import lookout
from pqclock.clock.applier import apply
from pqclock.clock.lookout import Lookout
from pqclock.clock.planner import Planner
from pqclock.rules.schedule import Schedule
from pqclock.store import leadership, schedules
from pqclock.store.database import Session, connect
from processes.fleet import eventually
from store.samples import DAY, MINUTE, NOW, SECOND

if TYPE_CHECKING:
    from conftest import Database

BEAT = "UPDATE pqclock.leader SET beat_at = clock_timestamp() + %s::interval"


class Watch:
    """A standby's eyes, with a session that it may lose, and a clock that is told."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.lookout = Lookout()

    def judge(self, at: float) -> str | None:
        """What the standby has to say at a monotonic time."""
        session = self.database.session
        return self.lookout.judge(session, leadership.holder(session), leadership.pulse(session, LATE), at)


@pytest.fixture
def watch(database: Database) -> Watch:
    return Watch(database)


@pytest.fixture
def other_role(database: Database, server_url: str) -> Iterator[str]:
    """The address of the database for another role, which may lead."""
    name = f"pqclock_test_{uuid.uuid4().hex[:12]}"
    admin = database.session.conn
    admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'".encode())
    admin.execute(f"GRANT ALL ON SCHEMA pqclock TO {name}".encode())
    admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA pqclock TO {name}".encode())
    yield psycopg.conninfo.make_conninfo(database.url, user=name, password="x")
    eventually(lambda: not database.rows("SELECT 1 FROM pg_stat_activity WHERE usename = %s", name))
    admin.execute(f"DROP OWNED BY {name}".encode())
    admin.execute(f"DROP ROLE {name}".encode())


def a_holder(url: str, role: str = "clock", *, elected: bool = False) -> Session:
    """A session with the lock in hand."""
    session = connect(url, "pqclock", role)
    assert leadership.try_lock(session)
    if elected:
        leadership.elect(session, 1)
    return session


def is_alive(database: Database, holder: Session) -> bool:
    return bool(database.rows("SELECT 1 FROM pg_stat_activity WHERE pid = %s", holder.conn.info.backend_pid))


def test_a_session_that_is_no_clock_is_named_with_the_way_out(database: Database, watch: Watch) -> None:
    stranger = connect(database.url, "pqclock", "report")
    assert leadership.try_lock(stranger)
    pid = stranger.conn.info.backend_pid
    found = watch.judge(0.0)
    assert found is not None
    for part in (
        "no clock", f"server process {pid}", f"role {stranger.conn.info.user}", "'pqclock report'", "connected from",
        "since 20", "idle since", f"SELECT pg_terminate_backend({pid})",
    ):  # fmt: skip
        assert part in found
    assert all(watch.judge(float(at)) for at in range(1, 20))
    assert is_alive(database, stranger)
    stranger.close()
    assert eventually(lambda: leadership.holder(database.session) is None)
    assert watch.judge(20.0) is None


def test_the_alarm_is_in_the_log_once_a_minute_and_called_off(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lookout, "LOOK_EVERY", 0.0)
    caplog.set_level("INFO")
    stranger = a_holder(database.url, "report")
    eyes = Lookout()
    for _ in range(5):
        eyes.look_if_due(database.session)
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1 and "pg_terminate_backend" in errors[0].message
    stranger.close()
    eventually(lambda: leadership.holder(database.session) is None)
    eyes.look_if_due(database.session)
    assert "is over after" in caplog.records[-1].message


def test_a_leader_that_beats_is_left_alone_whatever_the_databases_clock_says(database: Database, watch: Watch) -> None:
    leader = a_holder(database.url, elected=True)
    for at in range(0, 120, 2):
        step = "-1 hour" if at < 40 else "1 hour" if at < 80 else "0"
        database.session.conn.execute(BEAT.encode(), [step])
        assert watch.judge(float(at)) is None
        assert watch.judge(at + 1.0) is None
    assert is_alive(database, leader)
    leader.close()


@pytest.mark.parametrize("step", ["0", "1 hour"])
def test_a_leader_that_has_not_beaten_for_six_seconds_is_ended(database: Database, watch: Watch, step: str) -> None:
    leader = a_holder(database.url, elected=True)
    database.session.conn.execute(BEAT.encode(), [step])
    for at in range(7):
        assert watch.judge(float(at)) is None
    assert is_alive(database, leader)
    found = watch.judge(7.0)
    assert found is not None and "has not beaten for 7 s" in found and "is ended now" in found
    assert eventually(lambda: not is_alive(database, leader))
    leader.close()


def test_a_standby_that_comes_late_takes_the_databases_word_after_three_seconds(
    database: Database, watch: Watch
) -> None:
    leader = a_holder(database.url, elected=True)
    database.session.conn.execute(BEAT.encode(), ["-1 minute"])
    assert [watch.judge(at) for at in (0.0, 1.0, 2.0)] == [None] * 3
    found = watch.judge(3.0)
    assert found is not None and "has not beaten for 60 s" in found
    leader.close()


def test_after_a_lost_connection_the_watch_begins_anew(database: Database, watch: Watch) -> None:
    """In an outage nobody could beat."""
    leader = a_holder(database.url, elected=True)
    assert [watch.judge(float(at)) for at in range(6)] == [None] * 6
    watch.lookout.begin()
    assert [watch.judge(float(at)) for at in range(300, 306)] == [None] * 6
    assert is_alive(database, leader)
    assert watch.judge(308.0) is not None
    leader.close()


def test_one_that_has_just_won_is_not_ended_for_the_beat_of_the_one_before(database: Database, watch: Watch) -> None:
    first = a_holder(database.url, elected=True)
    database.session.conn.execute(BEAT.encode(), ["-1 hour"])
    assert [watch.judge(at) for at in (0.0, 1.0, 2.0)] == [None] * 3
    first.close()
    eventually(lambda: leadership.holder(database.session) is None)
    second = a_holder(database.url)
    assert [watch.judge(at) for at in (3.0, 4.0, 5.0)] == [None] * 3
    leadership.elect(second, 2)
    assert [watch.judge(at) for at in (6.0, 7.0, 8.0)] == [None] * 3
    assert is_alive(database, second)
    second.close()


def test_who_beats_after_it_was_looked_at_is_not_ended(database: Database) -> None:
    leader = a_holder(database.url, elected=True)
    holder, seen = leadership.holder(database.session), leadership.pulse(database.session, LATE)
    assert holder is not None
    assert leadership.beat(leader, seen.epoch) is not None
    assert not leadership.terminate(database.session, holder, seen)
    assert is_alive(database, leader)
    leader.close()


def test_a_leader_of_another_role_is_right_while_it_beats_and_is_named_and_not_ended_when_it_does_not(
    database: Database, watch: Watch, other_role: str
) -> None:
    leader = a_holder(other_role, elected=True)
    assert [watch.judge(at) for at in (0.0, 1.0, 2.0, 3.0)] == [None] * 4
    found = [watch.judge(float(at)) for at in range(4, 10)][-1]
    assert found is not None and "has not beaten for 9 s" in found and "pg_terminate_backend" in found
    assert is_alive(database, leader)
    leader.close()


def test_a_clock_of_another_role_that_is_not_elected_is_named_soon(
    database: Database, watch: Watch, other_role: str
) -> None:
    stranger = a_holder(other_role)
    assert watch.judge(0.0) is None
    found = watch.judge(1.0)
    assert found is not None and "another role" in found
    stranger.close()


def test_what_a_plain_role_may_not_see_is_said_to_be_unknown(database: Database, other_role: str) -> None:
    stranger = a_holder(database.url, "report")
    plain = connect(other_role, "pqclock", "clock")
    holder = leadership.holder(plain)
    assert holder is not None
    words = lookout.describe(holder)
    assert f"server process {stranger.conn.info.backend_pid}" in words and "this role may not see" in words
    plain.close()
    stranger.close()


def test_a_schedule_that_is_planned_late_is_seen_until_it_is_planned(database: Database) -> None:
    now = schedules.database_now(database.session)
    often, daily = (
        Schedule("often", "mail", cron="* * * * * *"),
        Schedule("daily", "mail", every=DAY, start=NOW + 400 * DAY),
    )
    apply(database.session, "default", "1", [often, daily], explicit=True, now=now - MINUTE)
    seen = leadership.pulse(database.session, LATE)
    assert (seen.waiting_key, seen.schedules) == ("often", True)
    assert seen.waits_since is not None
    assert abs(seen.waits_since - (now - MINUTE)) <= SECOND
    assert leadership.pulse(database.session, 2 * MINUTE).waits_since is None
    planner = Planner(database.session, leadership.elect(database.session, 1))
    while planner.step(now).more:
        pass
    assert leadership.pulse(database.session, LATE).waits_since is None
