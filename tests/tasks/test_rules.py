"""`app.rules`: the verbs of the command, for programs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from conftest import Database
from pqclock import App
from pqclock.errors import ArgumentError, UnknownRule


@pytest.fixture
def app(database: Database) -> Iterator[App]:
    """An app on the test's database."""
    app = App(database.url)
    yield app
    app.close()


def test_put_list_show_remove(app: App) -> None:
    assert app.rules.put("throttle.stripe", rate="25/1s")
    assert not app.rules.put("throttle.stripe", rate="25/1s", burst=None)
    assert app.rules.put("fuse.stripe", failures=3, within=timedelta(minutes=1), cool_down="5m", only=("OSError",))
    assert [row.rule for row in app.rules.list()] == ["fuse.stripe", "throttle.stripe"]
    assert [row.rule for row in app.rules.list("throttle")] == ["throttle.stripe"]
    assert app.rules.show("fuse.stripe").definition == {
        "failures": 3, "within": "1m", "cool_down": "5m", "only": ["OSError"],
    }  # fmt: skip
    app.rules.remove("fuse.stripe")
    assert app.rules.show("fuse.stripe").state == "removed"
    with pytest.raises(UnknownRule):
        app.rules.remove("fuse.stripe")


def test_many_are_put_together_or_not_at_all(app: App) -> None:
    wanted = [{"rule": f"throttle.customer-{n}", "rate": f"{n}/1m"} for n in range(1, 4)]
    assert app.rules.put_many(wanted) == [f"throttle.customer-{n}" for n in range(1, 4)]
    with pytest.raises(ArgumentError) as caught:
        app.rules.put_many([{"rule": "throttle.a", "rate": "x"}, {"rule": "b"}, {}, wanted[0], wanted[0]])
    lines = str(caught.value).splitlines()
    assert [line[:20] for line in lines] == [
        'rule "throttle.a": r', 'rule "b": the rule "', "rules[2] must be a m", 'rule "throttle.custo',
    ]  # fmt: skip
    assert len(app.rules.list()) == 3


def test_a_kind_that_is_not_known_is_no_empty_list(app: App) -> None:
    assert app.rules.list("fuse") == []
    with pytest.raises(ArgumentError, match="the kind 'foo' is not known: choose one of throttle, fuse"):
        app.rules.list("foo")
