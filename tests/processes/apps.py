"""The tasks of the process tests."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from pqclock import App, Retry, current_job

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
