"""The 202 pattern: accepted, told of, and the result; under ASGI and WSGI, with hostile requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from conftest import Database
from pqclock import App, ArgumentError, Cancel
from pqclock.http import Answer, Statuses
from pqclock.store import statuses as store
from pqclock.store.schedules import database_now
from processes.fleet import eventually


@pytest.fixture
def app(database: Database) -> Iterator[App]:
    app = App(database.url)

    @app.task("double")
    def double(n: int) -> int:
        return 2 * n

    @app.task("fail")
    def fail() -> None:
        raise ValueError("the password is 1234")

    @app.task("cancel")
    def cancel() -> None:
        raise Cancel("not wanted")

    yield app
    app.close()


def body(answer: Answer) -> Any:
    return json.loads(answer.body)


def path_of(answer: Answer) -> str:
    assert answer.status == 202
    return answer.headers["Location"]


def test_a_job_is_followed_from_202_to_its_result(app: App) -> None:
    statuses = Statuses(app, "/jobs")
    accepted = statuses.accepted(app.tasks["double"].enqueue(n=21))
    path = path_of(accepted)
    assert accepted.headers["Retry-After"] == "1" and accepted.body == b""
    found = statuses.answer("GET", path)
    assert (found.status, found.headers["Retry-After"], body(found)["state"]) == (200, "1", "ready")
    assert body(found)["created_at"].endswith("Z") and body(found)["started_at"] is None
    early = statuses.answer("GET", f"{path}/result")
    assert (early.status, early.headers["Location"]) == (303, f"../{path.rpartition('/')[2]}")
    with app.worker():
        eventually(lambda: statuses.answer("GET", path).status == 303)
    done = statuses.answer("GET", path)
    assert done.headers["Location"] == f"{path.rpartition('/')[2]}/result" and "Retry-After" not in done.headers
    result = statuses.answer("GET", f"{path}/result")
    assert (result.status, body(result), result.headers["Content-Type"]) == (200, 42, "application/json")
    assert result.headers["Cache-Control"] == "no-store"


def test_addresses_are_random_and_only_their_digests_are_kept(app: App, database: Database) -> None:
    statuses, handle = Statuses(app), app.tasks["double"].enqueue(n=1)
    tokens = {path_of(statuses.accepted(handle)).rpartition("/")[2] for _ in range(20)}
    assert len(tokens) == 20 and {len(token) for token in tokens} == {22}
    assert not any(str(handle.id) == token for token in tokens)
    kept = {row[0] for row in database.rows("SELECT encode(digest, 'hex') FROM pqclock.status_address")}
    assert kept == {store.digest(token) for token in tokens}


def test_later_jobs_say_when_to_ask_again(app: App) -> None:
    statuses = Statuses(app)
    for delay, seconds in (("7s", "7"), ("1h", "60")):
        path = path_of(statuses.accepted(app.tasks["double"].using(delay=delay).enqueue(n=1)))
        assert statuses.answer("GET", path).headers["Retry-After"] == seconds


def test_progress_is_told_without_the_cursor(app: App, database: Database) -> None:
    statuses = Statuses(app)
    path = path_of(statuses.accepted(app.tasks["double"].enqueue(n=1)))
    assert "progress" not in body(statuses.answer("GET", path))
    database.rows('UPDATE pqclock.job SET checkpoint = \'{"cursor": "secret", "done": 3, "total": 4}\' RETURNING 1')
    found = statuses.answer("GET", path)
    assert body(found)["progress"] == {"done": 3, "total": 4} and b"secret" not in found.body


@pytest.mark.parametrize(
    ("task", "status", "state", "words"),
    [("fail", 500, "failed", "the job has failed"), ("cancel", 410, "cancelled", "the job was cancelled")],
)
def test_other_ends_are_problems_that_tell_no_secrets(app: App, task: str, status: int, state: str, words: str) -> None:
    statuses, open_ones = Statuses(app), Statuses(app, expose_errors=True)
    with app.worker():
        path = path_of(statuses.accepted(app.tasks[task].enqueue()))
        eventually(lambda: statuses.answer("GET", path).status == 303)
    found = statuses.answer("GET", f"{path}/result")
    assert (found.status, found.headers["Content-Type"]) == (status, "application/problem+json")
    assert body(found)["status"] == status and body(found)["type"] == "about:blank"
    assert (body(found)["state"], body(found)["detail"]) == (state, words)
    told = body(open_ones.answer("GET", f"{path}/result"))["detail"]
    assert told.startswith(f"{words}: ") and told != words


def test_a_client_may_expect_the_result(app: App) -> None:
    statuses = Statuses(app, max_wait="10s")
    with app.worker():
        answer = statuses.accepted(app.tasks["double"].job(n=4), headers={"Expect": "200-OK"})
        assert (answer.status, body(answer)) == (200, 8)
        assert answer.headers["Content-Location"].endswith("/result")
        failed = statuses.accepted(app.tasks["fail"].job(), headers={"Expect": "200-ok, 100-continue"})
        assert failed.status == 500
        path = path_of(statuses.accepted(app.tasks["double"].job(n=5), headers={"Expect": "202-accepted"}))
        assert statuses.answer("GET", path, {"Expect": "200-ok"}).status == 303
        assert body(statuses.answer("GET", f"{path}/result", {"Expect": "200-ok"})) == 10


def test_a_client_may_prefer_to_wait(app: App) -> None:
    statuses = Statuses(app, max_wait="10s")
    job = app.tasks["double"].job(n=4)
    for prefer in (
        "wait=0",
        "respond-async",
        "respond-async, wait=5",
        "wait=x",
        "wait=-1",
        "handling=strict",
        "",
        "é=\x00",
    ):
        assert statuses.accepted(job, headers={"Prefer": prefer}).status == 202
    assert statuses.accepted(job, headers={"Prefer": "wait=9", "Expect": "202-accepted"}).status == 202
    with app.worker():
        for prefer in ("wait=9", 'Wait = "9"; x=y', "handling=strict, wait=999999"):
            assert statuses.accepted(job, headers={"Prefer": prefer}).status == 200


def test_who_expects_the_result_waits_no_longer_than_is_allowed(app: App) -> None:
    statuses = Statuses(app, max_wait="20ms")
    path = path_of(statuses.accepted(app.tasks["double"].job(n=4), headers={"Expect": "200-ok"}))
    assert statuses.answer("GET", path, {"Expect": "200-ok"}).status == 200


def test_an_expectation_that_nobody_can_meet_is_refused_before_anything_is_enqueued(
    app: App, database: Database
) -> None:
    statuses = Statuses(app)
    path = path_of(statuses.accepted(app.tasks["double"].job(n=1)))
    for expect in ("teapot", "200-ok, teapot", "200-ok;q=1", "\x00", "x" * 10_000):
        answer = statuses.accepted(app.tasks["double"].job(n=1), headers={"Expect": expect})
        assert (answer.status, body(answer)["title"]) == (417, "Expectation Failed")
        assert statuses.answer("GET", path, {"Expect": expect}).status == 417
    assert database.value("SELECT count(*) FROM pqclock.job") == 1


def test_job_and_address_come_with_the_callers_transaction(app: App, database: Database) -> None:
    statuses = Statuses(app)
    with psycopg.connect(database.url) as conn:
        path = path_of(statuses.accepted(app.tasks["double"].job(n=1), headers={"Expect": "200-ok"}, conn=conn))
        assert statuses.answer("GET", path).status == 404
        conn.commit()
        assert statuses.answer("GET", path).status == 200
        gone = path_of(statuses.accepted(app.tasks["double"].job(n=1), conn=conn))
        conn.rollback()
    assert statuses.answer("GET", gone).status == 404


HOSTILE = [
    "", "/", "//", "/jobs", "/jobs/", "/1", "/jobs/1", f"/{'A' * 22}", f"/jobs/{'A' * 22}/result", f"/{'A' * 23}",
    f"/{'A' * 22}/", f"/{'A' * 22}/../..", "/../../etc/passwd", "/%2e%2e", "/\x00", f"/{'A' * 21}\n", f"/{'A' * 22}\n",
    "/'; DROP TABLE pqclock.job; --", "/" + "é" * 22, "/" + "A" * 1_000_000,
]  # fmt: skip


def test_what_leads_nowhere_is_404(app: App) -> None:
    statuses = Statuses(app)
    for path in HOSTILE:
        assert [statuses.answer(method, path).status for method in ("GET", "HEAD")] == [404, 404], path[:40]
        assert statuses.answer("DELETE", path).status in (404, 405), path[:40]


def test_a_status_is_only_read(app: App) -> None:
    statuses = Statuses(app)
    path = path_of(statuses.accepted(app.tasks["double"].enqueue(n=1)))
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", "", "X" * 1000):
        found = statuses.answer(method, path)
        assert (found.status, found.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["jobs", "/jobs/", "/a b", "//", "/jöbs", None])
def test_a_path_that_is_none_is_refused(path: Any) -> None:
    with pytest.raises(ArgumentError, match="must be a path such as '/jobs'"):
        Statuses(App("postgresql://x/x"), path)
    with pytest.raises(ArgumentError, match=r"accepted\(\) got 4: give a JobHandle"):
        Statuses(App("postgresql://x/x")).accepted(4)  # type: ignore[arg-type]


def test_an_absent_database_is_503(caplog: pytest.LogCaptureFixture) -> None:
    statuses = Statuses(App("postgresql://127.0.0.1:1/x"))
    found = statuses.answer("GET", f"/{'A' * 22}")
    assert (found.status, found.headers["Retry-After"]) == (503, "5")
    assert asyncio.run(statuses.answer_async("GET", f"/{'A' * 22}")).status == 503
    assert "cannot be reached" in caplog.text and "127.0.0.1" not in found.body.decode()


def test_addresses_are_forgotten_in_time_but_never_before_their_job_has_ended(app: App, database: Database) -> None:
    statuses = Statuses(app, keep="1s")
    path = path_of(statuses.accepted(app.tasks["double"].enqueue(n=1)))
    late = database_now(database.session) + timedelta(seconds=2)
    assert store.forget(database.session, 10, late) == 0
    with app.worker():
        eventually(lambda: statuses.answer("GET", path).status == 303)
    assert store.forget(database.session, 10, late - timedelta(seconds=2)) == 0
    assert store.forget(database.session, 10, late) == 1
    assert statuses.answer("GET", path).status == 404


async def asked(
    application: Any, method: str, path: str, root: str = "", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """One request to an ASGI application."""
    sent: list[Any] = []
    scope = {
        "type": "http", "method": method, "path": path, "root_path": root,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip

    async def receive() -> Any:
        raise AssertionError("nothing of the request is read")

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    fields = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], fields, sent[1]["body"]


def test_it_is_an_asgi_application_wherever_it_is_mounted(app: App) -> None:
    statuses = Statuses(app, "/jobs")

    async def request(root: str, prefix: str) -> None:
        accepted = await statuses.accepted_async(app.tasks["double"].job(n=1))
        token = path_of(accepted).rpartition("/")[2]
        for _ in range(2):
            status, fields, content = await asked(statuses, "GET", f"{prefix}/{token}", root)
            assert (status, json.loads(content)["state"]) == (200, "ready")
            assert int(fields["content-length"]) == len(content)
        status, fields, content = await asked(statuses, "HEAD", f"{prefix}/{token}", root)
        assert (status, content) == (200, b"") and int(fields["content-length"]) > 0
        assert (await asked(statuses, "GET", f"{prefix}/{token}", root, expect="tea"))[0] == 417
        assert (await asked(accepted, "POST", "/"))[:2] == (202, {
            "location": f"/jobs/{token}", "retry-after": "1", "cache-control": "no-store", "content-length": "0",
        })  # fmt: skip
        await app.close_async()

    for root, prefix in (("", "/jobs"), ("/jobs", "/jobs"), ("/api/jobs", "/api/jobs"), ("", "")):
        asyncio.run(request(root, prefix))


def test_it_lives_as_a_whole_application_and_hangs_up_on_websockets(app: App) -> None:
    sent: list[str] = []

    async def receive() -> dict[str, str]:
        return {}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(Statuses(app)({"type": "lifespan"}, receive, send))
    asyncio.run(Statuses(app)({"type": "websocket"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]


def test_it_is_a_wsgi_application_too(app: App) -> None:
    statuses, begun = Statuses(app), []
    path = path_of(statuses.accepted(app.tasks["double"].job(n=1)))
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path}
    (content,) = statuses.wsgi(environ, lambda *args: begun.append(args))
    assert json.loads(content)["state"] == "ready" and begun[0][0] == "200 OK"
    assert ("Content-Length", str(len(content))) in begun[0][1]
    assert statuses.wsgi({**environ, "REQUEST_METHOD": "HEAD"}, lambda *args: None) == []
    statuses.wsgi({**environ, "HTTP_EXPECT": "tea"}, lambda *args: begun.append(args))
    assert begun[1][0] == "417 Expectation Failed"
