"""Jobs after others, and collections that are split into jobs, as an application writes them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from conftest import ROOT
from pqclock import App, JobHandle, JobNotFinished, Task, Unique, UnknownJob
from pqclock.errors import ArgumentError, UnknownTask
from pqclock.store import insertion
from pqclock.tasks.fan_out import FanOut
from tasks.callers import ASYNC_WAYS, WAYS

if TYPE_CHECKING:
    from conftest import Database

LINKS = "SELECT job_id, after_id FROM pqclock.job_after ORDER BY 1, 2"
PARTS = "SELECT args -> 'items' FROM pqclock.job WHERE parent_id = %s ORDER BY id"


@pytest.fixture
def mail(app: App) -> Task[..., Any]:
    """A registered task."""
    return app.task("mail")(lambda n=0: None)


@pytest.fixture
def chunk(app: App) -> Task[..., Any]:
    """A task for the parts of a collection."""
    return app.task("chunk")(lambda items, tenant="": None)


@pytest.fixture(params=["threads", "loops"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Sync and async, with slices of ten jobs."""
    monkeypatch.setattr(insertion, "SLICE_JOBS", 10)
    return str(request.param)


def fan(app: App, way: str, *args: Any, **options: Any) -> FanOut:
    async def run() -> FanOut:
        try:
            return await app.fan_out_async(*args, **options)
        finally:
            await app.close_async()

    return app.fan_out(*args, **options) if way == "threads" else asyncio.run(run())


def test_handles_and_ids_name_what_a_job_waits_for(database: Database, mail: Task[..., Any]) -> None:
    a, b = mail.enqueue(n=1), mail.enqueue(n=2)
    c = mail.using(after=[b, a.id, a]).enqueue(n=3)
    d = mail.using(after=c).enqueue(n=4)
    assert (c.state, d.state) == ("scheduled", "scheduled")
    assert database.rows(LINKS) == [(c.id, a.id), (c.id, b.id), (d.id, c.id)]
    assert mail.using(after=[]).enqueue().state == "ready"


def test_jobs_of_one_call_name_each_other(database: Database, app: App, mail: Task[..., Any]) -> None:
    first = mail.job(n=1)
    both = [first, mail.using(after=[first]).job(n=2)]
    last = mail.using(after=both).job(n=3)
    a, b, c = app.enqueue_many([*both, last])
    assert [handle.state for handle in (a, b, c)] == ["ready", "scheduled", "scheduled"]
    assert database.rows(LINKS) == [(b.id, a.id), (c.id, a.id), (c.id, b.id)]
    assert database.value("SELECT count(*) FROM pqclock.after_note") == 0


def test_an_event_loop_has_the_same(database: Database, app: App, mail: Task[..., Any]) -> None:
    async def run() -> tuple[JobHandle, JobHandle]:
        a = await mail.enqueue_async()
        b = await mail.using(after=[a]).enqueue_async()
        await app.close_async()
        return a, b

    a, b = asyncio.run(run())
    assert database.rows(LINKS) == [(b.id, a.id)]


@pytest.mark.parametrize(
    ("after", "fault"),
    [
        ("abc", "after 'abc' must be a list of handles or ids"),
        ([1.5], "after 1.5 is no job"),
        ([True], "after True is no job"),
        ([2**63], "is no job"),
        ({"a": 1}, "must be a list"),
        ([None], "after None is no job"),
        (object(), "must be a list"),
    ],
)
def test_what_is_no_job_is_refused(mail: Task[..., Any], after: Any, fault: str) -> None:
    with pytest.raises(ArgumentError, match=f"^task 'mail': .*{fault}"):
        mail.using(after=after)


def test_what_the_database_does_not_have_is_refused(database: Database, app: App, mail: Task[..., Any]) -> None:
    with pytest.raises(ArgumentError, match="task 'mail': after names job 4711, which the database does not have"):
        mail.using(after=[4711]).enqueue()
    later = mail.job()
    with pytest.raises(ArgumentError, match="does not come before it in the same call"):
        app.enqueue_many([mail.using(after=[later]).job(), later])
    with pytest.raises(ArgumentError, match="does not come before it in the same call"):
        mail.using(after=[later]).enqueue()
    assert database.value("SELECT count(*) FROM pqclock.job") == 0


def test_the_error_leaves_the_callers_transaction_alone(database: Database, mail: Task[..., Any]) -> None:
    with psycopg.connect(database.url) as conn:
        a = mail.using(conn=conn).enqueue()
        with pytest.raises(ArgumentError):
            mail.using(conn=conn, after=[4711]).enqueue()
        b = mail.using(conn=conn, after=[a]).enqueue()
    assert database.rows(LINKS) == [(b.id, a.id)]


def test_a_rollback_takes_all_along(database: Database, app: App, mail: Task[..., Any], chunk: Task[..., Any]) -> None:
    a = mail.enqueue()
    with psycopg.connect(database.url) as conn:
        mail.using(conn=conn, after=[a]).enqueue()
        whole = app.fan_out("chunk", range(100), chunk=5, conn=conn, then=mail.job())
        with pytest.raises(UnknownJob, match="rolled back or not committed yet"):
            whole.progress()
        conn.rollback()
    with pytest.raises(UnknownJob):
        whole.wait(1)
    assert database.value("SELECT count(*) FROM pqclock.job") == 1
    for table in ("job_after", "after_note", "fan_out"):
        assert database.value(f"SELECT count(*) FROM pqclock.{table}") == 0


@pytest.mark.parametrize("count", [1, 9, 10, 11, 45])
@pytest.mark.parametrize("kind", [list, iter])
def test_a_collection_is_split(
    database: Database, app: App, chunk: Task[..., Any], mail: Task[..., Any], way: str, count: int, kind: Any
) -> None:
    items = list(range(count * 2 - 1))
    whole = fan(app, way, "chunk", kind(items), chunk=2, args={"tenant": "acme"}, queue="mice", then=mail.job(n=7))
    assert database.rows(PARTS, whole.id) == [(items[n : n + 2],) for n in range(0, len(items), 2)]
    assert len(whole.jobs) == count
    assert (whole.progress().total, whole.progress().left) == (count, count)
    assert whole.then is not None
    assert database.rows(LINKS) == [(whole.then.id, job.id) for job in whole.jobs]
    assert (
        database.value("SELECT count(*) FROM pqclock.job WHERE queue = 'mice' AND args ->> 'tenant' = 'acme'") == count
    )
    assert database.value("SELECT count(DISTINCT xmin::text) FROM pqclock.job") == 1
    assert database.value("SELECT count(*) FROM pqclock.after_note") == 0


def test_a_whole_can_be_waited_for(database: Database, app: App, chunk: Task[..., Any], mail: Task[..., Any]) -> None:
    whole = app.fan_out(chunk, ["ab", "def"], chunk=1)
    handle = mail.using(after=[whole]).enqueue()
    assert database.rows(LINKS) == [(handle.id, job.id) for job in whole.jobs]
    part = mail.using(parent=whole).enqueue()
    assert database.value("SELECT parent_id FROM pqclock.job WHERE id = %s", part.id) == whole.id
    with pytest.raises(JobNotFinished, match=rf"fan-out {whole.id} has not ended within 0.01"):
        whole.wait(0.01)


def test_nothing_is_split_into_nothing(
    database: Database, app: App, chunk: Task[..., Any], mail: Task[..., Any], way: str
) -> None:
    whole = fan(app, way, "chunk", [])
    assert (whole.jobs, whole.then, whole.progress(), whole.wait(1)) == ((), None, (0, 0, 0), (0, 0, 0))
    whole = fan(app, way, "chunk", iter(()), then=mail.job())
    assert whole.then is not None
    assert whole.then.state == "ready"


def test_the_last_job_keeps_what_it_waits_for_itself(
    database: Database, app: App, chunk: Task[..., Any], mail: Task[..., Any]
) -> None:
    a = mail.enqueue()
    whole = app.fan_out("chunk", [1], then=mail.using(after=[a], unique_key="k").job())
    assert whole.then is not None
    assert database.rows(LINKS) == [(whole.then.id, a.id), (whole.then.id, whole.jobs[0].id)]


def test_parts_with_taken_keys_are_those_that_have_them(database: Database, app: App, mail: Task[..., Any]) -> None:
    app.task("keyed.one", unique=Unique(key="{tenant}"))(lambda items, tenant: None)
    first = app.tasks["keyed.one"].enqueue(items=[], tenant="a")
    whole = app.fan_out("keyed.one", [1, 2], chunk=1, args={"tenant": "a"}, then=mail.job())
    assert {job.id for job in whole.jobs} == {first.id}
    assert whole.progress() == (0, 0, 0)
    assert whole.then is not None
    assert database.rows(LINKS) == [(whole.then.id, first.id)]


def test_what_fails_in_the_middle_undoes_all(database: Database, app: App, chunk: Task[..., Any], way: str) -> None:
    def failing() -> Iterator[int]:
        yield from range(350)
        raise LookupError("no more")

    with pytest.raises(LookupError):
        fan(app, way, "chunk", failing(), chunk=10)
    with pytest.raises(ArgumentError, match="task 'chunk': args"):
        fan(app, way, "chunk", [*range(350), object()], chunk=10)
    assert database.value("SELECT count(*) FROM pqclock.job") == 0
    assert database.value("SELECT count(*) FROM pqclock.fan_out") == 0


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"items": "text"}, "items are of type str"),
        ({"items": 5}, "items are of type int"),
        ({"chunk": 0}, "chunk 0 must be a whole number from 1"),
        ({"chunk": "5"}, "chunk '5' must be"),
        ({"args": [1]}, "args .* must be a mapping"),
        ({"then": 5}, "then 5 must be one job"),
        ({"unique_key": "k"}, "unique_key is not for the parts"),
        ({"parent": 1}, "parent is not for the parts"),
    ],
)
def test_a_call_that_cannot_be_is_refused(app: App, chunk: Task[..., Any], given: dict[str, Any], fault: str) -> None:
    items = given.pop("items", [1])
    with pytest.raises(ArgumentError, match=rf"^fan_out\('chunk'\): .*{fault}"):
        app.fan_out("chunk", items, **given)


def test_the_task_has_to_be_there_and_to_take_the_items(app: App, chunk: Task[..., Any]) -> None:
    with pytest.raises(UnknownTask, match="no task 'nope' is registered"):
        app.fan_out("nope", [1])
    with pytest.raises(TypeError, match="task 'chunk'"):
        app.fan_out("chunk", [1], arg="users")
    with pytest.raises(TypeError, match="has no option 'nope'"):
        app.fan_out("chunk", [1], nope=1)  # type: ignore[call-arg]


def test_the_page_runs(database: Database, app: App) -> None:
    page = (ROOT / "docs" / "workers.md").read_text()
    section = page.partition("\n## After other jobs\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"app": app}
    for block in blocks:
        exec(block, names)
    assert names["parts"].progress() == (0, 0, 100)
    assert database.value("SELECT count(*) FROM pqclock.job WHERE awaits") == 4


def test_a_fan_out_is_part_of_every_librarys_transaction(database: Database, app: App, chunk: Any, mail: Any) -> None:
    for name, open_way in WAYS.items():
        with open_way(database.url) as way:
            whole = app.fan_out("chunk", range(25), chunk=1, conn=way.conn, then=mail.job())
            behind = mail.using(after=[whole], conn=way.conn).enqueue()
            assert len(whole.jobs) == 25, name
            way.commit()
        assert whole.progress() == (0, 0, 25), name
        assert database.value("SELECT count(*) FROM pqclock.job_after WHERE job_id = %s", behind.id) == 25, name


def test_a_fan_out_is_part_of_every_async_transaction(database: Database, app: App, chunk: Any, mail: Any) -> None:
    async def run() -> None:
        for name, open_way in ASYNC_WAYS.items():
            async with open_way(database.url) as way:
                whole = await app.fan_out_async("chunk", range(25), chunk=1, conn=way.conn, then=mail.job())
                await way.commit()
            assert await whole.progress_async() == (0, 0, 25), name
        await app.close_async()

    asyncio.run(run())
