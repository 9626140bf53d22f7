"""Tasks behind gates that write down, outside of the database, when their runs were granted, began and ended.

PQCLOCK_TEST_SKEW shifts what this process takes for the time; the record is in the machine's own.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from pqclock import App, Retry, current_job, loop

app = App()
SKEW = float(os.environ.get("PQCLOCK_TEST_SKEW", "0"))
LOG = Path(f"runs-{os.getpid()}.jsonl")


def true_time() -> float:
    """The machine's time, whatever is done to this process."""
    return time.clock_gettime(time.CLOCK_REALTIME)


def shift_the_clock(seconds: float) -> None:
    """Have everything in this process see another time."""
    true_now: Callable[[], object] = loop.now
    time.time = lambda: true_time() + seconds  # noqa: TID251
    loop.now = lambda: true_now() + timedelta(seconds=seconds)  # type: ignore[operator, assignment, return-value]


if SKEW:
    shift_the_clock(SKEW)


def note(what: str, key: str) -> None:
    """Add a line; written at once, so that a kill takes none away."""
    job = current_job()
    line = {
        "what": what, "key": key, "job": job.id, "attempt": job.attempt, "pid": os.getpid(), "at": true_time(),
        "granted": job.granted_at.timestamp(),
    }  # fmt: skip
    with LOG.open("a") as file:
        file.write(json.dumps(line) + "\n")


@app.task("hit", throttle=["stripe:{key}", "pool:{key}"])
def hit(key: str, seconds: float = 0.0) -> None:
    """Uses what the gates guard for a while."""
    note("began", key)
    time.sleep(seconds)
    note("ended", key)


@app.task("alone", throttle="one")
def alone(key: str, seconds: float = 0.0) -> None:
    """Runs one at a time."""
    hit(key, seconds)


@app.task("risky", fuse="api", retry=Retry(max_attempts=50, base="100ms", limit="1s"))
def risky(key: str, seconds: float = 0.0) -> None:
    """Fails as long as there is a file that says so."""
    note("began", key)
    time.sleep(seconds)
    note("ended", key)
    if Path("broken").exists():
        raise ConnectionError("it is down")
