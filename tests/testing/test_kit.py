"""What the testing kit does, on a real database: draining, moved time, assertions, inline mode."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import Database
from pqclock import App, ArgumentError, Cancel, Checkpoint, PqclockError, Retry, Snooze, Unique, current_job
from pqclock.errors import ScheduleFileError, UnknownTask
from pqclock.testing import drain, inline
from pqclock.testing.asserting import AssertEnqueued
from pqclock.testing.moments import Moments

DAY = timedelta(days=1)
THEN = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def moments(app: App, database: Database) -> Moments:
    return Moments(app, database.session)


def outcomes(ran: list[Any]) -> list[tuple[str, str, str]]:
    return [(run.task, run.outcome, run.state) for run in ran]


def test_drain_runs_what_is_due_and_what_that_makes_due(app: App, database: Database) -> None:
    @app.task("first", queue="a")
    def first(n: int) -> int:
        second.enqueue(n=n + 1)
        return n

    @app.task("second", queue="b")
    async def second(n: int) -> dict[str, Any]:
        job = current_job()
        return {"n": n, "id": job.id, "attempt": job.attempt}

    handle = first.enqueue(n=1)
    second.using(delay="1h").enqueue(n=9)
    one, two = drain(app)
    assert (one.id, one.task, one.args, one.queue, one.result) == (handle.id, "first", {"n": 1}, "a", 1)
    assert two.result == {"n": 2, "id": two.id, "attempt": 1} and two.state == "succeeded"
    assert handle.result() == 1 and drain(app) == []
    assert database.value("SELECT count(*) FROM pqclock.process") == 0
    assert database.value("SELECT count(*) FROM pqclock.attempt") == 2


def test_drain_tells_every_outcome_and_raises_when_asked(app: App) -> None:
    @app.task("jobs", retry=Retry(max_attempts=2, base="1m"))
    def job(how: str) -> None:
        raise {"error": ValueError("no"), "cancel": Cancel("off"), "snooze": Snooze("5m")}[how]

    for how in ("error", "cancel", "snooze"):
        job.enqueue(how=how)
    ran = drain(app)
    assert [(run.outcome, run.state) for run in ran] == [
        ("failed", "scheduled"), ("cancelled", "cancelled"), ("snoozed", "scheduled"),
    ]  # fmt: skip
    assert [type(run.exception) for run in ran] == [ValueError, Cancel, Snooze]
    handle = job.enqueue(how="error")
    with pytest.raises(ValueError, match="no"):
        drain(app, raise_errors=True)
    assert app.jobs.list(limit=1).rows[0].id == handle.id and app.jobs.list(limit=1).rows[0].attempt == 1


def test_drain_works_the_queues_that_are_named_and_in_order_of_priority(app: App) -> None:
    @app.task("t")
    def t(n: int) -> None:
        pass

    for n, queue, priority in ((1, "a", 0), (2, "b", 0), (3, "a", -1), (4, "c", -5)):
        t.using(queue=queue, priority=priority).enqueue(n=n)
    assert [run.args["n"] for run in drain(app, queues="a,b")] == [3, 1, 2]
    assert [run.args["n"] for run in drain(app)] == [4]


def test_drain_passes_gates_one_by_one(app: App, moments: Moments) -> None:
    app.rules.put("throttle.slow", rate="1/1m", burst=1)
    app.rules.put("throttle.one", concurrency=1)

    @app.task("t", throttle=["slow"])
    def t() -> None:
        pass

    @app.task("u", throttle=["one"])
    def u() -> None:
        pass

    moments.move_to(datetime.now(UTC))  # noqa: TID251
    for task in (t, t, u, u, u):
        task.enqueue()
    assert sorted(run.task for run in drain(app)) == ["t", "u", "u", "u"]
    moments.move_by("1m")
    assert outcomes(drain(app)) == [("t", "succeeded", "succeeded")]


def test_drain_runs_iterations_batches_and_what_surrounds_runs(app: App) -> None:
    seen: list[Any] = []

    @app.task("iterate", slice="1ms")
    def iterate(cursor: int | None = None) -> Iterator[Checkpoint]:
        for n in range(cursor or 0, 3):
            time.sleep(0.002)
            seen.append(n)
            yield Checkpoint(n + 1, done=n + 1, total=3)

    @app.task("mail", batch=10)
    def mail(jobs: list[Any]) -> dict[int, Exception]:
        seen.append([job.args["to"] for job in jobs])
        return {job.id: ValueError("bounced") for job in jobs if job.args["to"] == "b"}

    @app.task("slow", timeout="50ms")
    def slow() -> None:
        while True:
            time.sleep(0.001)

    @app.around_job
    @contextmanager
    def around(job: Any) -> Iterator[None]:
        seen.append(f"in {job.task}")
        yield

    app.on_error(lambda failure: seen.append((failure.task, failure.reason)))
    iterate.enqueue()
    assert [run.outcome for run in drain(app)] == ["interrupted"] * 3 + ["succeeded"]
    assert seen == ["in iterate", 0, "in iterate", 1, "in iterate", 2, "in iterate"]
    seen.clear()
    app.enqueue_many([mail.job(to=to) for to in ("a", "b", "c")])
    assert [(run.outcome, run.error) for run in drain(app)][1][0] == "failed"
    assert seen == ["in mail", ["a", "b", "c"], ("mail", "retries used up")]
    slow.enqueue()
    assert [run.outcome for run in drain(app)] == ["failed"] and seen[-1] == ("slow", "timed out")


def test_drain_gives_up_on_jobs_without_end_and_keeps_none(app: App, database: Database) -> None:
    @app.task("again")
    def again() -> None:
        again.enqueue()

    again.enqueue()
    with pytest.raises(PqclockError, match=r"drain\(\) ran 5 jobs and more are due, of task 'again'"):
        drain(app, limit=5)
    assert database.rows("SELECT state::text, attempt FROM pqclock.job") == [("ready", 0)]


def test_what_is_said_to_the_test_reaches_it_and_the_job_goes_on(app: App) -> None:
    @app.task("t")
    def t() -> None:
        raise KeyboardInterrupt

    t.enqueue()
    with pytest.raises(KeyboardInterrupt):
        drain(app)
    assert app.jobs.list().rows[0].state == "ready"


def test_drain_inside_of_an_event_loop(app: App) -> None:
    @app.task("t")
    async def t() -> int:
        await asyncio.sleep(0)
        return 1

    async def test() -> None:
        await t.enqueue_async()
        assert [run.result for run in drain(app)] == [1]
        await app.close_async()

    asyncio.run(test())


def test_moved_time_promotes_retries_and_is_seen_by_all(app: App, moments: Moments) -> None:
    seen: list[datetime] = []

    @app.task("t", retry=Retry(max_attempts=2, base="10m", backoff="exponential", jitter=0.0))
    def t() -> None:
        seen.append(current_job().granted_at)
        if current_job().attempt == 1:
            raise ValueError

    assert moments.move_to("2026-03-01T12:00:00+00:00") == THEN == moments.now
    t.using(delay="1h").enqueue()
    assert drain(app) == []
    moments.move_by("59m")
    assert drain(app) == []
    moments.move_by(timedelta(minutes=1))
    assert outcomes(drain(app)) == [("t", "failed", "scheduled")]
    moments.move_by("10m")
    assert outcomes(drain(app)) == [("t", "succeeded", "succeeded")]
    assert seen == [THEN + timedelta(minutes=60), THEN + timedelta(minutes=70)]
    row = app.jobs.list().rows[0]
    assert (row.created_at, row.finished_at) == (THEN, THEN + timedelta(minutes=70))


def test_schedules_tick_as_of_the_moved_time(app: App, moments: Moments) -> None:
    @app.task("t")
    def t(at: str) -> None:
        pass

    moments.move_to(THEN)
    app.schedules.put("nightly", task=t, cron="0 2 * * *", timezone="Europe/Berlin", args={"at": "{tick}"})
    moments.move_to(THEN + 30 * DAY)
    ran = [run.args["at"] for run in drain(app)]
    # The clocks go forward on 29 March: 02:00 becomes 03:00 there, which is 01:00 UTC as it is without the gap.
    assert len(ran) == 30 and ran[0] == "2026-03-02T01:00:00Z" and ran[-1] == "2026-03-31T00:00:00Z"
    app.schedules.pause("nightly")
    moments.move_by("2d")
    assert drain(app) == []
    assert app.schedules.trigger("nightly").inserted
    assert len(drain(app)) == 1


def test_schedule_files_apply_at_the_moved_time(app: App, moments: Moments, tmp_path: Path) -> None:
    @app.task("t")
    def t() -> None:
        pass

    (tmp_path / "all.toml").write_text('[schedule.often]\ntask = "t"\nevery = "1m"\noverlap = "skip"\n')
    moments.move_to(THEN)
    moments.apply(tmp_path)
    moments.move_by("3m")
    # The first one was never run, so that the others were left out.
    assert len(drain(app)) == 1
    moments.move_by("1m")
    assert len(drain(app)) == 1
    (tmp_path / "all.toml").write_text("[schedule.often]\n")
    with pytest.raises(ScheduleFileError, match=r"all\.toml"):
        moments.apply(tmp_path)


def test_a_time_that_is_none_is_refused(moments: Moments) -> None:
    times: list[Any] = ["yesterday", "2026-03-01T12:00:00", datetime(2026, 3, 1), 5]
    for when in times:
        with pytest.raises(ArgumentError, match=r"^move_to\("):
            moments.move_to(when)


@pytest.fixture
def mailed(app: App) -> AssertEnqueued:
    @app.task("mail.send", queue="mail")
    def send(to: str, tags: list[str] | None = None, urgent: bool = False) -> None:
        pass

    send.enqueue(to="ada")
    send.using(delay="1h").enqueue(to="bob", tags=["a"], urgent=True)
    return AssertEnqueued(app)


def test_assert_enqueued_finds_jobs_by_some_of_their_arguments(app: App, mailed: AssertEnqueued) -> None:
    assert mailed("mail.send", to="ada").state == "ready"
    assert mailed(app.tasks["mail.send"], to="bob", tags=("a",), urgent=True).queue == "mail"
    mailed.never("mail.send", to="eve")
    drain(app)
    assert mailed("mail.send", to="ada").state == "succeeded"


def test_assert_enqueued_says_what_there_is_instead(mailed: AssertEnqueued) -> None:
    failures: list[tuple[Callable[[], object], str]] = [
        (lambda: mailed("mail.send", to="eve"), "no job of 'mail.send' with to='eve' was enqueued; 2 jobs of it:"),
        (lambda: mailed("mail.send", to="eve"), ": to is 'ada', not 'eve'"),
        (lambda: mailed("mail.send", to="ada", tags=["a"]), '(ready, queue mail): {"to": "ada"}: it has no tags'),
        (lambda: mailed("mail.send", urgent=1), "urgent is True, not 1"),
        (
            lambda: mailed("mail.sent"),
            "and the app has no task of that name: there are mail.send; the newest of others:",
        ),
        (lambda: mailed("mail.send", too="ada"), "task 'mail.send' has no argument 'too': it takes to, "),
        (lambda: mailed.never("mail.send", too="ada"), "task 'mail.send' has no argument 'too': it takes to, "),
        (lambda: mailed.never("mail.send", to="ada"), "1 job of 'mail.send' with to='ada' enqueued:\n  job "),
    ]
    for fail, words in failures:
        with pytest.raises(AssertionError) as failure:
            fail()
        assert words in str(failure.value)


def test_assert_enqueued_in_an_empty_database(app: App) -> None:
    with pytest.raises(
        AssertionError, match="nor of any other task, and the app has no task of that name: it has none"
    ):
        AssertEnqueued(app)("x")


def test_inline_runs_at_the_enqueue_without_a_database() -> None:
    app = App()
    ran: list[tuple[Any, ...]] = []

    @app.task("outer", unique=Unique(key="{pair}"))
    def outer(pair: Any) -> Any:
        ran.append(("outer", pair, current_job().task))
        inner.enqueue()
        return pair

    @app.task("inner")
    async def inner() -> None:
        ran.append(("inner", current_job().queue, current_job().labels))

    with inline(app) as same:
        assert same is app
        handle = outer.using(delay="1h", queue="q").enqueue((1, 2))
        # Arguments and results have been through JSON.
        assert (handle.inserted, handle.state, handle.result()) == (True, "succeeded", [1, 2])
        assert ran == [("outer", [1, 2], "outer"), ("inner", "default", ())]
        with pytest.raises(ArgumentError, match=r"args\.pair"):
            outer.enqueue(object())
        with pytest.raises(TypeError):
            outer.enqueue()  # type: ignore[call-arg]
        assert [handle.id for handle in app.enqueue_many([inner.job(), inner.job()])] != []
    with pytest.raises(PqclockError):
        outer.enqueue(1)


def test_inline_on_an_event_loop() -> None:
    app = App()

    @app.task("t")
    async def t(n: int) -> int:
        await asyncio.sleep(0)
        return n

    async def test() -> None:
        handle = await t.enqueue_async(n=1)
        assert await handle.result_async() == 1
        assert t.enqueue(n=2).result() == 2

    with inline(app):
        asyncio.run(test())


def test_inline_runs_iterations_to_their_end_and_batches_one_by_one() -> None:
    app = App()
    seen: list[Any] = []

    @app.task("iterate", slice="1ms")
    async def iterate(cursor: int | None = None) -> AsyncIterator[Checkpoint]:
        for n in range(cursor or 0, 3):
            await asyncio.sleep(0.002)
            seen.append(n)
            yield Checkpoint(n + 1)

    @app.task("mail", batch=10)
    def mail(jobs: list[Any]) -> None:
        seen.append([job.args["to"] for job in jobs])

    with inline(app):
        assert iterate.enqueue().state == "succeeded"
        app.enqueue_many([mail.job(to=to) for to in ("a", "b")])
    assert seen == [0, 1, 2, ["a"], ["b"]]


def test_inline_raises_what_handlers_raise_but_signals() -> None:
    app = App()

    @app.task("t")
    def t(how: str) -> None:
        raise {"error": ValueError("no"), "cancel": Cancel("off"), "snooze": Snooze("5m")}[how]

    with inline(app):
        with pytest.raises(ValueError, match="no"):
            t.enqueue(how="error")
        assert [t.enqueue(how=how).state for how in ("cancel", "snooze")] == ["cancelled", "scheduled"]
        other = App()
        unknown = other.task("u")(lambda: None).job()
        with pytest.raises(UnknownTask, match="task 'u' is not registered"):
            app.enqueue_many([unknown])
    with inline(app, raise_errors=False):
        assert t.enqueue(how="error").state == "failed"
