"""Registering tasks: what is refused, what a call here does, what a job's arguments are. No database."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from pqclock import App, Retry, Unique
from pqclock.errors import ArgumentError, DurationError, SettingsError
from pqclock.store.jobs import NewJob


def registered(function: Any = None, name: str = "mail", **options: Any) -> Any:
    decorator: Any = App().task(name, **options)
    return decorator(function or (lambda to="": to))


@pytest.mark.parametrize("name", ["mail", "reports.nightly", "a:b-c_1.2", "x" * 200])
def test_a_task_has_a_plain_name(name: str) -> None:
    assert registered(name=name).name == name


@pytest.mark.parametrize("name", ["", "x" * 201, "a b", ".a", "é", "a\n", None, 5])
def test_any_other_name_is_refused(name: Any) -> None:
    with pytest.raises(ArgumentError, match=r"task name"):
        registered(name=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queue": "a b"}, "queue 'a b' is no name for a queue"),
        ({"queue": 5}, "queue 5 is no name"),
        ({"priority": 40_000}, "priority 40000 must be a whole number"),
        ({"priority": True}, "priority True"),
        ({"labels": "finance"}, "labels 'finance' must be a list"),
        ({"labels": 5}, "labels 5 must be a list"),
        ({"labels": ["x"] * 17}, "must be a list of at most 16"),
        ({"labels": ["x" * 65]}, "must be a printable text of 1 to 64"),
        ({"labels": ["a\n"]}, "must be a printable text"),
        ({"labels": [1]}, "label 1 must be"),
        ({"max_attempts": 0}, "max_attempts 0 must be"),
        ({"retry": 3}, "retry 3 must be a pqclock.Retry"),
        ({"retry": Retry(), "max_attempts": 3}, "give either retry=.* or max_attempts=3, not both"),
        ({"throttle": "x:{"}, "throttle 'x:{' has the brace \"{\" without a partner"),
        ({"throttle": "x:{to!r}"}, "throttle 'x:{to!r}' names {to!r}, which is no argument"),
        ({"throttle": "{to}:x"}, "must be the name of a rule, or NAME:KEY"),
        ({"throttle": ["x"] * 17}, "throttle .* a list of at most 16"),
        ({"fuse": "x:"}, "fuse 'x:' must be the name of a rule"),
        ({"fuse": 5}, "fuse 5 must be a text"),
        ({"throttle": "x:{nobody}"}, "names {nobody}, but the task has no such argument"),
        ({"unique": Unique("{nobody}")}, "unique key '{nobody}' names {nobody}, but the task has no such argument"),
        ({"unique": "x"}, "unique 'x' must be a pqclock.Unique"),
        ({"units": 0}, "units 0 must be a whole number from 1"),
    ],
)
def test_a_wrong_option_is_named_with_the_task_and_its_value(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"task 'mail'.*{message}"):
        registered(**options)


def test_an_option_that_nobody_knows_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="task 'mail' has no option 'colour'"):
        registered(colour="red")
    with pytest.raises(TypeError, match="task 'mail' has no option 'colour'"):
        registered().using(colour="red")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("countdown", "delay"), ("eta", "run_at"), ("queueing_lock", "unique_key"), ("queue_name", "queue")],
)
def test_options_of_other_queues_are_told_ours(theirs: str, ours: str) -> None:
    with pytest.raises(TypeError, match=f"task 'mail' has no option '{theirs}': did you mean '{ours}'"):
        registered().using(**{theirs: 3})


@pytest.mark.parametrize("theirs", ["delay", "apply_async", "defer", "send", "configure"])
def test_methods_of_other_queues_are_told_ours(theirs: str) -> None:
    with pytest.raises(AttributeError, match=rf"no attribute '{theirs}': write TASK.*enqueue\("):
        getattr(registered(), theirs)
    assert not hasattr(registered(), "colour")


def test_a_decorator_without_a_name_says_how_to_give_one() -> None:
    with pytest.raises(ArgumentError, match=r'write @app.task\("print_nothing"\)'):
        App().task(print_nothing)  # type: ignore[call-overload]


def test_a_name_is_registered_once() -> None:
    app = App()
    app.task("mail")(print_nothing)
    with pytest.raises(ArgumentError, match=r"task 'mail' is registered twice, by .*print_nothing"):
        app.task("mail")(print_nothing)
    assert list(app.tasks) == ["mail"]
    with pytest.raises(TypeError):
        app.tasks["other"] = app.tasks["mail"]  # type: ignore[index]


def print_nothing() -> None:
    """Do nothing."""


def test_functions_without_named_parameters_are_refused() -> None:
    def positional(a: int, /) -> None: ...
    def starred(*a: int) -> None: ...

    for function in (positional, starred):
        with pytest.raises(ArgumentError, match="arguments of jobs have names"):
            registered(function)


def test_a_plain_call_runs_here() -> None:
    def double(number: int) -> int:
        """Twice as much."""
        return 2 * number

    async def double_async(number: int) -> int:
        return 2 * number

    task = registered(double)
    assert task(21) == 42
    assert (task.__doc__, repr(task), task.is_async) == ("Twice as much.", "<Task mail>", False)
    task = registered(double_async)
    assert task.is_async
    assert asyncio.run(task(21)) == 42


def test_arguments_are_bound_by_name() -> None:
    def function(a: int, b: int = 2, *, c: int = 3, **more: int) -> None: ...

    task = registered(function)
    assert json.loads(task.job(1, c=5, d=6).args) == {"a": 1, "c": 5, "d": 6}
    assert json.loads(task.job(b=1, a=0).args) == {"a": 0, "b": 1}


def test_a_call_that_does_not_fit_is_a_type_error() -> None:
    def function(a: int) -> None: ...

    task = registered(function)
    for args, kwargs, message in (((), {}, "'a'"), ((1, 2), {}, "too many"), ((1,), {"b": 2}, "'b'")):
        with pytest.raises(
            TypeError, match=rf"task 'mail' \(a: .int.\) -> None.?: .*{message}|task 'mail' .*{message}"
        ):
            task.job(*args, **kwargs)


def test_an_argument_that_is_no_json_is_named_by_its_path() -> None:
    with pytest.raises(ArgumentError, match=r"task 'mail': args\.to\[0\]\.on is .* of type date"):
        registered().job([{"on": date(2026, 11, 22)}])


def test_options_of_one_enqueue_are_checked_and_kept() -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    task = registered(queue="task")
    assert task.using(run_at=noon, queue="mice", priority=1, labels=["a", "a"], max_attempts=2).job("b") == NewJob(
        "mail", '{"to":"b"}', "mice", noon, None, 1, '["a"]', 2
    )
    assert task.using(delay="5m").job() == NewJob("mail", "{}", delay=timedelta(minutes=5))
    for options, message in (
        ({"run_at": noon, "delay": "5m"}, "give either run_at or delay"),
        ({"run_at": noon.replace(tzinfo=None)}, "must be a datetime with a timezone"),
        ({"run_at": "12:00"}, "must be a datetime with a timezone"),
        ({"unique_key": ""}, "unique_key '' must be a printable text of 1 to 512 bytes"),
        ({"unique_key": "x", "unique": Unique("x")}, "give either unique or unique_key"),
    ):
        with pytest.raises(ArgumentError, match=f"task 'mail'.*{message}"):
            task.using(**options)
    with pytest.raises(DurationError):
        task.using(delay="soon")


def test_the_publication_holds_what_a_database_can_hold() -> None:
    app = App(version="1.2")

    @app.task("mail", queue="mice", labels=["a"], retry=Retry(max_attempts=4))
    def mail(to: str, sender: str = "me", when: object = date(2026, 11, 22)) -> None: ...

    (published,) = app.publication()
    assert published == {
        "name": "mail", "queue": "mice", "priority": None, "max_attempts": 4, "labels": ["a"],
        "arg_defaults": {"sender": "me"}, "options": {"retry": Retry(max_attempts=4).to_options()},
        "code_version": "1.2",
    }  # fmt: skip


def test_a_wrong_schema_is_refused_at_once() -> None:
    with pytest.raises(SettingsError, match="is not a name for a schema"):
        App(schema='x"; DROP')


def test_an_unknown_option_is_named_with_the_nearest_one() -> None:
    with pytest.raises(TypeError, match="task 'mail' has no option 'timeot': did you mean 'timeout'"):
        registered(timeot="5m")
