"""Steps of the database's clock, forward and back, over whole turns of a leader: nothing is repeated, nothing floods.

The clock that the statements see is another one: a function of the same name in a schema that is searched before
pg_catalog, which adds an offset. The machine's clock goes along with it, else the leader would refuse to lead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import psycopg
import pytest

from conftest import Database
from pqclock import alarms, loop
from pqclock.clock.applier import apply
from pqclock.clock.leader import Leader, TermOver, Untrusted
from pqclock.clock.lookout import Lookout
from pqclock.rules.schedule import Schedule
from pqclock.store import leadership, processes, schedules
from pqclock.store.database import connect
from pqclock.store.standing_in import stand_in
from store.samples import HOUR, MINUTE, a_worker, claim

SHADOW = """
CREATE SCHEMA shadow;
CREATE TABLE shadow.step (by interval NOT NULL);
INSERT INTO shadow.step VALUES ('0');
CREATE FUNCTION shadow.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
AS 'SELECT pg_catalog.clock_timestamp() + (SELECT by FROM shadow.step)'
"""

DOUBLED = """
SELECT schedule_key, tick FROM pqclock.jobs WHERE tick IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1
UNION ALL SELECT schedule_key, tick FROM pqclock.ticks GROUP BY 1, 2 HAVING count(*) > 1
"""


class Stepped:
    """A database whose clock a test sets, and one leader on it."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database = database
        session = database.session
        session.conn.execute(SHADOW.encode())
        name = psycopg.conninfo.conninfo_to_dict(database.url)["dbname"]
        session.conn.execute(f'ALTER DATABASE "{name}" SET search_path = shadow, pg_catalog, public'.encode())
        self.session = connect(database.url, "pqclock", "clock")
        self.offset = timedelta()
        here = loop.now
        monkeypatch.setattr(loop, "now", lambda: here() + self.offset)
        self.process_id = processes.register(self.session, "clock", pid=1, host="box", code_version="1")
        self.leader = Leader(self.session, leadership.elect(self.session, self.process_id), self.process_id)

    def step(self, by: timedelta) -> None:
        """Set the clock forward or back."""
        self.offset += by
        self.session.conn.execute("UPDATE shadow.step SET by = %s", [self.offset])

    def now(self) -> datetime:
        return schedules.database_now(self.session)

    def put(self, *entries: Schedule) -> None:
        apply(self.session, "default", "1", entries, explicit=True)
        self.leader.hear("clock")

    def turn(self) -> float:
        """One turn, with a beat, which reads the clock."""
        self.leader._next_beat = 0.0
        return self.leader.turn()

    def turns(self) -> None:
        """Turn until there is nothing more to do at once."""
        self.turn()
        while self.leader.turn() == 0.0:
            pass

    def ticks(self, key: str, outcome: str = "inserted") -> int:
        counting = "SELECT coalesce(sum(count), 0)::int FROM pqclock.ticks WHERE schedule_key = %s AND outcome = %s"
        return int(str(self.database.value(counting, key, outcome)))

    def unaccounted(self, key: str, since: datetime, until: datetime) -> int:
        """Instants of every ten seconds between two times that no row of the ledger covers."""
        counting = """
            SELECT count(*) FROM generate_series(
                date_bin('10 s', %s, 'epoch') + interval '10 s', date_bin('10 s', %s, 'epoch'), '10 s') AS t (tick)
            WHERE NOT EXISTS (SELECT 1 FROM pqclock.ticks AS l
                              WHERE l.schedule_key = %s AND t.tick BETWEEN l.tick AND l.through)"""
        return int(str(self.database.value(counting, since, until, key)))


@pytest.fixture
def stepped(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stepped]:
    stepped = Stepped(database, monkeypatch)
    yield stepped
    stepped.session.close()


OFTEN = Schedule("often", "mail", every=timedelta(seconds=10))


@pytest.mark.parametrize(
    ("catch_up", "caught_up"),
    [("none", 0), ("latest", 1), ("all", 20)],
)
def test_a_step_forward_is_caught_up_by_the_schedules_rule_and_no_more(
    stepped: Stepped, catch_up: str, caught_up: int
) -> None:
    stepped.put(replace(OFTEN, catch_up=catch_up, catch_up_limit=20))
    stepped.turns()
    begun, before = stepped.now(), stepped.ticks("often")
    stepped.step(HOUR)
    stepped.turns()
    # Beside the missed ones there are those on time: a minute of grace before, and the horizon after now.
    on_time = 2 * 6 + 2
    assert caught_up <= stepped.ticks("often") - before <= caught_up + on_time
    assert stepped.unaccounted("often", begun, stepped.now()) == 0
    assert stepped.database.rows(DOUBLED) == []
    assert stepped.ticks("often") < 60


def test_a_step_back_repeats_nothing_and_ticking_goes_on_where_planning_stood(stepped: Stepped) -> None:
    stepped.put(OFTEN)
    stepped.turns()
    planned = stepped.database.rows("SELECT key, planned_to FROM pqclock.schedule")
    # One may have fallen due before the step.
    jobs = stepped.database.rows("SELECT id, state FROM pqclock.jobs ORDER BY id")
    assert [state for _, state in jobs].count("scheduled") >= 3
    stepped.step(-HOUR)
    for _ in range(5):
        stepped.turn()
    assert stepped.database.rows("SELECT key, planned_to FROM pqclock.schedule") == planned
    assert stepped.database.rows("SELECT id, state FROM pqclock.jobs ORDER BY id") == jobs
    back = stepped.now()
    stepped.step(HOUR + MINUTE)
    stepped.turns()
    assert stepped.database.rows("SELECT key FROM pqclock.schedule WHERE planned_to > %s", planned[0][1]) == [
        ("often",)
    ]
    assert stepped.unaccounted("often", back + HOUR, stepped.now()) == 0
    assert stepped.database.rows(DOUBLED) == []


def test_jobs_that_lie_in_the_future_again_are_neither_lost_nor_run_early(stepped: Stepped) -> None:
    stepped.put(OFTEN)
    stepped.turns()
    waiting = len(stepped.database.rows("SELECT 1 FROM pqclock.job"))
    stepped.step(-HOUR)
    stepped.turn()
    worker = a_worker(stepped.session, stepped.now())
    assert claim(stepped.session, worker, now=stepped.now()) == []
    stepped.step(HOUR + 2 * MINUTE)
    stepped.turn()
    assert len(claim(stepped.session, worker, now=stepped.now())) >= waiting


def test_forward_and_back_again_repeats_nothing(stepped: Stepped) -> None:
    """A false step that was mended: what was inserted for the false time stays, and is not inserted again."""
    stepped.put(replace(OFTEN, catch_up="all", catch_up_limit=20))
    stepped.turns()
    stepped.step(HOUR)
    stepped.turns()
    inserted = stepped.ticks("often")
    stepped.step(-HOUR)
    for _ in range(5):
        stepped.turn()
    assert stepped.ticks("often") == inserted
    stepped.step(HOUR + 2 * MINUTE)
    stepped.turns()
    assert stepped.ticks("often") > inserted
    assert stepped.database.rows(DOUBLED) == []


def test_a_beat_in_the_future_is_none(stepped: Stepped) -> None:
    """The leader has gone, and the clock was set back: nobody may wait for an hour until its beat is old."""
    stepped.turn()
    assert stand_in(stepped.session, 100) is None
    stepped.step(-HOUR)
    assert stand_in(stepped.session, 100) is not None
    # One that lives beats by the new time.
    stepped.turn()
    assert stand_in(stepped.session, 100) is None


def test_standbys_neither_end_nor_miss_a_leader_that_lives_through_a_step(stepped: Stepped) -> None:
    stepped.turn()
    eyes, switch = Lookout(), alarms.DeadMansSwitch(lambda told: pytest.fail(told.message))
    holding = stepped.database.connect("clock")
    assert leadership.try_lock(holding)
    try:
        for at in range(60):
            if at in (20, 40):
                stepped.step(-HOUR if at == 20 else HOUR)
            if at % 2 == 0:
                stepped.turn()
            pulse = leadership.pulse(stepped.session, alarms.LATE)
            switch.look(pulse, float(at))
            assert eyes.judge(stepped.session, leadership.holder(stepped.session), pulse, float(at)) is None
    finally:
        holding.close()


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_where_the_machines_clock_does_not_go_along_the_leader_refuses(stepped: Stepped, by: timedelta) -> None:
    stepped.put(OFTEN)
    stepped.turns()
    before = stepped.ticks("often")
    stepped.step(by)
    stepped.offset = timedelta()
    with pytest.raises(Untrusted) as caught:
        stepped.turn()
    assert isinstance(caught.value, TermOver)
    assert stepped.ticks("often") == before
