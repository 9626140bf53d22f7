"""The life of one loop: wait, step, repeat, stop. The only reader of the wall clock."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """This machine's time, aware, in UTC. Decisions take the database's time instead wherever there is one."""
    return datetime.now(UTC)  # noqa: TID251


class DatabaseClock:
    """The database's time between two readings of it, carried by this machine's monotonic clock."""

    def __init__(self) -> None:
        # Read by all threads while one writes: both at once, or neither.
        self._reading: tuple[datetime, float] | None = None

    def read(self, at: datetime, sent: float, received: float) -> None:
        """Note that the database said `at` between the monotonic times `sent` and `received`."""
        self._reading = at, (sent + received) / 2

    @property
    def known(self) -> bool:
        """True once the time was read."""
        return self._reading is not None

    def now(self) -> datetime:
        """The database's time now."""
        return self.at(time.monotonic())

    def at(self, monotonic: float) -> datetime:
        """The database's time at a monotonic time of this process."""
        assert self._reading is not None, "the database's time was never read"
        at, read_at = self._reading
        return at + timedelta(seconds=monotonic - read_at)

    def seconds_until(self, instant: datetime) -> float:
        """How long until the database's clock shows `instant`; negative when that has passed."""
        return (instant - self.now()).total_seconds()


class Wakeup:
    """An interruptible sleep: ends early by `wake()` from any thread or signal handler, or when a socket has data."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def wake(self) -> None:
        """End the present sleep, or the next one if nobody sleeps now."""
        try:
            self._writer.send(b"!")
        except OSError:
            # The buffer is full of wakes already, or the loop is gone.
            pass

    def wait(self, seconds: float, *watched: int) -> bool:
        """Sleep at most so long; True when `wake()` or one of the `watched` file descriptors ended it."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            for descriptor in watched:
                selector.register(descriptor, selectors.EVENT_READ)
            woken = bool(selector.select(max(0.0, seconds)))
        self._drain()
        return woken

    def _drain(self) -> None:
        try:
            while self._reader.recv(4096):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Free the sockets."""
        self._reader.close()
        self._writer.close()


class Stop:
    """The wish to stop, before there is anything that could be stopped: whoever waits meanwhile hears of it.

    A signal handler may call `ask()`: it takes no lock, which the code that it interrupts might hold.
    """

    def __init__(self) -> None:
        self.asked = False
        self._wakeup = Wakeup()
        self._heir: Callable[[], None] | None = None

    def ask(self) -> None:
        """Note the wish, and tell whoever has taken it over."""
        self.asked = True
        self._wakeup.wake()
        if self._heir is not None:
            self._heir()

    def wait(self, seconds: float) -> bool:
        """Sleep at most so long; True when a stop was asked for."""
        if not self.asked:
            self._wakeup.wait(seconds)
        return self.asked

    def hand_over(self, stop: Callable[[], None]) -> None:
        """Call `stop` from now on, at once if the wish was there before."""
        self._heir = stop
        if self.asked:
            stop()

    def close(self) -> None:
        """Free the sockets; `ask()` may still be called."""
        self._wakeup.close()


def backoff(failures: int, limit: float) -> float:
    """Seconds to wait after so many failures in a row: 50 ms doubled each time, at most `limit`."""
    return min(0.05 * 2.0 ** min(failures, 20), limit)
