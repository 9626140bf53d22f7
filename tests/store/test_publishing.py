"""What code says of its tasks; the newer code wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pqclock.store import tasks
from store.samples import HOUR, NOW

if TYPE_CHECKING:
    from conftest import Database


def task(name: str = "mail", version: str = "1", **options: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("queue", "priority", "max_attempts", "labels"))
    return {"name": name, **nothing, "arg_defaults": {}, "options": {}, "code_version": version, **options}


def test_a_task_is_written_with_all_it_says(database: Database) -> None:
    options: dict[str, Any] = {
        "queue": "mice",
        "priority": -1,
        "max_attempts": 3,
        "labels": ["a", "b"],
        "arg_defaults": {"n": 1},
    }
    assert tasks.publish(database.session, [task("a"), task("b", **options, options={"x": 1})], now=NOW) == 2
    rows = database.rows(
        "SELECT queue, priority, max_attempts, labels, arg_defaults, options, code_version, published_at "
        "FROM pqclock.task ORDER BY name"
    )
    assert rows == [
        (None, None, None, None, {}, {}, "1", NOW),
        ("mice", -1, 3, ["a", "b"], {"n": 1}, {"x": 1}, "1", NOW),
    ]


def test_only_what_differs_is_written(database: Database) -> None:
    tasks.publish(database.session, [task("a"), task("b")], now=NOW)
    assert tasks.publish(database.session, [task("a"), task("b", queue="mice")], now=NOW + HOUR) == 1
    rows = database.rows("SELECT name, published_at FROM pqclock.task ORDER BY name")
    assert rows == [("a", NOW), ("b", NOW + HOUR)]


VERSIONS = [  # of the code that published a task before, of the code that publishes it now, and whether that wins
    ("1.9", "1.10", True),
    ("1.10", "1.9", False),
    ("1.10", "1.10", True),
    ("", "1", True),
    ("1", "", False),
    ("2026.11.22", "2026.11.3", False),
    ("1.2", "1.2.1", True),
    ("v1.9", "v2", True),
    ("main", "branch", True),
]


def test_the_newer_version_wins(database: Database) -> None:
    tasks.publish(database.session, [task(f"t{n}", old, queue="old") for n, (old, _, _) in enumerate(VERSIONS)])
    tasks.publish(database.session, [task(f"t{n}", new, queue="new") for n, (_, new, _) in enumerate(VERSIONS)])
    found = [queue == "new" for (queue,) in database.rows("SELECT queue FROM pqclock.task ORDER BY name")]
    assert found == [wins for _, _, wins in VERSIONS]
