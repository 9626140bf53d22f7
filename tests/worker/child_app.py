"""Tasks for child processes: a worker and its children find them in this module."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Generator, Iterator

import psycopg

from pqclock import App, Checkpoint, Failure, Job, Retry, current_job
from pqclock.worker import run

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


def _leave(pid: int) -> None:
    with open("left", "a") as file:
        file.write(f"{pid} ")


@app.task("leaves_a_command", executor="process", on_crash="hold")
def leaves_a_command() -> None:
    """Dies, while a command that it has started goes on."""
    _leave(os.spawnvp(os.P_NOWAIT, "sleep", ["sleep", "60"]))
    os.kill(os.getpid(), signal.SIGKILL)


@app.task("leaves_a_fork", executor="process", on_crash="hold")
def leaves_a_fork() -> None:
    """Dies, while a fork of it goes on."""
    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    _leave(pid)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task("slow", executor="process", on_crash="hold")
def slow() -> str:
    """Takes a while; whoever sends a signal finds its process."""
    with open("slow.part", "w") as file:
        file.write(str(os.getpid()))
    os.rename("slow.part", "slow")
    time.sleep(0.5)
    return "not ended"


@app.task("exits_async")
async def exits_async() -> None:
    """Ends the program in a coroutine of its own."""

    async def end() -> None:
        sys.exit(3)

    await asyncio.gather(end(), asyncio.sleep(10))


@app.on_error
def report(failure: Failure) -> None:
    """Takes its time."""
    if failure.task == "fail":
        time.sleep(0.3)
        with open("reported", "w"):
            pass


@app.task("steps_and_dies", executor="process")
def steps_and_dies(url: str, cursor: int = 0) -> Iterator[None]:
    """Comes further each time, and then dies."""
    cursor += 1
    with psycopg.connect(url) as conn:
        current_job().checkpoint(cursor, conn=conn)
    if cursor < 5:
        os.kill(os.getpid(), signal.SIGKILL)
    yield


@app.task("progresses_and_dies", executor="process")
def progresses_and_dies() -> None:
    """Tells how far it is, but begins anew each time."""
    current_job().progress(1, 10)
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task("goes_on_and_dies", executor="process")
def goes_on_and_dies(cursor: int = 0) -> Generator[Checkpoint, None, int]:
    """Comes one step further each time, and then dies."""
    cursor += 1
    yield Checkpoint(cursor)
    if cursor < 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return cursor


if "SAVE_EVERY" in os.environ:
    run.SAVE_EVERY = float(os.environ["SAVE_EVERY"])


@app.task("reads")
def reads() -> str:
    """Asks a person who is not there."""
    try:
        return input()
    except EOFError:
        return "nobody"


@app.task("forks")
def forks() -> int:
    """Leaves a fork of its process behind."""
    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    _leave(pid)
    return pid


@app.task("waits", executor="process")
def waits() -> None:
    """Goes on until its process ends."""
    with open("waits", "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)
