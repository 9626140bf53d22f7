"""`rules`, and rules in `plan` and `apply`, against a real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store.gated import enqueue_gated

Command = Callable[..., Any]

A = '[schedule.a]\ntask = "t"\nevery = "1h"\n'
STRIPE = '[throttle.stripe]\nrate = "25/1s"\n'
FUSE = '[fuse.stripe]\nfailures = 5\nwithin = "1m"\ncool_down = "5m"\nonly = ["OSError"]\n'


@pytest.fixture
def call(database: Any, command: Command) -> Command:
    """The command, with the address of the test's database."""
    Path("schedules").mkdir()
    return lambda *args: command(*args, PQCLOCK_DATABASE_URL=database.url)


def write(text: str) -> None:
    Path("schedules/s.toml").write_text(text, encoding="utf-8")


def test_put_list_show_and_remove(database: Any, call: Command) -> None:
    assert "no rules" in call("rules").err
    done = call("rules", "put", "throttle.stripe", "--rate", "25/1s", "--concurrency", "4")
    assert (done.code, done.err) == (0, "rule throttle.stripe: put\n")
    assert "nothing changed" in call("rules", "put", "throttle.stripe", "--concurrency", "4", "--rate", "25/1000ms").err
    fuse = ("rules", "put", "fuse.w", "--failure-rate", "0.5", "--minimum", "20", "--within", "1m", "--cool-down", "5m")
    (row,) = call(*fuse, "--only", "OSError", "--only", "KeyError", "--json").json["rules"]
    assert (row["rule"], row["state"], row["version"], row["source"]) == ("fuse.w", "active", 1, "api")
    assert row["definition"]["only"] == ["OSError", "KeyError"]
    listed = call("rules", "--json").json
    assert [row["rule"] for row in listed["rules"]] == ["fuse.w", "throttle.stripe"] and listed["next"] is None
    first = call("rules", "list", "--limit", "1", "--json").json
    assert first["next"] == "fuse.w"
    assert [row["rule"] for row in call("rules", "list", "--cursor", "fuse.w", "--json").json["rules"]] == [
        "throttle.stripe"
    ]
    assert "rate 25/1s, concurrency 4" in call("rules", "list", "--kind", "throttle").out
    enqueue_gated(database.session, "throttle:stripe:a", count=3)
    shown = call("rules", "show", "throttle.stripe").out
    assert "rate         25/1s" in shown and "0, 0 of them waited for" in shown
    done = call("rules", "remove", "throttle.stripe")
    assert done.err == "rule throttle.stripe: removed; 3 waiting jobs pass it: its gates are open\n"
    assert [row["rule"] for row in call("rules", "list", "--removed", "--json").json["rules"]] == ["throttle.stripe"]


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (("put", "stripe", "--rate", "1/1s"), 2, 'the rule "stripe" has no kind: write throttle.NAME or fuse.NAME'),
        (("put", "throttle.a b", "--rate", "1/1s"), 2, 'the name "a b" must match'),
        (("put", "throttle.a"), 2, "a throttle needs rate, concurrency or both"),
        (("put", "throttle.a", "--rate", "100"), 2, 'rate must be a rate such as "100/1m", not "100"'),
        (("put", "throttle.a", "--rate", "1/1s", "--burst", "2"), 2, "burst = 2 must not be above the rate, 1"),
        (("put", "throttle.a", "--rate", "1/1s", "--probes", "2"), 2, "probes is no field of this table"),
        (("put", "fuse.a", "--failures", "3"), 2, 'the field "within" is missing'),
        (("remove", "throttle.nobody"), 1, 'the database has no rule "throttle.nobody"'),
        (("show", "fuse.nobody"), 1, "see `pqclock rules list`"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(call: Command, args: tuple[str, ...], code: int, sentence: str) -> None:
    done = call("rules", *args)
    assert done.code == code and sentence in done.err


def test_plan_and_apply_tell_of_rules(database: Any, call: Command) -> None:
    write(A + STRIPE + FUSE)
    found = call("plan", "--json").json
    assert [(one["change"], one["rule"]) for one in found["rules"]] == [
        ("added", "fuse.stripe"),
        ("added", "throttle.stripe"),
    ]
    assert [one["key"] for one in found["changes"]] == ["a"]
    assert database.value("SELECT count(*) FROM pqclock.rule") == 0
    assert call("apply", "--json").json["applied"][0]["rules"]["added"] == ["throttle.stripe", "fuse.stripe"]
    assert call("plan", "--exit-code").code == 0
    write(A + STRIPE.replace("25", "50") + "burst = 3\n")
    enqueue_gated(database.session, "fuse:stripe", count=2)
    done = call("plan", "--exit-code")
    assert done.code == 1
    assert '    rate: "25/1s" -> "50/1s"\n' in done.out and "    burst: not set -> 3\n" in done.out
    assert "    warning: 2 waiting jobs pass it: its gates are open\n" in done.out
    assert done.err.endswith("1 unchanged; rules: 1 changed, 1 removed\n")
    assert call("plan", "--json").json["rules"][1]["waiting"] == 2
    assert "changed  [throttle.stripe]\nremoved  [fuse.stripe]\n" in call("apply").out


def test_a_rule_of_somebody_else_is_refused(call: Command) -> None:
    call("rules", "put", "throttle.stripe", "--rate", "1/1s")
    write(A + STRIPE)
    done = call("plan")
    assert done.code == 1 and "refused  [throttle.stripe]" in done.out and "belongs to the API" in done.out
    assert "would refuse these files: 1 rule" in done.err
    done = call("apply")
    assert done.code == 1 and "s.toml:4: error: throttle 'stripe' belongs to the API" in done.err


def test_files_with_rules_can_be_looked_at_without_a_database(command: Command) -> None:
    Path("schedules").mkdir()
    write(A + STRIPE + FUSE)
    assert command("check", "--strict").code == 0
    assert command("next", "-n", "2").code == 0
    assert command("simulate", "--from", "2026-11-22", "--to", "2026-11-23").code == 0


def test_only_a_like_name_is_suggested(call: Command) -> None:
    assert call("rules", "put", "throttle.stripe", "--rate", "1/1s").code == 0
    assert 'did you mean "throttle.stripe"?' in call("rules", "show", "throttle.strip").err
    assert 'did you mean "throttle.stripe"?' in call("rules", "show", "fuse.stripe").err
    assert "did you mean" not in call("rules", "show", "throttle.bank").err
    done = call(
        "rules", "put", "fuse.a", "--failures", "1", "--within", "1m", "--cool-down", "1m", "--max-cool-down", "30s"
    )
    assert "max_cool_down = 30s must not be below cool_down, 1m" in done.err
