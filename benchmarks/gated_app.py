"""The tasks of the benchmark of gates."""

from __future__ import annotations

from pqclock import App

app = App()


@app.task("bench.free", queue="bench")
def free(n: int) -> None:
    """Passes no gate."""


@app.task("bench.keyed", queue="bench", throttle="bench-key:{n}")
def keyed(n: int) -> None:
    """Passes the gate of its key."""


@app.task("bench.blocked", queue="bench", throttle="bench-shut")
def blocked(n: int) -> None:
    """Waits behind a gate that is closed."""
