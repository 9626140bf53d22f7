"""Where a process listens, read from text."""

from __future__ import annotations

import pytest

from pqclock.rules.listening import Endpoint, is_private, parse_endpoint


@pytest.mark.parametrize(
    ("name", "private"),
    [
        ("127.0.0.1", True), ("10.1.2.3", True), ("[::1]", True), ("fe80::1", True), ("localhost", True), ("worker", True),
        ("pqclock.default.svc", True), ("a.b.svc.cluster.local.", True), ("BOX.Internal", True), ("evil.example", False),
        ("127.0.0.1.nip.io", False), ("evil-internal", True), ("evilinternal.com", False), ("", True), ("a..", True),
    ],
)  # fmt: skip
def test_names_that_no_stranger_can_have(name: str, private: bool) -> None:
    assert is_private(name) is private


@pytest.mark.parametrize(
    ("text", "host", "port", "local"),
    [
        ("127.0.0.1:8081", "127.0.0.1", 8081, True),
        ("127.8.0.1:1", "127.8.0.1", 1, True),
        ("localhost:0", "localhost", 0, True),
        (":8081", "0.0.0.0", 8081, False),
        ("10.0.0.1:65535", "10.0.0.1", 65535, False),
        ("[::1]:8081", "::1", 8081, True),
        ("[::]:8081", "::", 8081, False),
        ("[0:0::1]:8081", "::1", 8081, True),
        ("pqclock.internal:80", "pqclock.internal", 80, False),
    ],
)
def test_endpoints(text: str, host: str, port: int, local: bool) -> None:
    endpoint = parse_endpoint(text)
    assert (endpoint.host, endpoint.port, endpoint.local) == (host, port, local)
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "text", ["", "8081", ":", ":x", "host", "::1:80", "[host]:80", "[:::]:1", "a b:1", ":65536", ":-1"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        parse_endpoint(text)


def test_what_listens_everywhere_is_asked_here() -> None:
    assert str(Endpoint("0.0.0.0", 1).nearest) == "127.0.0.1:1"
    assert str(Endpoint("::", 1).nearest) == "[::1]:1"
    assert str(Endpoint("10.0.0.1", 1).nearest) == "10.0.0.1:1"
