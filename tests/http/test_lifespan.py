"""Workers and clocks that live as long as an ASGI server does."""

from __future__ import annotations

import asyncio
from typing import Any

from conftest import Database
from pqclock import App
from pqclock.http import Lifespan


async def passed_on(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": scope["type"]})


def live(application: Any, *, then: str = "lifespan.shutdown") -> list[dict[str, Any]]:
    """What a server hears that starts and stops."""
    sent: list[dict[str, Any]] = []

    async def serve() -> None:
        words = iter(["lifespan.startup", then])

        async def receive() -> dict[str, str]:
            return {"type": next(words)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await application({"type": "lifespan"}, receive, send)
        await application({"type": "http"}, receive, send)

    asyncio.run(serve())
    return sent


def test_they_start_and_stop_with_the_server(database: Database) -> None:
    app = App(database.url)
    worker, running = app.worker(), []

    class Look:
        async def start_async(self) -> None:
            running.append(worker.running)

        async def stop_async(self) -> None:
            raise RuntimeError("is logged, and the others are stopped all the same")

    sent = live(Lifespan(passed_on, worker, Look()))
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete", "http"]
    assert running == [True] and not worker.running


def test_a_server_does_not_start_without_them(database: Database) -> None:
    worker = App(database.url).worker()
    sent = live(Lifespan(passed_on, worker, App("postgresql://127.0.0.1:1/x").worker(wait="0s")))
    assert sent[0]["type"] == "lifespan.startup.failed" and "127.0.0.1:1/x cannot be reached" in sent[0]["message"]
    assert not worker.running
