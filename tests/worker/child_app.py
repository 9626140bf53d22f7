"""Tasks for child processes: a worker and its children find them in this module."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

from pqclock import App, Checkpoint, Job, Retry, current_job

app = App()


@app.task("where", executor="process")
def where(text: str = "") -> dict[str, object]:
    """Tells of its process."""
    print("noise on standard output")
    return {"pid": os.getpid(), "text": text, "job": current_job().id}


@app.task("fail", executor="process", retry=Retry(max_attempts=2, base="0s"))
def fail() -> None:
    """Fails with an exception."""
    raise ValueError("bad")


@app.task("stuck", executor="process", timeout="100ms")
def stuck() -> None:
    """Sleeps where no exception reaches it."""
    time.sleep(60)


@app.task("die", executor="process")
def die() -> None:
    """Takes its process down each time."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task("die_in_doubt", executor="process", on_crash="hold")
def die_in_doubt() -> None:
    """The same, and a person is to look."""
    os._exit(3)


@app.task("steps", executor="process")
def steps(cursor: int = 0) -> Iterator[Checkpoint]:
    """Goes on until it is asked to go back; then comes to its end."""
    while cursor < 3 or not os.path.exists("enough"):
        cursor += 1
        yield Checkpoint(cursor)
        time.sleep(0.01)


@app.task("ask", executor="process")
def ask() -> None:
    """Runs until it is cancelled."""
    while not current_job().cancelled:
        time.sleep(0.01)


@app.task("plain")
def plain() -> int:
    """Runs in the worker, unless it is under suspicion."""
    return os.getpid()


@app.task("plain_async")
async def plain_async() -> int:
    """The same on an event loop."""
    return os.getpid()


@app.task("batch", batch=10)
def batch(jobs: list[Job]) -> None:
    """Writes who was together."""
    with open("together", "a") as file:
        file.write(f"{os.getpid()} {sorted(job.id for job in jobs)}\n")
