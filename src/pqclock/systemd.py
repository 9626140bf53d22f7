"""What systemd is told of a service of `Type=notify`: that it is ready, that it lives, what it does, that it stops."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping


class Notifier:
    """Speaks to the socket that systemd names; says nothing where there is none."""

    def __init__(self, address: str | None = None, watchdog: float | None = None) -> None:
        self._address = address
        # Seconds within which systemd wants a sign of life; None: it does not.
        self.watchdog = watchdog
        self._said: str | None = None
        self._ready = False

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Notifier:
        """What this process was told; its children are not, who would speak of themselves."""
        address = environment.pop("NOTIFY_SOCKET", None)
        microseconds = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog = int(microseconds) / 1e6 if watched and microseconds.isascii() and microseconds.isdigit() else None
        return cls(address, watchdog or None)

    @property
    def wanted(self) -> bool:
        """True when anybody listens."""
        return bool(self._address)

    def tell(self, *, alive: bool, ready: bool, status: str) -> None:
        """How things are now: only what is news is said, and that it lives each time."""
        words = []
        if ready and not self._ready:
            self._ready = True
            words.append("READY=1")
        if status != self._said:
            self._said = status
            words.append(f"STATUS={status}")
        if alive and self.watchdog:
            words.append("WATCHDOG=1")
        self._send(words)

    def stopping(self) -> None:
        """It stops, because it was asked to."""
        self._send(["STOPPING=1"])

    def _send(self, words: list[str]) -> None:
        if not self._address or not words:
            return
        # A leading @ is the abstract namespace.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(1.0)
                channel.sendto("\n".join(words).encode(), address)
        except OSError:
            # The next sign of life tries again; if none comes through, systemd acts.
            self._said = None
