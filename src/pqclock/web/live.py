"""Tells open pages that something has changed: one listening connection for all of them, and none while nobody looks.

A notification comes at once, but not every change sends one. So while pages are open the database is also asked, five times a
second and for all of them together, whether anything was committed: that costs a few microseconds.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator

from pqclock.store.database import CONNECTION_LOST, DatabaseError, Session, connect
from pqclock.store.listening import hear, listen

log = logging.getLogger("pqclock.web")

LOOK_EVERY = 0.2
# What comes in a burst is one change.
DEBOUNCE = 0.15
# Proxies close what is silent for longer.
KEEP_ALIVE = 15.0
LONGEST = 60.0
# Where only the state has changed, which everything does that is committed anywhere on the server.
NO_SOONER_THAN = 0.5
RETRY = 2.0
MOST_PAGES = 200


class Hub:
    """The open pages, and the thread that watches for them."""

    def __init__(self, url: str, schema: str) -> None:
        self._url = url
        self._schema = schema
        self._lock = threading.Lock()
        self._pages: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._state: object = None

    @property
    def full(self) -> bool:
        """Whether there are as many pages as there may be."""
        return len(self._pages) >= MOST_PAGES

    async def changes(self) -> AsyncIterator[bytes]:
        """Server-sent events for one page, until it is gone, its time is over or this process ends."""
        changed = asyncio.Event()
        self._enter(changed)
        try:
            yield b"retry: 200\n\n"
            until = time.monotonic() + LONGEST
            # A server that is to end waits for its streams: pages come back by themselves.
            while not self._closed.is_set() and time.monotonic() < until:
                try:
                    await asyncio.wait_for(changed.wait(), KEEP_ALIVE)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                changed.clear()
                if not self._closed.is_set():
                    yield b"event: changed\ndata: 1\n\n"
        finally:
            with self._lock:
                self._pages.pop(changed, None)

    def close(self) -> None:
        """End all streams."""
        self._closed.set()
        self._tell()

    def _enter(self, page: asyncio.Event) -> None:
        with self._lock:
            self._pages[page] = asyncio.get_running_loop()
            if self._state is not None:
                # What has changed between its look and now.
                page.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="pqclock-live", daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        while not self._is_alone():
            try:
                session = connect(self._url, self._schema, "web live")
                try:
                    self._watch_on(session)
                finally:
                    session.close()
            except (*CONNECTION_LOST, DatabaseError) as error:
                log.debug("live pages wait for the database: %s", error)
                # Pages show what is the matter when they ask for themselves.
                self._tell()
                self._closed.wait(RETRY)

    def _is_alone(self) -> bool:
        """True when nobody looks; then the thread ends, and the next page starts another."""
        with self._lock:
            if self._pages and not self._closed.is_set():
                return False
            self._thread = self._state = None
            return True

    def _watch_on(self, session: Session) -> None:
        listen(session)
        told = -NO_SOONER_THAN
        while self._pages and not self._closed.is_set():
            heard = bool(hear(session)) or any(session.conn.notifies(timeout=LOOK_EVERY, stop_after=1))
            row = session.run("dashboard.state").fetchone()
            quiet = time.monotonic() - told < NO_SOONER_THAN
            if heard or (row != self._state and not quiet):
                told = time.monotonic()
                if self._state is not None:
                    time.sleep(DEBOUNCE)
                    hear(session)
                # The first time too: of what came between a page's look and ours nobody else knows.
                self._state = row
                self._tell()

    def _tell(self) -> None:
        with self._lock:
            for page, loop in self._pages.items():
                try:
                    loop.call_soon_threadsafe(page.set)
                except RuntimeError:
                    # Its loop has ended, and it with it.
                    pass
