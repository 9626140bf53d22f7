"""The tasks that benchmarks run: they do nothing but say that they began."""

from __future__ import annotations

import os
import time

from benchmarks import slots
from pqclock import App

HISTORY = os.environ.get("PQCLOCK_BENCH_HISTORY", "all")

THROTTLES = {"bench.keyed": "bench-key:{n}", "bench.blocked": "bench-shut"}

app = App()
begin = slots.beginning()


@app.task("bench.noop", queue="bench", history=HISTORY)
def noop(n: int | None = None) -> None:
    """Nothing."""
    begin(n)


@app.task("bench.noop_async", queue="bench", history=HISTORY)
async def noop_async(n: int | None = None) -> None:
    """Nothing, on the event loop."""
    begin(n)


@app.task("bench.keyed", queue="bench", throttle=THROTTLES["bench.keyed"], history=HISTORY)
def keyed(n: int) -> None:  # noqa: ARG001
    """Passes the gate of its key."""
    begin(None)


@app.task("bench.blocked", queue="bench", throttle=THROTTLES["bench.blocked"])
def blocked(n: int | None = None) -> None:
    """Waits behind a gate that is closed."""


@app.task("bench.nap", queue="bench", history=HISTORY)
def nap(n: int | None = None) -> None:
    """Waits for something for ten milliseconds."""
    begin(n)
    time.sleep(0.01)
