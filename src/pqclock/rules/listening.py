"""Where a process listens: `HOST:PORT`, `[IPV6]:PORT`, or `:PORT` for all addresses of the machine."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple

_FORM = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]*)):(?P<port>[0-9]{1,5})", re.ASCII)


class Endpoint(NamedTuple):
    """A host, as an address or a name, and a port; 0 is any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """True when only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def nearest(self) -> Endpoint:
        """The same from this machine itself: what listens on all addresses does so on its own."""
        own = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
        return Endpoint(own.get(self.host, self.host), self.port)


def parse_endpoint(text: str) -> Endpoint:
    """Read an endpoint; raises ValueError, bare, for anything else."""
    found = _FORM.fullmatch(text)
    if found is None or int(found["port"]) > 65_535:
        raise ValueError
    if found["v6"]:
        return Endpoint(str(ip_address(found["v6"])), int(found["port"]))
    return Endpoint(found["host"] or "0.0.0.0", int(found["port"]))  # noqa: S104


# Names that no stranger can have lead here: they are not in the public name system.
_PRIVATE = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".svc", ".cluster.local", ".test", ".invalid")


def is_private(name: str) -> bool:
    """Whether a name in a Host header is an address, or a name that only those around give.

    A page of a stranger can have its own name lead to this machine, and ask by it what it likes (DNS rebinding); but
    that is a public name.
    """
    name = name.lower().rstrip(".")
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return "." not in name or name.endswith(_PRIVATE)
    return True
