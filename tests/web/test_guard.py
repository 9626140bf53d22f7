"""Who gets through: hosts, tokens, roles, and where a deed comes from."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from pqclock.web.access import MOST_BYTES, Access, Guard, host_name, same_origin

OPERATE, VIEW = "operate-operate-operate", "view-view-view-view"
OWN = {"Sec-Fetch-Site": "same-origin"}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells who it takes the caller for, and how much was sent."""
    body = await Request(scope, receive).body()
    caller = scope["caller"]
    answer = {"name": caller.name, "role": caller.role, "acts": caller.acts, "length": len(body)}
    await JSONResponse(answer)(scope, receive, send)


def client(access: Access, host: str = "localhost:8484", origin: str = "127.0.0.1") -> TestClient:
    return TestClient(Guard(echo, access), base_url=f"http://{host}", client=(origin, 50_000))


def basic(name: str, token: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()}


TOKENS = Access(operate_token=OPERATE, view_token=VIEW)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8484", "127.0.0.1:1", "[::1]:8484", "LOCALHOST", "localhost.:80"]
)
def test_local_names_are_known(host: str) -> None:
    assert client(Access()).get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "localhost:x", "[::1", "a b"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_foreign_hosts_are_refused_whatever_they_ask(host: str, method: str) -> None:
    answer = client(Access()).request(method, "/", headers={"Host": host, **OWN})
    assert answer.status_code == 421
    assert "name it in PQCLOCK_WEB_HOSTS" in answer.text


@pytest.mark.parametrize("origin", ["10.0.0.7", "2001:db8::1", "testclient", ""])
def test_without_a_token_only_this_machine_may(origin: str) -> None:
    assert client(Access(), origin=origin).get("/").status_code == 403
    assert client(Access(), origin=origin).post("/", headers=OWN).status_code == 403
    assert client(TOKENS, origin=origin).get("/", headers=basic("ada", VIEW)).status_code == 200


@pytest.mark.parametrize("origin", ["127.0.0.1", "127.9.9.9", "::1"])
def test_this_machine_may(origin: str) -> None:
    assert client(Access(), origin=origin).get("/").status_code == 200


def test_two_hosts_are_none() -> None:
    answer = client(Access()).get("/", headers=[("Host", "localhost"), ("Host", "evil.example")])
    assert answer.status_code == 421


def test_hosts_that_are_named_are_known_and_no_others() -> None:
    access = Access(hosts=["Clock.Example.org"])
    assert client(access, "clock.example.org").get("/").status_code == 200
    assert client(access, "localhost").get("/").status_code == 421
    assert client(Access(hosts=["*"]), "anything.example").get("/").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "role", "name"),
    [
        ({}, 401, None, None),
        (basic("ada", OPERATE), 200, "operate", "ada"),
        (basic("", OPERATE), 200, "operate", "operator"),
        (basic("bob", VIEW), 200, "view", "bob"),
        (basic("eve", "wrong"), 401, None, None),
        (basic("eve", ""), 401, None, None),
        ({"Authorization": f"Bearer {VIEW}"}, 200, "view", "viewer"),
        ({"Authorization": f"bearer  {OPERATE}"}, 200, "operate", "operator"),
        ({"Authorization": "Bearer "}, 401, None, None),
        ({"Authorization": "Basic ???"}, 401, None, None),
        ({"Authorization": b"Basic \xe9"}, 401, None, None),
        ({"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode()}, 401, None, None),
        ({"Authorization": f"Digest {OPERATE}"}, 401, None, None),
    ],
)
def test_tokens(headers: dict[str, Any], status: int, role: str | None, name: str | None) -> None:
    answer = client(TOKENS).get("/", headers=headers)
    assert answer.status_code == status
    if role is None:
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert OPERATE not in answer.text
    else:
        assert (answer.json()["role"], answer.json()["name"]) == (role, name)


def test_one_token_alone_leaves_nobody_without() -> None:
    assert client(Access(view_token=VIEW)).get("/").status_code == 401
    assert client(Access(view_token=VIEW)).get("/", headers=basic("x", "")).status_code == 401
    assert client(Access(operate_token=OPERATE)).get("/", headers=basic("x", "")).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "http://localhost:8484"}, 200),
        ({"Origin": "https://localhost:8484"}, 200),
        ({"Origin": "http://localhost:9999"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:8484"}, 403),
        ({"Referer": "http://localhost:8484/jobs"}, 403),
        ({}, 403),
    ],
)
def test_a_deed_comes_from_our_own_pages(headers: dict[str, str], status: int) -> None:
    assert client(Access()).post("/", headers=headers).status_code == status


def test_a_token_alone_is_no_proof_of_origin() -> None:
    headers = {**basic("ada", OPERATE), "Sec-Fetch-Site": "cross-site"}
    assert client(TOKENS).post("/", headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("access", "headers", "status"),
    [
        (TOKENS, basic("ada", OPERATE), 200),
        (TOKENS, basic("bob", VIEW), 403),
        (Access(read_only=True), {}, 403),
        (Access(operate_token=OPERATE, read_only=True), basic("ada", OPERATE), 403),
        (Access(authorize=lambda _: ("ada", "operate")), {}, 200),
        (Access(authorize=lambda _: ("ada", "view")), {}, 403),
        (Access(authorize=lambda _: ("ada", "operate"), read_only=True), {}, 403),
        (Access(authorize=lambda _: None), {}, 403),
    ],
)
def test_who_acts(access: Access, headers: dict[str, str], status: int) -> None:
    assert client(access).post("/", headers={**headers, **OWN}).status_code == status


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_none(method: str) -> None:
    assert client(Access()).request(method, "/", headers=OWN).status_code == 405


def test_large_bodies_are_cut_off() -> None:
    assert client(Access()).post("/", headers=OWN, content=b"x" * MOST_BYTES).json()["length"] == MOST_BYTES
    with pytest.raises(ClientDisconnect):
        client(Access()).post("/", headers=OWN, content=b"x" * (MOST_BYTES + 1))


@pytest.mark.parametrize("answer", [("GET", {}, 200), ("POST", {}, 403), ("GET", {"Host": "evil.example"}, 421)])
def test_every_answer_carries_its_headers(answer: tuple[str, dict[str, str], int]) -> None:
    method, headers, status = answer
    got = client(Access()).request(method, "/", headers=headers)
    assert got.status_code == status
    policy = got.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["cache-control"] == "no-store"
    assert got.headers["referrer-policy"] == "same-origin"


def test_tokens_are_not_shown() -> None:
    assert OPERATE not in repr(TOKENS) and VIEW not in repr(TOKENS)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a:1", "a"),
        ("A.b.", "a.b"),
        ("[::1]", "[::1]"),
        ("[::1]:8", "[::1]"),
        ("[::1]8", None),
        ("a:", None),
        (":1", None),
    ],
)
def test_names_in_host_headers(given: str, name: str | None) -> None:
    assert host_name(given) == name


def test_a_websocket_is_let_nowhere() -> None:
    with pytest.raises(WebSocketDisconnect), client(Access()).websocket_connect("/"):
        raise AssertionError


def test_same_origin_asks_for_the_host_it_was_called_by() -> None:
    assert same_origin({"host": "a:1", "origin": "HTTP://A:1"}, "http")
    assert not same_origin({"host": "a:1", "origin": "http://a"}, "http")
