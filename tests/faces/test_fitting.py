"""Schedules whose keys nobody can fill: refused where that is known, and shown where it is found out too late."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pqclock.clock.applier import apply
from pqclock.clock.planner import Planner
from pqclock.errors import ArgumentError, ScheduleFileError
from pqclock.rules.files import schedule_from_fields
from pqclock.store import leadership, listings, runtime, tasks
from pqclock.store.fitting import unfillable
from store.samples import MINUTE, NOW

if TYPE_CHECKING:
    from conftest import Database

Fields = dict[str, Any]


def publish(database: Database, options: Fields | None = None, **defaults: object) -> None:
    nothing = dict.fromkeys(("queue", "priority", "max_attempts", "labels"))
    task = {"name": "mail", **nothing, "arg_defaults": defaults, "options": options or {}, "code_version": "1"}
    tasks.publish(database.session, [task])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"throttle": ["api:{args.q}"]}, 'throttle "api:{args.q}" needs the argument "q"'),
        ({"fuse": ["api:{args.c.id}"], "args": {"x": 1}}, 'fuse "api:{args.c.id}" needs the argument "c.id"'),
        ({"unique": {"key": "{args.nope}"}}, 'unique key "{args.nope}" needs the argument "nope"'),
        ({"throttle": ["api:{args.none}"]}, 'throttle "api:{args.none}" needs the argument "none"'),
    ],
)
def test_what_nobody_can_fill_is_refused(database: Database, fields: Fields, words: str) -> None:
    schedule = schedule_from_fields("s", {"task": "mail", "every": "1h", **fields})
    runtime.put(database.session, [schedule])
    runtime.remove(database.session, "s")
    publish(database, none=None, day=1)
    with pytest.raises(ArgumentError) as caught:
        runtime.put(database.session, [schedule])
    assert str(caught.value).startswith(f'schedule "s": {words}, which neither the args of the schedule nor')
    with pytest.raises(ScheduleFileError, match="error: schedule 's': "):
        apply(database.session, "default", "1", [schedule], explicit=True)
    assert apply(database.session, "default", "1", [schedule], explicit=False).difference


def test_defaults_of_the_task_and_templates_of_its_own(database: Database) -> None:
    publish(database, {"throttle": ["api:{account}"]}, day=1)
    session = database.session
    fits = {"args": {"account": "x"}, "fuse": ["bank:{args.day}"]}
    assert unfillable(session, [schedule_from_fields("s", {"task": "mail", "every": "1h", **fits})]) == {}
    own = unfillable(session, [schedule_from_fields("s", {"task": "mail", "every": "1h"})])
    assert 'throttle "api:{account}" needs the argument "account"' in own["s"]
    other = schedule_from_fields("s", {"task": "mail", "every": "1h", "throttle": []})
    assert unfillable(session, [other]) == {}


def test_a_schedule_set_aside_is_shown_and_tried_again(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    fields = {"task": "mail", "every": "1s", "throttle": ["api:{args.q}"]}
    runtime.put(database.session, [schedule_from_fields("s", fields)], now=NOW)
    planner = Planner(database.session, leadership.elect(database.session, 1, NOW))
    for _ in range(5):
        planner.step(NOW + MINUTE)
    fault = "task 'mail': throttle 'api:{args.q}' needs the argument 'args.q', which is missing: pass it, or give it a default"
    assert [(one.key, one.fault) for one in listings.set_aside(database.session)] == [("s", fault)]
    assert [row.note for row in listings.schedules(database.session).rows] == [f"set aside: {fault}"]
    assert "CONTEXT" not in caplog.text and fault in caplog.text
    publish(database, q="x")
    assert listings.set_aside(database.session) == []
    for _ in range(5):
        planner.step(NOW + 2 * MINUTE)
    assert listings.set_aside(database.session) == []
    assert database.value("SELECT gates FROM pqclock.job LIMIT 1") == ["throttle:api:x"]


def test_doctor_status_and_listings_tell_of_it(database: Database, command: Callable[..., Any], tmp_path: Path) -> None:
    runtime.put(database.session, [schedule_from_fields("s", {"task": "mail", "every": "1s"})])
    database.session.conn.execute("UPDATE pqclock.schedule SET fault = 'task mail: no such thing'")
    address = {"PQCLOCK_DATABASE_URL": database.url}
    for words in (("schedules",), ("schedules", "show", "s"), ("status",), ("doctor",)):
        assert "task mail: no such thing" in command(*words, **address).out
    done = command("doctor", "--json", **address)
    assert done.code == 1
    assert [one["state"] for one in done.json["checks"] if one["name"] == "schedules"] == ["problem"]
    file = tmp_path / "a.toml"
    file.write_text(
        '[schedule.t]\ntask = "mail"\nevery = "1h"\nthrottle = ["api:{args.q}"]\n[throttle.api]\nrate = "1/1s"\n'
    )
    done = command("check", str(file))
    assert done.code == 0 and "names {args.q}, which is not in args" in done.out
    publish(database)
    done = command("plan", str(file), **address)
    assert done.code == 1 and 'needs the argument "q"' in done.out
