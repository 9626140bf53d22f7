"""One schedule that cannot be written does not hold up the others, nor for ever itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pqclock.clock.applier import apply
from pqclock.clock.aside import LONGEST_PAUSE
from pqclock.clock.planner import Planner
from pqclock.rules.schedule import Schedule
from pqclock.store import leadership
from store.samples import HOUR, MINUTE, NOW, SECOND

if TYPE_CHECKING:
    from conftest import Database

KEYS = [f"k-{n:02}" for n in range(40)]
PLANNED = """SELECT count(DISTINCT s.key)::int FROM pqclock.tick AS t JOIN pqclock.schedule AS s ON s.id = t.schedule_id
             WHERE t.outcome = 'inserted'"""


def put(database: Database, **more: object) -> Planner:
    """Forty schedules, and a planner in office that waits as briefly as a leader does."""
    schedules = [Schedule(key, "mail", cron="* * * * *", **more) for key in KEYS]  # type: ignore[arg-type]
    apply(database.session, "default", "1", schedules, explicit=True, now=NOW)
    planner = Planner(database.session, leadership.elect(database.session, 1, NOW))
    leadership.wait_briefly(database.session)
    return planner


def planned(planner: Planner, now: object = NOW) -> int:
    """How many steps it takes until nothing more is to be done."""
    for steps in range(1, 200):
        if not planner.step(now).more:  # type: ignore[arg-type]
            return steps
    raise AssertionError("the planner does not come to rest")


@pytest.mark.parametrize(
    "definition",
    [
        """ || '{"queue": "no queue"}'""",
        """ || '{"priority": 99999}'""",
        """ || '{"args": {"n": "{nothing}"}}'""",
        """ || '{"max_attempts": 0}'""",
        """ || '{"cron": 7}'""",
        """ || '{"labels": 7}'""",
    ],
)
@pytest.mark.parametrize("overlap", ["allow", "skip"])
def test_a_definition_that_the_database_refuses_is_found_out_and_told_once(
    database: Database, caplog: pytest.LogCaptureFixture, definition: str, overlap: str
) -> None:
    planner = put(database, overlap=overlap)
    poison = f"UPDATE pqclock.schedule SET definition = definition {definition} WHERE key = 'k-17'"
    database.session.conn.execute(poison.encode())
    assert planned(planner, NOW + MINUTE) < 40
    assert database.value(PLANNED) == 39
    assert caplog.text.count("schedule k-17 cannot be planned until it is changed") == 1


def test_a_tick_that_somebody_holds_makes_only_its_schedule_wait(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    planner = put(database)
    other = database.connect()
    try:
        with other.transaction():
            other.conn.execute(
                """INSERT INTO pqclock.tick (schedule_id, tick, through, nominal, outcome, reason, origin, inserted_at)
                   SELECT id, %(tick)s, %(tick)s, %(tick)s, 'skipped', 'paused', 'clock', now()
                   FROM pqclock.schedule WHERE key = 'k-17'""",
                {"tick": NOW + MINUTE},
            )
            assert planned(planner) < 20
            assert database.value(PLANNED) == 39
            now = NOW
            for _ in range(6):
                again = planner.step(now).plan_again_at
                assert again is not None
                assert now <= again <= now + LONGEST_PAUSE
                now = max(again, now + SECOND)
            assert caplog.text.count("schedule k-17 has to wait") == 1
    finally:
        other.close()
    planned(planner, now + LONGEST_PAUSE)
    assert database.value("SELECT count(*) FROM pqclock.tick WHERE tick = %s", NOW + MINUTE) == 40


def test_missed_ticks_that_somebody_holds_make_only_their_schedule_wait(database: Database) -> None:
    planner = put(database)
    planned(planner)
    late = NOW + HOUR
    other = database.connect()
    try:
        with other.transaction():
            other.conn.execute(
                """INSERT INTO pqclock.tick (schedule_id, tick, through, nominal, outcome, reason, origin, inserted_at)
                   SELECT id, %(tick)s, %(tick)s, %(tick)s, 'skipped', 'paused', 'clock', now()
                   FROM pqclock.schedule WHERE key = 'k-17'""",
                {"tick": late - 2 * MINUTE},
            )
            planned(planner, late)
            assert database.value("SELECT count(*) FROM pqclock.owed") == 1
    finally:
        other.close()
    planned(planner, late + LONGEST_PAUSE)
    assert database.value("SELECT count(*) FROM pqclock.owed") == 0
