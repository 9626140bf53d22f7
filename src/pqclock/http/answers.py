"""An HTTP response that belongs to no framework, and can be returned from any."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# An address is a secret, and what is there changes: neither is for caches, for pages that are linked, or for guessing.
_ALWAYS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Answer:
    """Status code, headers and body; it is an ASGI application too, which a Starlette endpoint may return as it is.

    Elsewhere: `Response(answer.body, answer.status, answer.headers)` in FastAPI, `(answer.body, answer.status,
    answer.headers)` in Flask, `HttpResponse(answer.body, status=answer.status, headers=answer.headers)` in Django.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it."""
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self._fields().items()]
        await send({"type": "http.response.start", "status": self.status, "headers": fields})
        await send({"type": "http.response.body", "body": b"" if scope.get("method") == "HEAD" else self.body})

    def wsgi(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        """Send it, under WSGI."""
        start_response(f"{self.status} {HTTPStatus(self.status).phrase}", list(self._fields().items()))
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [self.body]

    def _fields(self) -> dict[str, str]:
        return {**self.headers, "Content-Length": str(len(self.body))}


def json_answer(status: int, value: object, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer with a JSON body."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(status, {"Content-Type": "application/json", **_ALWAYS, **(headers or {})}, body)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: object) -> Answer:
    """A problem document, as RFC 9457 has it: of the type `about:blank`, so the title is that of the status code."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return json_answer(status, document, {"Content-Type": "application/problem+json", **(headers or {})})
