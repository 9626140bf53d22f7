"""Under another name the schema works wholly, beside one that has the usual name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pqclock.clock.applier import apply
from pqclock.clock.planner import Planner
from pqclock.rules.schedule import Schedule
from pqclock.store import jobs, leadership, migrate, partitions, processes, tasks
from pqclock.store.database import connect
from pqclock.store.listening import hear, listen
from store.samples import HOUR, MINUTE, NOW, claim, enqueue, finish, new

if TYPE_CHECKING:
    from conftest import Database


def test_every_verb_stays_in_its_schema(database: Database) -> None:
    other = connect(database.url, "other_one", "test")
    migrate.migrate(other)
    listen(other)
    assert partitions.create_ahead(other) == 0
    task: dict[str, Any] = {
        "name": "mail", "queue": "mice", "priority": None, "max_attempts": None, "labels": None,
        "arg_defaults": {}, "options": {}, "code_version": "1",
    }  # fmt: skip
    tasks.publish(other, [task])
    processes.register(other, "worker", pid=1, host="box", code_version="1", now=NOW)
    apply(other, "default", "1", [Schedule("a", "mail", cron="* * * * *")], explicit=True, now=NOW)
    assert Planner(other, leadership.elect(other, 1)).step(NOW).inserted == 1
    assert jobs.promote(other, 10, now=NOW + HOUR).promoted == 1
    enqueue(other, new())
    assert other.conn.execute("SELECT other_one.enqueue('mail')").fetchone() is not None
    tick, sent, _ = claim(other)
    assert (tick.schedule_key, tick.tick) == ("a", NOW + MINUTE)
    assert finish(other, tick, "succeeded", "succeeded")
    assert finish(other, sent, "scheduled", "failed", delay=1.0)
    assert jobs.rescue(other, 10, now=NOW + HOUR)
    assert jobs.cancel_tasks(other, ["mail"], "done") == 2
    assert {"ready mice", "clock"} <= set(hear(other))
    touched = (
        "(SELECT count(*) FROM {0}.jobs) + (SELECT count(*) FROM {0}.ticks) + (SELECT count(*) FROM {0}.processes)"
    )
    assert database.value(f"SELECT {touched.format('other_one')}") == 5
    assert database.value(f"SELECT {touched.format('pqclock')}") == 0
    other.close()
