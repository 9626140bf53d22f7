"""The tasks of `schedules/demo.toml`."""

from __future__ import annotations

import asyncio
import time

from pqclock import App, Retry, current_job

app = App()


@app.task("demo.heartbeat", queue="fast")
def heartbeat(tick: str) -> str:
    """Nearly nothing, every second."""
    return f"beat of {tick}"


@app.task("demo.fetch", queue="fast")
async def fetch(city: str) -> str:
    """An asynchronous task: it waits, and holds no thread meanwhile."""
    await asyncio.sleep(0.2)
    return f"weather of {city}"


@app.task("demo.report", queue="slow")
def report(minute: str) -> str:
    """A task that takes its time."""
    time.sleep(0.5)
    return f"report of {minute}"


@app.task("demo.flaky", queue="slow", retry=Retry(max_attempts=3, base="1s", limit="5s"))
def flaky() -> str:
    """Fails twice, and succeeds at the third attempt."""
    attempt = current_job().attempt
    if attempt < 3:
        raise ConnectionError(f"the other side hung up (attempt {attempt})")
    return "third time lucky"


@app.task("demo.doomed", queue="slow", retry=Retry(max_attempts=2, base="1s"))
def doomed() -> None:
    """Fails for good."""
    raise ValueError("this one never works")
