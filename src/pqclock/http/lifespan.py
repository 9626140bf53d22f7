"""An ASGI application whose server starts and stops workers and clocks, for frameworks that have no lifespan."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from pqclock.http.answers import Receive, Scope, Send

log = logging.getLogger("pqclock.http")


class Startable(Protocol):
    """What `app.worker()` and `app.clock()` give."""

    async def start_async(self) -> Any:
        """Begin to work."""

    async def stop_async(self) -> Any:
        """End in order."""


class Application(Protocol):
    """An ASGI application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""


class Lifespan:
    """`application`, with `hosted` workers and clocks that run as long as the server does.

    When one cannot start, the server does not start either, and says why.
    """

    def __init__(self, application: Application, *hosted: Startable) -> None:
        self._application = application
        self._hosted = hosted
        self._started: list[Startable] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Live, or pass a request on."""
        if scope["type"] != "lifespan":
            await self._application(scope, receive, send)
            return
        await receive()
        try:
            for each in self._hosted:
                await each.start_async()
                self._started.append(each)
        except Exception as error:
            await self._stop()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _stop(self) -> None:
        while self._started:
            try:
                await self._started.pop().stop_async()
            except Exception:
                # The others shall be stopped all the same.
                log.exception("what ran inside this server could not be stopped")
