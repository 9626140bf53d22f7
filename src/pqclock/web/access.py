"""Who may look and who may act: hosts, tokens, roles, and proof that a deed comes from our own pages.

A browser sends a page's requests to any host that a name resolves to, and forms of any page to ours: so the name in
`Host` must be known, and what changes anything must say that it comes from here (Fetch Metadata, or `Origin`).
"""

from __future__ import annotations

import base64
import hmac
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Literal

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("pqclock.web")

Role = Literal["view", "operate"]

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
# Forms of ours are small.
MOST_BYTES = 64_000
SAFE_METHODS = ("GET", "HEAD")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it browsers hide the origin of our own forms, which is their proof.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a name for the audit, what they may do, and from where."""

    name: str
    role: Role
    origin: str

    @property
    def acts(self) -> bool:
        """Whether they may change anything."""
        return self.role == "operate"


# What an application that has its own sign-in says of a request: who that is, or None for nobody.
Authorize = Callable[[Scope], "tuple[str, Role] | None"]


@dataclass(frozen=True)
class Access:
    """Who may do what. Without tokens and `authorize` everybody may, from this machine alone.

    `hosts` are the names by which the dashboard is called, `*` all of them; with `read_only` nobody acts.
    """

    operate_token: str | None = field(default=None, repr=False)
    view_token: str | None = field(default=None, repr=False)
    hosts: Collection[str] = LOCAL_HOSTS
    read_only: bool = False
    authorize: Authorize | None = None

    @property
    def open(self) -> bool:
        """Whether nobody is asked who they are."""
        return self.authorize is None and not (self.operate_token or self.view_token)

    def knows_host(self, given: list[str]) -> bool:
        """Whether a request says one host, which is ours."""
        if len(given) != 1:
            return False
        name = host_name(given[0])
        return name is not None and ("*" in self.hosts or name in {host.lower() for host in self.hosts})

    def caller(self, scope: Scope, headers: Headers) -> Caller | None:
        """Who asks; None when that has to be said first."""
        client = scope.get("client") or ("?", 0)
        origin = str(client[0])
        if self.authorize is not None:
            found = self.authorize(scope)
            return None if found is None else self._caller(found[0], found[1], origin)
        if self.open:
            return self._caller("local", "operate", origin)
        name, token = _credentials(headers.get("authorization"))
        if self.operate_token and _same(token, self.operate_token):
            return self._caller(name or "operator", "operate", origin)
        if self.view_token and _same(token, self.view_token):
            return self._caller(name or "viewer", "view", origin)
        return None

    def _caller(self, name: str, role: Role, origin: str) -> Caller:
        return Caller(name[:100], "view" if self.read_only else role, origin)


def host_name(given: str) -> str | None:
    """The name in a Host header, without port and final dot, in lower case; None for what is none."""
    text = given.strip().lower()
    if text.startswith("["):
        name, bracket, rest = text.partition("]")
        return name + bracket if bracket and (not rest or (rest[:1] == ":" and rest[1:].isdecimal())) else None
    name, colon, port = text.partition(":")
    if colon and not port.isdecimal():
        return None
    return name.removesuffix(".") or None


def same_origin(headers: Mapping[str, str], scheme: str) -> bool:
    """Whether a request was made by a page of ours: browsers say so, and no page of others can."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    # Behind a proxy that ends TLS we see http, and the page https.
    return origin is not None and origin.lower() in {f"{s}://{headers['host'].lower()}" for s in {scheme, "https"}}


def _is_local(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _credentials(given: str | None) -> tuple[str, str]:
    kind, _, rest = (given or "").partition(" ")
    if kind.lower() == "bearer":
        return "", rest.strip()
    if kind.lower() != "basic":
        return "", ""
    try:
        name, _, token = base64.b64decode(rest, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return name, token


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


class Guard:
    """Lets requests through to `application` that may pass, with who asks as `scope["caller"]`."""

    def __init__(self, application: ASGIApp, access: Access) -> None:
        self._application = application
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":
            # No page of ours opens anything else.
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        refusal = self._refuse(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
            return
        await self._application(scope, _bounded(receive), _with_headers(send))

    def _refuse(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        if not self._access.knows_host(headers.getlist("host")):
            return PlainTextResponse("This dashboard is not known by that host: name it in PQCLOCK_WEB_HOSTS.\n", 421)
        caller = self._access.caller(scope, headers)
        if caller is None:
            if self._access.authorize is not None:
                return PlainTextResponse("Sign in first.\n", 403)
            challenge = {"WWW-Authenticate": 'Basic realm="pqclock", charset="UTF-8"'}
            return PlainTextResponse("Give a name of your choice, and the token as password.\n", 401, challenge)
        if self._access.open and not _is_local(caller.origin):
            return PlainTextResponse("Only this machine may, until there is a token or a sign-in.\n", 403)
        scope["caller"] = caller
        return None if scope["method"] in SAFE_METHODS else self._refuse_deed(scope, headers, caller)

    @staticmethod
    def _refuse_deed(scope: Scope, headers: Headers, caller: Caller) -> PlainTextResponse | None:
        if scope["method"] != "POST":
            return PlainTextResponse("GET and POST are all there is.\n", 405, {"Allow": "GET, HEAD, POST"})
        if not same_origin(headers, scope["scheme"]):
            log.warning("a deed was refused that no page of the dashboard has asked for, from %s", caller.origin)
            return PlainTextResponse("This does not come from a page of the dashboard.\n", 403)
        if not caller.acts:
            return PlainTextResponse("You may look, not act.\n", 403)
        return None


def _bounded(receive: Receive) -> Receive:
    seen = 0

    async def receive_some() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MOST_BYTES:
            return {"type": "http.disconnect"}
        return message

    return receive_some


def _with_headers(send: Send) -> Send:
    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            given: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            ours = {**HEADERS, **({} if b"cache-control" in names else {"Cache-Control": "no-store"})}
            extra: list[Any] = [(name.lower().encode(), value.encode()) for name, value in ours.items()]
            message["headers"] = given + extra
        await send(message)

    return send_with
