"""Rules: how files and the API declare them, and what a change does to gates that jobs wait for."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from pqclock.clock.applier import Applied, apply
from pqclock.errors import ArgumentError, ScheduleFileError, UnknownRule
from pqclock.rules.files import rule_from_fields
from pqclock.rules.rule import Rule
from pqclock.rules.throttles import Throttle
from pqclock.store import gates, rules
from pqclock.store.listening import hear, listen
from store.deadlines import eventually
from store.gated import claim, enqueue_gated
from store.samples import HOUR, MINUTE, NOW, SECOND

if TYPE_CHECKING:
    from conftest import Database

STRIPE = rule_from_fields("throttle.stripe", {"rate": "25/1s"}, "a.toml:1")
HOURLY: dict[str, Any] = {"rate": "1/1h"}
ROWS = "SELECT kind, name, set_name, source, state, version FROM pqclock.rule ORDER BY kind, name"
TAT = "SELECT tat_ns FROM pqclock.gate WHERE name = 'throttle:stripe'"


def applied(database: Database, *wanted: Rule, name: str = "default", content: str = "1", **more: Any) -> Applied:
    return apply(database.session, name, content, (), wanted, **{"explicit": True, "now": NOW, **more})


def put(database: Database, label: str, at: datetime = NOW, **fields: Any) -> list[str]:
    return rules.put(database.session, [rule_from_fields(label, fields)], at)


def opens_at(database: Database) -> object:
    return database.value("SELECT opens_at FROM pqclock.gate WHERE name = 'throttle:stripe'")


def test_files_declare_change_and_remove_rules(database: Database) -> None:
    fuse = rule_from_fields("fuse.stripe", {"failures": 5, "within": "1m", "cool_down": "5m"}, "a.toml:5")
    done = applied(database, STRIPE, fuse)
    assert done.rules is not None and done.rules.added == ("throttle.stripe", "fuse.stripe")
    assert database.rows(ROWS) == [
        ("fuse", "stripe", "default", "a.toml:5", "active", 1),
        ("throttle", "stripe", "default", "a.toml:1", "active", 1),
    ]
    assert applied(database, STRIPE, fuse).rules == done.rules.__class__(
        (), (), (), (), (), ("throttle.stripe", "fuse.stripe")
    )
    slower = rule_from_fields("throttle.stripe", {"rate": "5/1s"}, "b.toml:9")
    done = applied(database, slower, content="2")
    assert done.rules is not None and (done.rules.changed, done.rules.removed) == (
        ("throttle.stripe",),
        ("fuse.stripe",),
    )
    assert database.rows(ROWS) == [
        ("fuse", "stripe", "default", "a.toml:5", "removed", 2),
        ("throttle", "stripe", "default", "b.toml:9", "active", 2),
    ]
    done = applied(database, slower, fuse, content="3")
    assert done.rules is not None and done.rules.changed == ("fuse.stripe",)
    assert database.rows(ROWS)[0] == ("fuse", "stripe", "default", "a.toml:5", "active", 3)


def test_another_place_in_the_files_is_no_new_version(database: Database) -> None:
    applied(database, STRIPE)
    done = applied(database, Rule("throttle", "stripe", STRIPE.definition, "z.toml:3"))
    assert done.rules is not None and done.rules.moved == ("throttle.stripe",)
    assert database.rows(ROWS) == [("throttle", "stripe", "default", "z.toml:3", "active", 1)]


def test_older_files_at_a_start_leave_the_rules_alone(database: Database) -> None:
    applied(database, STRIPE)
    applied(database, content="2")
    assert applied(database, STRIPE, explicit=False).difference is None
    assert database.value("SELECT state FROM pqclock.rule") == "removed"


def test_the_columns_say_what_the_definition_says(database: Database) -> None:
    put(database, "throttle.a", rate="100/90s", concurrency=4)
    counts = {"failures": 5, "failure_rate": 0.5, "minimum": 20, "only": ["OSError"], "ignore": ["ValueError"]}
    rules.put(database.session, [rule_from_fields("fuse.a", {**counts, "within": "1m", "cool_down": "36h"})], NOW)
    assert database.rows(
        "SELECT rate, per, interval_ns, burst, concurrency, definition FROM pqclock.rule WHERE kind = 'throttle'"
    ) == [(100, 90 * SECOND, 937_500_000, 5, 4, {"rate": "100/1m30s", "concurrency": 4})]
    assert database.rows(
        "SELECT failures, failure_rate, minimum, within, cool_down, max_cool_down, probes, only_names, ignored_names "
        "FROM pqclock.rule WHERE kind = 'fuse'"
    ) == [(5, 0.5, 20, MINUTE, 36 * HOUR, 36 * HOUR, 1, ["OSError"], ["ValueError"])]


def test_files_and_the_api_leave_each_other_alone(database: Database) -> None:
    put(database, "throttle.mine", **HOURLY)
    applied(database, STRIPE)
    applied(database, content="2")
    assert database.value("SELECT state FROM pqclock.rule WHERE name = 'mine'") == "active"
    applied(database, STRIPE, content="3")
    with pytest.raises(
        ArgumentError, match=r'"throttle.stripe" is declared in a.toml:1 \(set "default"\): change it there'
    ):
        put(database, "throttle.stripe", **HOURLY)
    with pytest.raises(ArgumentError, match="is declared in"):
        rules.remove(database.session, "throttle.stripe", NOW)
    with pytest.raises(ScheduleFileError, match="throttle 'mine' belongs to the API, not to set 'default'"):
        applied(database, rule_from_fields("throttle.mine", {"rate": "1/1s"}, "a.toml:7"), content="4")
    with pytest.raises(ScheduleFileError, match=r"throttle 'stripe' belongs to set 'default' \(a.toml:1\)"):
        applied(database, STRIPE, name="other")


def test_a_name_that_its_owner_removed_is_free(database: Database) -> None:
    put(database, "throttle.stripe", **HOURLY)
    rules.remove(database.session, "throttle.stripe", NOW)
    applied(database, STRIPE)
    assert database.rows(ROWS) == [("throttle", "stripe", "default", "a.toml:1", "active", 3)]
    applied(database, content="2")
    assert put(database, "throttle.stripe", **HOURLY) == ["throttle.stripe"]
    assert database.rows(ROWS) == [("throttle", "stripe", None, "api", "active", 5)]


def test_the_same_again_is_not_written(database: Database) -> None:
    assert put(database, "throttle.stripe", **HOURLY) == ["throttle.stripe"]
    assert put(database, "throttle.stripe", rate="1/60m") == []
    assert put(database, "throttle.stripe", rate="2/1h") == ["throttle.stripe"]


def test_what_is_not_there_has_a_hint(database: Database) -> None:
    put(database, "throttle.stripe", **HOURLY)
    for ask in (rules.remove, rules.find, rules.show_rule):
        with pytest.raises(UnknownRule, match=r'no rule "throttle.strip"; did you mean "throttle.stripe"\?'):
            ask(database.session, "throttle.strip")
    rules.remove(database.session, "throttle.stripe", NOW)
    with pytest.raises(UnknownRule):
        rules.remove(database.session, "throttle.stripe", NOW)
    with pytest.raises(ArgumentError, match=r"has no kind: write throttle\.NAME or fuse\.NAME"):
        rules.remove(database.session, "stripe")


def test_what_waits_for_a_slow_rule_goes_on_when_it_is_made_faster(database: Database) -> None:
    put(database, "throttle.stripe", **HOURLY)
    enqueue_gated(database.session, "throttle:stripe", count=3)
    assert len(claim(database.session).jobs) == 1
    assert opens_at(database) == NOW + HOUR
    ears = database.connect()
    listen(ears)
    assert put(database, "throttle.stripe", at=NOW + SECOND, rate="60/1m", burst=1) == ["throttle.stripe"]
    # As if a job of 60 units had just been the first of the new rule.
    assert opens_at(database) == NOW + SECOND + MINUTE
    assert eventually(lambda: hear(ears) == ["clock"])
    ears.close()
    assert claim(database.session, now=NOW + MINUTE).jobs == []
    assert len(claim(database.session, now=NOW + SECOND + MINUTE).jobs) == 1
    assert len(claim(database.session, now=NOW + 2 * SECOND + MINUTE).jobs) == 1


def test_a_change_of_something_else_leaves_the_rate_alone(database: Database) -> None:
    put(database, "throttle.stripe", rate="10/10s", burst=1)
    enqueue_gated(database.session, "throttle:stripe", units=10)
    assert len(claim(database.session).jobs) == 1
    before = database.value(TAT)
    put(database, "throttle.stripe", rate="10/10s", burst=1, concurrency=5)
    assert database.value(TAT) == before


def test_places_that_are_added_are_taken_at_once(database: Database) -> None:
    put(database, "throttle.stripe", concurrency=1)
    enqueue_gated(database.session, "throttle:stripe", count=5)
    assert len(claim(database.session).jobs) == 1 and opens_at(database) is None
    ears = database.connect()
    listen(ears)
    put(database, "throttle.stripe", concurrency=3)
    assert opens_at(database) == NOW
    assert eventually(lambda: hear(ears) == ["gated default"])
    ears.close()
    assert len(claim(database.session).jobs) == 2
    put(database, "throttle.stripe", concurrency=1)
    assert claim(database.session, now=NOW + HOUR).jobs == []


@pytest.mark.parametrize("late", ["declared", "removed"])
def test_a_rule_that_comes_late_or_goes_opens_its_gates(database: Database, late: str) -> None:
    if late == "removed":
        applied(database, rule_from_fields("throttle.stripe", HOURLY))
    enqueue_gated(database.session, "throttle:stripe", "fuse:other", count=3)
    put(database, "fuse.other", failures=1, within="1m", cool_down="1m")
    assert len(claim(database.session).jobs) == (1 if late == "removed" else 0)
    if late == "removed":
        applied(database, content="2")
    else:
        put(database, "throttle.stripe", rate="100/1m")
    assert opens_at(database) == NOW
    assert len(claim(database.session).jobs) == (2 if late == "removed" else 3)


def test_a_reserved_turn_is_measured_anew(database: Database) -> None:
    put(database, "throttle.stripe", rate="10/10h", burst=2)
    enqueue_gated(database.session, "throttle:stripe", units=1)
    claim(database.session)
    enqueue_gated(database.session, "throttle:stripe", units=8)
    enqueue_gated(database.session, "throttle:stripe", units=2)
    assert claim(database.session, now=NOW + MINUTE).jobs == []
    put(database, "throttle.stripe", at=NOW + MINUTE, rate="10/10s", burst=2)
    assert database.value("SELECT reserved_until FROM pqclock.gate") is None
    assert len(claim(database.session, now=NOW + 2 * MINUTE).jobs) == 1


def test_a_fuse_that_is_changed_stays_as_it_is(database: Database) -> None:
    put(database, "fuse.stripe", failures=1, within="1m", cool_down="1h")
    enqueue_gated(database.session, "fuse:stripe", count=2)
    claim(database.session, room=1)
    database.session.conn.execute("UPDATE pqclock.gate SET blown_until = %s, cool_down = '1h', epoch = 4", [NOW + HOUR])
    assert claim(database.session).jobs == []
    put(database, "fuse.stripe", failures=1, within="1m", cool_down="1m")
    assert database.rows("SELECT blown_until, epoch, opens_at FROM pqclock.gate") == [(NOW + HOUR, 4, NOW + HOUR)]


def test_a_rule_that_is_declared_anew_begins_with_whole_gates(database: Database) -> None:
    terms: dict[str, Any] = {"failures": 1, "within": "1m", "cool_down": "1h"}
    put(database, "fuse.stripe", **terms)
    enqueue_gated(database.session, "fuse:stripe:a", count=2)
    gates.blow(database.session, "stripe:a", note="by hand", now=NOW)
    assert claim(database.session).jobs == []
    rules.remove(database.session, "fuse.stripe", NOW)
    put(database, "fuse.stripe", **terms)
    assert database.rows("SELECT blown_until, note, epoch FROM pqclock.gate") == [(None, None, 2)]
    assert len(claim(database.session, now=NOW + SECOND).jobs) == 2


def test_a_change_waits_for_the_claims_that_are_under_way(database: Database) -> None:
    put(database, "throttle.stripe", concurrency=1)
    enqueue_gated(database.session, "throttle:stripe", count=3)
    done = threading.Event()
    other = database.connect()

    def change() -> None:
        rules.put(other, [rule_from_fields("throttle.stripe", {"concurrency": 3})], NOW)
        done.set()

    with database.session.transaction():
        assert len(claim(database.session).jobs) == 1
        thread = threading.Thread(target=change)
        thread.start()
        assert not done.wait(0.3)
    thread.join(10)
    other.close()
    # The lane was parked by the old rule while the change was waiting, and was looked at again all the same.
    assert opens_at(database) == NOW
    assert len(claim(database.session).jobs) == 2


def test_the_model_and_the_columns_agree(database: Database) -> None:
    given: list[dict[str, Any]] = [{"rate": "7/1s"}, {"rate": "1000000/1d"}, {"rate": "3/2w", "burst": 3}]
    for number, fields in enumerate(given):
        put(database, f"throttle.t{number}", **fields)
        throttle = Throttle.of(fields)
        assert database.rows("SELECT rate, burst, interval_ns FROM pqclock.rule WHERE name = %s", f"t{number}") == [
            (throttle.rate, throttle.burst, throttle.interval_ns)
        ]


def test_how_many_jobs_wait_behind_a_rule(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    enqueue_gated(database.session, "throttle:stripe:a", "throttle:stripe:b", "fuse:x", count=5)
    enqueue_gated(database.session, "throttle:striped", count=7)
    found = rules.waiting(database.session, ["throttle.stripe", "fuse.x", "fuse.stripe"])
    assert found == {"throttle.stripe": rules.Waiting(5, True), "fuse.x": rules.Waiting(5, True)}
    monkeypatch.setattr(rules, "MOST_WAITING", 6)
    assert not rules.waiting(database.session, ["throttle.stripe", "throttle.striped"])["throttle.stripe"].all_seen


def test_what_needs_more_than_the_rate_waits_for_another_rule_and_holds_nobody_up(database: Database) -> None:
    put(database, "throttle.stripe", rate="3/1s")
    enqueue_gated(database.session, "throttle:stripe", units=5)
    assert claim(database.session).jobs == [] and opens_at(database) is None
    enqueue_gated(database.session, "throttle:stripe", count=2)
    assert len(claim(database.session, now=NOW + HOUR).jobs) == 1
    assert len(claim(database.session, now=NOW + HOUR + SECOND).jobs) == 1
    assert claim(database.session, now=NOW + 2 * HOUR).jobs == []
    put(database, "throttle.stripe", rate="5/1s", at=NOW + 3 * HOUR)
    assert opens_at(database) == NOW + 3 * HOUR
    assert len(claim(database.session, now=NOW + 3 * HOUR).jobs) == 1


def test_many_units_and_a_long_window_are_within_what_numbers_can_hold(database: Database) -> None:
    put(database, "throttle.stripe", rate="1/53w")
    put(database, "throttle.other", rate="1000000/53w", burst=1)
    enqueue_gated(database.session, "throttle:stripe", units=1_000_000)
    enqueue_gated(database.session, "throttle:other", units=1_000_000)
    assert len(claim(database.session).jobs) == 1
    enqueue_gated(database.session, "throttle:other", units=1_000_000)
    assert claim(database.session).jobs == []
    assert len(claim(database.session, now=NOW + 107 * 7 * 24 * HOUR).jobs) == 1
