"""Where handlers run: threads for synchronous ones, one event loop a process for asynchronous ones."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

log = logging.getLogger("pqclock.worker")


class EventLoop:
    """An event loop on a thread of its own, started at the first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    def submit(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine; it must not raise."""
        try:
            loop = self._loop or self._started()
        except Exception:
            coroutine.close()
            raise
        if asyncio._get_running_loop() is loop:
            self._spawn(coroutine)
        else:
            loop.call_soon_threadsafe(self._spawn, coroutine)

    def cancel_all(self) -> None:
        """Cancel every coroutine that runs."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._tasks])

    def stop(self) -> None:
        """End the loop and its thread, if there are any."""
        self._stopping = True
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=2)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._run, args=[loop], name="pqclock-loop", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    loop.close()
                    raise
                self._loop, self._thread = loop, thread
            return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            while not self._stopping:
                try:
                    loop.run_forever()
                except BaseException as error:
                    # A coroutine that a handler has started wants to end the program; its handler hears of it.
                    log.warning(
                        "%s in a coroutine on the worker's event loop ends that coroutine alone", type(error).__name__
                    )
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


class Threads:
    """The threads of one pool, made as they are needed."""

    def __init__(self, size: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=f"pqclock-{name}")

    def submit(self, function: Callable[..., None], *args: Any) -> None:
        """Run a function on a free thread; it must not raise."""
        self._executor.submit(function, *args)

    def stop(self) -> None:
        """Take no more work; does not wait for what runs."""
        self._executor.shutdown(wait=False, cancel_futures=True)
