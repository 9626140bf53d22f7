"""`pqclock gates` and `app.gates`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pqclock import App
from pqclock.errors import UnknownGate
from store.gated import claim, end, enqueue_gated, fuse, throttle

if TYPE_CHECKING:
    from conftest import Database

Command = Callable[..., Any]
CONTRACT = ["rule", "kind", "key", "state", "running", "waiting", "opens_at"]


@pytest.fixture
def listed(database: Database, command: Command) -> Command:
    """The command, with the address of the test's database."""
    return lambda *args: command(*args, PQCLOCK_DATABASE_URL=database.url)


@pytest.fixture
def busy(database: Database) -> Database:
    """A throttle with two jobs running and two behind it, and a fuse that has seen a failure."""
    throttle(database.session, "stripe", rate=100, per="1 hour", burst=5, concurrency=2)
    fuse(database.session, "api")
    enqueue_gated(database.session, "throttle:stripe:acct_42", count=4)
    enqueue_gated(database.session, "fuse:api", task="call", count=2)
    claim(database.session, now=None)
    job, _ = claim(database.session, now=None, tasks=["call"]).jobs
    now: Any = database.value("SELECT clock_timestamp()")
    end(database.session, job, "failed", now, "OSError", error="no route\nto host", error_type="OSError")
    return database


def test_gates_are_listed_with_the_fields_of_the_view(busy: Database, listed: Command) -> None:
    columns = [
        column.name for column in busy.session.conn.execute("SELECT * FROM pqclock.gates LIMIT 0").description or ()
    ]
    rows = listed("gates", "--json").json["gates"]
    assert columns == CONTRACT
    assert [list(row)[: len(CONTRACT)] for row in rows] == [CONTRACT] * 2
    assert [(row["rule"], row["key"], row["state"], row["running"]) for row in rows] == [
        ("api", "", "open", 0),
        ("stripe", "acct_42", "waiting", 2),
    ]
    assert (rows[1]["tokens"], rows[1]["waiting"], rows[1]["waiting_jobs"], rows[1]["per"]) == (3, 1, 2, "1h")
    assert rows[0]["tokens"] is None
    shown = listed("gates", "--kind", "throttle").out.splitlines()
    assert shown[0].split() == [
        "gate",
        "kind",
        "state",
        "tokens",
        "running",
        "lanes",
        "jobs",
        "opens",
        "blown",
        "until",
        "note",
    ]
    assert shown[1].split() == ["stripe:acct_42", "throttle", "waiting", "3/5", "2/2", "1", "2"]
    assert listed("gates", "--state", "blown").err == "no such gates\n"
    page = listed("gates", "--limit", "1", "--json").json
    assert [row["rule"] for row in listed("gates", "--cursor", page["next"], "--json").json["gates"]] == ["stripe"]


def test_one_gate_is_shown_with_what_it_holds(busy: Database, listed: Command) -> None:
    found = listed("gates", "show", "stripe:acct_42", "--json").json
    assert len(found["slots"]) == 2 and found["rules"][0]["rule"] == "stripe"
    assert [(lane["task"], lane["jobs"]) for lane in found["lanes"]] == [("mail", 2)]
    text = listed("gates", "show", "stripe:acct_42").out
    assert "running" in text and "waiting" in text and "acct_42" in text
    text = listed("gates", "show", "api").out
    assert "last failures" in text and "no route" in text and "to host" not in text


def test_gates_that_nobody_met(busy: Database, listed: Command) -> None:
    done = listed("gates", "show", "stripe:new")
    assert (done.code, done.err) == (0, "gate stripe:new: no job has met it yet\n")
    done = listed("gates", "show", "strip:new")
    assert done.code == 1 and 'did you mean "stripe"?' in done.err
    assert listed("gates", "reset", "stripe:new").err == "no such gates: no job has met one yet, nothing changed\n"


def test_blow_reset_and_cool(busy: Database, listed: Command) -> None:
    assert listed("gates", "blow", "api", "--for", "10m").err == "fuse:api: blown for 10m\n"
    assert listed("gates", "blow", "api", "--all-keys").err == "fuse:api: blown until `pqclock gates reset`\n"
    (row,) = listed("gates", "--state", "blown", "--json").json["gates"]
    assert row["blown_until"] == "9999-12-31T00:00:00Z"
    assert "for ever" in listed("gates").out
    (row,) = listed("gates", "reset", "api", "--json").json["gates"]
    assert row["state"] == "open"
    assert listed("gates", "cool", "stripe:acct_42", "60s", "--note", "429").err == (
        "throttle:stripe:acct_42: closed for 1m\n"
    )
    assert listed("gates", "blow", "stripe").code == 1
    assert listed("gates", "cool", "stripe", "soon").code == 2


def test_a_cooldown_names_all_that_it_closed(busy: Database, listed: Command) -> None:
    fuse(busy.session, "stripe")
    for reference in ("stripe:acct_42", "fuse:stripe:acct_42", "throttle.stripe:acct_42"):
        done = listed("gates", "cool", reference, "60s")
        assert done.err == "fuse:stripe:acct_42, throttle:stripe:acct_42: closed for 1m\n"
    assert busy.value("SELECT count(*) FROM pqclock.gate WHERE closed_until > now() AND rule = 'stripe'") == 2


def test_no_gates(listed: Command) -> None:
    assert listed("gates").err == "no gates: no job with a throttle or a fuse was claimed yet\n"


def test_the_same_verbs_in_python(busy: Database) -> None:
    app = App(busy.url)
    try:
        assert [row.gate for row in app.gates.list(kind="fuse").rows] == ["fuse:api"]
        assert app.gates.blow("api", "10m", "asked") == ["fuse:api"]
        assert app.gates.show("api").gates[0].note == "asked"
        assert app.gates.reset("api") == ["fuse:api"]
        assert app.gates.cool("api", timedelta(seconds=5)) == 1
        with pytest.raises(UnknownGate):
            app.gates.show("nowhere")
    finally:
        app.close()


def test_a_gate_without_a_key_and_one_with_an_empty_key_are_a_row_each(busy: Database, listed: Command) -> None:
    fuse(busy.session, "bank")
    enqueue_gated(busy.session, "fuse:bank", task="pay")
    enqueue_gated(busy.session, "fuse:bank:", task="pay")
    claim(busy.session, now=None, tasks=["pay"])
    busy.session.conn.execute("UPDATE pqclock.gate SET note = 'of the second' WHERE name = 'fuse:bank:'")
    busy.session.conn.execute("UPDATE pqclock.gate SET blown_until = 'infinity' WHERE name = 'fuse:bank:'")
    rows = listed("gates", "--rule", "bank", "--json").json["gates"]
    assert [(row["gate"], row["state"], row["note"]) for row in rows] == [
        ("fuse:bank", "open", None),
        ("fuse:bank:", "blown", "of the second"),
    ]
    assert len(listed("gates", "show", "bank", "--json").json["gates"]) == 1


@pytest.mark.parametrize("verb", [("blow",), ("reset",), ("show",), ("cool", "60s")])
def test_an_empty_key_is_refused(busy: Database, listed: Command, verb: tuple[str, ...]) -> None:
    done = listed("gates", verb[0], "api:", *verb[1:])
    assert done.code == 2
    assert '"api:" has an empty key: write api for the gate without a key, or api:KEY' in done.err


def test_the_view_has_no_end_for_what_is_blown_by_hand(busy: Database, listed: Command) -> None:
    view = "SELECT state, opens_at FROM pqclock.gates WHERE rule = 'api'"
    assert listed("gates", "blow", "api").code == 0
    assert busy.rows(view) == [("blown", None)]
    busy.session.conn.execute("UPDATE pqclock.rule SET state = 'removed' WHERE name = 'api'")
    assert busy.rows(view) == [("open", None)]
    assert listed("gates", "blow", "api", "--for", "1h").code == 1
    busy.session.conn.execute("UPDATE pqclock.gate SET blown_until = now() + interval '1 hour' WHERE rule = 'api'")
    assert busy.rows(view) == [("open", None)]


@pytest.mark.parametrize("prefix", ["", "throttle:", "throttle."])
def test_a_gate_is_also_named_as_listings_and_rules_name_it(busy: Database, listed: Command, prefix: str) -> None:
    assert [row["gate"] for row in listed("gates", "show", f"{prefix}stripe:acct_42", "--json").json["gates"]] == [
        "throttle:stripe:acct_42"
    ]
    assert listed("gates", "cool", f"{prefix}stripe:acct_42", "1m").code == 0
    assert listed("gates", "reset", f"{prefix}stripe:acct_42").err == "throttle:stripe:acct_42: reset\n"
    assert len(listed("gates", "--rule", f"{prefix}stripe", "--json").json["gates"]) == 1
    assert "is a throttle and no fuse" in listed("gates", "blow", f"{prefix}stripe").err
    assert listed("gates", "blow", "fuse:api").err == "fuse:api: blown until `pqclock gates reset`\n"
    assert listed("gates", "show", "fuse.stripe").code == 1


def test_output_says_what_is_so_now(busy: Database, listed: Command) -> None:
    assert listed("gates", "blow", "api", "--for", "10m", "--note", "asked").code == 0
    assert "asked" in listed("gates").out
    busy.session.conn.execute("UPDATE pqclock.gate SET blown_until = now() - interval '1 s' WHERE rule = 'api'")
    text = listed("gates", "show", "api").out
    assert "half open" in text and "asked" not in text and "ago\nkind" not in text
    assert not [line for line in text.splitlines() if line.startswith("blown until")]
    assert text.startswith("fuse\n") and "{" not in text
    assert "OSError  no route" in text and "OSError: no route" not in text
    assert all(line == line.rstrip() for words in ("gates", "doctor") for line in listed(words).out.splitlines())


def test_a_time_that_is_over_at_once_is_named(busy: Database, listed: Command) -> None:
    for words in (("gates", "blow", "api", "--for", "0s"), ("queues", "pause", "q", "--for", "0s")):
        done = listed(*words)
        assert done.code == 2 and "Invalid value for '--for': '0s' is over at once" in done.err
