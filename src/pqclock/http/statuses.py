"""The 202 pattern: accepted with the address of a status, which answers 200 until the job has ended, then 303.

Both addresses carry a random token of 128 bits and no id. What is done is written once, as steps that a thread or an
event loop takes: a statement, or a pause.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable, Generator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pqclock.errors import ArgumentError
from pqclock.http.answers import Answer, Receive, Scope, Send, problem
from pqclock.http.expecting import seconds_to_wait
from pqclock.http.standings import is_over, result_answer, status_answer
from pqclock.rules.durations import parse_duration
from pqclock.store.callers import Rows
from pqclock.store.database import CONNECTION_LOST
from pqclock.store.jobs import NewJob
from pqclock.store.statuses import Standing, digest, parse_standing
from pqclock.tasks.handle import JobHandle, pauses

if TYPE_CHECKING:
    from pqclock.tasks.app import App

log = logging.getLogger("pqclock.http")

Step = tuple[str, dict[str, Any], Any]
Steps = Generator[Step | float, Rows, Any]
# Of the headers, Expect and Prefer.
Asked = tuple[str | None, str | None]

_TOKEN_BYTES = 16
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*", re.ASCII)
_RESOURCE = re.compile(r"/([A-Za-z0-9_-]{22})(/result)?", re.ASCII)
_METHODS = ("GET", "HEAD")
# What a generator is sent at first.
_NOTHING_YET: Any = None


class Headers(Protocol):
    """The headers of a request: one by its name."""

    def get(self, name: str, /) -> str | None:
        """The value, None where there is none."""


class Statuses:
    """Gives out status addresses and answers there: an ASGI application to mount at `path`; `wsgi` is the same for WSGI.

    `path` is the path that clients see. A client that expects 200-ok is kept waiting for `max_wait` at most; an address
    is kept for `keep`, and as long as its job lives. The text of errors is told only with `expose_errors`.
    """

    def __init__(
        self,
        app: App,
        path: str = "/jobs",
        *,
        max_wait: str | timedelta = "10s",
        keep: str | timedelta = "7d",
        expose_errors: bool = False,
    ) -> None:
        if not isinstance(path, str) or _PATH.fullmatch(path) is None:
            raise ArgumentError(
                f"Statuses: path {path!r:.60} must be a path such as '/jobs', without a slash at its end"
            )
        self._app = app
        self._path = path
        self._max_wait = parse_duration(max_wait).total_seconds()
        self._keep = f"{parse_duration(keep).total_seconds()} s"
        self._expose_errors = expose_errors

    def accepted(self, job: JobHandle | NewJob, *, headers: Headers | None = None, conn: Any = None) -> Answer:
        """Answer a request by a job: 202 with its status in Location, or what the client expects.

        `job` is a handle, or a description by `Task.job(...)`: that is enqueued here, in the transaction of `conn` if
        given, and only after what `headers` of the request expect was found to be possible (else 417). With `Expect:
        200-ok` or `Prefer: wait=SECONDS` the answer is the result when it comes within that time and `max_wait`, unless
        `conn` is given. `headers` have a `get`, as those of every framework, which does not care about case.
        """
        wait = self._wait(job, headers)
        if isinstance(wait, Answer):
            return wait
        handle = job if isinstance(job, JobHandle) else self._app.enqueue_many([job], conn)[0]
        answer: Answer = self._take(self._accepting(handle, wait, conn))
        return answer

    async def accepted_async(
        self, job: JobHandle | NewJob, *, headers: Headers | None = None, conn: Any = None
    ) -> Answer:
        """The same, on an event loop."""
        wait = self._wait(job, headers)
        if isinstance(wait, Answer):
            return wait
        handle = job if isinstance(job, JobHandle) else (await self._app.enqueue_many_async([job], conn))[0]
        answer: Answer = await self._take_async(self._accepting(handle, wait, conn))
        return answer

    def answer(self, method: str, path: str, headers: Headers | None = None) -> Answer:
        """Answer a request to `path`, with or without the path of the mount; 503 while the database is away."""
        try:
            answer: Answer = self._take(self._answering(method, path, _asked(headers)))
        except CONNECTION_LOST as error:
            return _unavailable(error)
        return answer

    async def answer_async(self, method: str, path: str, headers: Headers | None = None) -> Answer:
        """The same, on an event loop."""
        try:
            answer: Answer = await self._take_async(self._answering(method, path, _asked(headers)))
        except CONNECTION_LOST as error:
            return _unavailable(error)
        return answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            path = str(scope["path"]).removeprefix(str(scope.get("root_path") or "").rstrip("/"))
            headers = {name: _header(scope, name.lower().encode()) for name in ("Expect", "Prefer")}
            answer = await self.answer_async(scope["method"], path, headers)
            await answer(scope, receive, send)

    def wsgi(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        """The WSGI application."""
        headers = {name: environ.get(f"HTTP_{name.upper()}", "") for name in ("Expect", "Prefer")}
        answer = self.answer(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""), headers)
        return answer.wsgi(environ, start_response)

    def _wait(self, job: object, headers: Headers | None) -> float | Answer:
        if not isinstance(job, JobHandle | NewJob):
            raise ArgumentError(f"accepted() got {job!r:.60}: give a JobHandle, or a job by `task.job(...)`")
        return seconds_to_wait(*_asked(headers), self._max_wait)

    def _accepting(self, job: JobHandle, wait: float, conn: Any) -> Steps:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        known = digest(token)
        yield "statuses.accept", {"digest": known, "job_id": str(job.id), "keep": self._keep}, conn
        status = f"{self._path}/{token}"
        standing = None
        if wait and conn is None:
            standing = yield from self._found(known, wait)
        if standing is not None and is_over(standing):
            return result_answer(
                standing, {"Content-Location": f"{status}/result"}, expose_errors=self._expose_errors
            )  # fmt: skip
        return Answer(202, {"Location": status, "Retry-After": "1", "Cache-Control": "no-store"})

    def _answering(self, method: str, path: str, asked: Asked) -> Steps:
        resource = _RESOURCE.fullmatch(path.removeprefix(self._path) if path.startswith(f"{self._path}/") else path)
        if resource is None:
            return _unknown()
        if method not in _METHODS:
            return problem(405, "a status is only read", {"Allow": ", ".join(_METHODS)})
        wait = seconds_to_wait(*asked, self._max_wait)
        if isinstance(wait, Answer):
            return wait
        token, result = resource.groups()
        standing = yield from self._found(digest(token), wait)
        if standing is None:
            return _unknown()
        return self._told(standing, token, result is not None)

    def _told(self, standing: Standing, token: str, result: bool) -> Answer:
        """Addresses are relative, so that they lead there through whatever proxy the request has come."""
        if is_over(standing):
            if result:
                return result_answer(standing, {}, expose_errors=self._expose_errors)
            return status_answer(standing, 303, {"Location": f"{token}/result"})
        return status_answer(standing, 303 if result else 200, {"Location": f"../{token}"} if result else {})

    def _found(self, known: str, wait: float) -> Generator[Step | float, Rows, Standing | None]:
        standing = None
        for pause in pauses(wait):
            standing = parse_standing((yield "statuses.find", {"digest": known}, None))
            if not wait or is_over(standing):
                break
            yield pause
        return standing

    def _take(self, steps: Steps) -> Any:
        connections, rows = self._app.connections, _NOTHING_YET
        while True:
            try:
                step = steps.send(rows)
            except StopIteration as end:
                return end.value
            if isinstance(step, float):
                time.sleep(step)
                rows = ()
            else:
                rows = connections.run(*step)

    async def _take_async(self, steps: Steps) -> Any:
        connections, rows = self._app.connections, _NOTHING_YET
        while True:
            try:
                step = steps.send(rows)
            except StopIteration as end:
                return end.value
            if isinstance(step, float):
                await asyncio.sleep(step)
                rows = ()
            else:
                rows = await connections.run_async(*step)


def _asked(headers: Headers | None) -> Asked:
    return (None, None) if headers is None else (headers.get("Expect"), headers.get("Prefer"))


def _header(scope: Scope, wanted: bytes) -> str:
    return ", ".join(value.decode("latin-1") for name, value in scope["headers"] if name.lower() == wanted)


def _unknown() -> Answer:
    return problem(404, "there is no such status, or not any more")


def _unavailable(error: BaseException) -> Answer:
    log.error("a status could not be looked up: %s", " ".join(str(error).split()))
    return problem(503, "the status cannot be looked up now", {"Retry-After": "5"})


async def _live(receive: Receive, send: Send) -> None:
    """The lifespan of a server of which this is the whole application: there is nothing to do."""
    for word in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{word}.complete"})
