"""The tasks of the process tests."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import psycopg

from pqclock import App, Checkpoint, Retry, current_job
from pqclock.loop import now

app = App()


@app.task("note")
def note(text: str = "") -> str:
    """Done at once."""
    return text


@app.task("nap", queue="naps")
def nap(seconds: float) -> str:
    """Holds an executor for a while."""
    time.sleep(seconds)
    return "rested"


@app.task("doze", queue="naps")
async def doze(seconds: float) -> str:
    """The same on the event loop."""
    await asyncio.sleep(seconds)
    return "rested"


@app.task("die_once", queue="naps")
def die_once() -> str:
    """Takes its whole process down, unless it was tried before."""
    job = current_job()
    if not os.path.exists(f"died-{job.id}"):
        open(f"died-{job.id}", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


@app.task("die_always", queue="naps")
def die_always() -> None:
    """Takes its whole process down each time."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task("second_time", retry=Retry(max_attempts=3, base="100ms"))
def second_time() -> int:
    """Fails the first time."""
    if current_job().attempt == 1:
        raise ConnectionError("not yet")
    return current_job().attempt


@app.task("brief", queue="storm")
def brief() -> None:
    """Some work, which says when it begins."""
    with open("begins", "a", encoding="utf-8", buffering=1) as begins:
        begins.write(f"{current_job().id} {now().timestamp()}\n")
    time.sleep(0.02)


@app.task("short", queue="storm")
def short(until: str | None = None, *, dies: bool = False) -> None:
    """Hardly any work; with `until` it waits for such a file, and may take its process with it then."""
    while until is not None and not os.path.exists(until):
        time.sleep(0.01)
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)


@app.task("poison", queue="storm")
def poison() -> None:
    """Kills its process after a moment."""
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task("march", queue="march")
def march(last: int, pause: float, cursor: int = 0) -> Iterator[Checkpoint]:
    """Many small steps, each written to a file outside of the database, with its time."""
    with open("steps", "a", encoding="utf-8", buffering=1) as steps:
        for number in range(cursor + 1, last + 1):
            steps.write(f"{number} {time.monotonic()}\n")
            yield Checkpoint(number, done=number, total=last)
            time.sleep(pause)


@app.task("ledger", queue="march")
def ledger(last: int, pause: float, cursor: int = 0) -> Iterator[None]:
    """Steps that are written in the transaction of their checkpoint."""
    with psycopg.connect(os.environ["PQCLOCK_DATABASE_URL"], autocommit=True) as conn:
        for first in range(cursor + 1, last + 1, 50):
            with conn.transaction():
                upto = min(first + 49, last)
                conn.execute("INSERT INTO steps SELECT generate_series(%s::int, %s::int)", [first, upto])
                current_job().checkpoint(upto, done=upto, total=last, conn=conn)
            yield
            time.sleep(50 * pause)
