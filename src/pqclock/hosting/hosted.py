"""What a hosted worker and a hosted clock have in common: start, stop, context managers, forks, the end."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from abc import ABC, abstractmethod
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self
from weakref import WeakSet

from pqclock.errors import Refused
from pqclock.rules.durations import parse_duration

log = logging.getLogger("pqclock.hosting")

# What the end takes beyond the time that handlers get: outcomes are written, connections closed.
MARGIN = 12.0


class Service(Protocol):
    """Something that runs until it is stopped."""

    @property
    def ends_within(self) -> float:
        """Seconds that a stop takes at most, by its own rules."""

    def run(self) -> bool:
        """Run until stopped; False when something could not be ended in time."""

    def stop(self, timeout: timedelta | None) -> None:
        """Have `run()` return."""

    def close(self) -> None:
        """Free what the service holds, after its run or in a forked child."""


class _Running:
    """One life of a hosted service, on a thread of its own."""

    def __init__(self, name: str, service: Service) -> None:
        self.name = name
        self.service = service
        self.process = os.getpid()
        self.in_time = True
        self.ended = False
        self.error: BaseException | None = None
        # A daemon, since the interpreter's end stops it in order, and must not wait for what does not end.
        self.thread = threading.Thread(target=self._run, name=f"pqclock-{name}", daemon=True)

    def _run(self) -> None:
        try:
            self.in_time = self.service.run()
        except BaseException as error:
            self.error = error
            log.critical("the %s inside this process ended: %s", self.name, str(error) or repr(error), exc_info=True)
        finally:
            self.service.close()
            self.ended = True


class Hosted(ABC):
    """Started and stopped by the program that it is part of; also a context manager, sync and async."""

    name = "service"

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._life: _Running | None = None
        self._inherited_from: int | None = None
        _living.add(self)

    @property
    def running(self) -> bool:
        """True between `start()` and `stop()`, in the process that started it, unless it ended by an error."""
        life = self._life
        return life is not None and not life.ended

    @property
    def error(self) -> BaseException | None:
        """What ended it, if it was not `stop()`; None again after the next `start()`."""
        life = self._life
        return None if life is None else life.error

    def start(self) -> Self:
        """Begin to work, beside the rest of this process; returns when the database has answered.

        Raises SettingsError, DatabaseUnreachable after `wait`, and Refused: for a schema that does not fit, or when it
        runs already.
        """
        with self._lock:
            if self.running:
                raise Refused(
                    f"this {self.name} runs already in process {os.getpid()}: stop it before it is started again"
                )
            self._life = None
            life = _Running(self.name, self._prepare())
            try:
                _stop_at_exit()
                life.thread.start()
            except BaseException:
                # No thread is to be had, or the interpreter ends.
                life.service.close()
                raise
            self._life, self._inherited_from = life, None
        return self

    def stop(self, timeout: str | timedelta | None = None) -> bool:
        """End in order; without effect where it does not run, as in a forked child.

        Running handlers get `timeout` (default: the setting `stop_timeout`). False when some have not ended by then:
        their jobs went back, and their threads go on.
        """
        limit = None if timeout is None else parse_duration(timeout)
        with self._lock:
            life = self._life
            if life is None:
                return True
            life.service.stop(limit)
            life.thread.join((life.service.ends_within if limit is None else limit.total_seconds()) + MARGIN)
            if not life.ended:
                log.error("the %s inside this process does not stop: it is left alone", self.name)
                return False
            self._life = None if life.error is None else life
            return life.in_time

    async def start_async(self) -> Self:
        """The same as `start()`, from an event loop."""
        return await asyncio.to_thread(self.start)

    async def stop_async(self, timeout: str | timedelta | None = None) -> bool:
        """The same as `stop()`, from an event loop."""
        return await asyncio.to_thread(self.stop, timeout)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await self.start_async()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop_async()

    def __repr__(self) -> str:
        if self._inherited_from is not None:
            return f"<{self.name} of process {self._inherited_from}, not running in this fork of it>"
        return f"<{self.name}, {'running' if self.running else 'not running'}>"

    @abstractmethod
    def _prepare(self) -> Service:
        """Check what can be checked before, and make the service."""

    def forget_after_fork(self) -> None:
        """In a forked child: what runs, runs in the parent."""
        self._lock = threading.RLock()
        life, self._life = self._life, None
        if life is not None and not life.ended:
            life.service.close()
            self._inherited_from = life.process
            log.info(
                "the %s that process %s started runs on there and not in this fork of it, until start() is called here",
                self.name, life.process,
            )  # fmt: skip


_living: WeakSet[Hosted] = WeakSet()
_registered = threading.Event()


def _stop_at_exit() -> None:
    """Have what still runs stopped when the interpreter ends, before the threads of executors are gone."""
    if not _registered.is_set():
        _registered.set()
        # The public atexit comes too late: by then no executor takes a job, and a claimed one would only go back.
        getattr(threading, "_register_atexit", atexit.register)(_stop_all)


def _stop_all() -> None:
    for hosted in list(_living):
        hosted.stop()


def _forget_all() -> None:
    for hosted in list(_living):
        hosted.forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
