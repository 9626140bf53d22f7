"""`app.worker()` and `app.clock()`: what runs inside of the user's own process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from pqclock.hosting.clock import HostedClock
    from pqclock.hosting.worker import HostedWorker
    from pqclock.tasks.app import App


class Inside:
    """The two verbs of an app that reach up: nothing of it is loaded before somebody asks for it."""

    def worker(
        self,
        queues: str | None = None,
        *,
        stop_timeout: str | timedelta | None = None,
        wait: str | timedelta | None = None,
    ) -> HostedWorker:
        """A worker on threads of this process, to be started: by `start()` and `stop()`, `with` or `async with`.

        `queues` are pools such as "mice:2;elephants:1". What is not given is as in the settings. Raises SettingsError.
        """
        from pqclock.hosting.worker import HostedWorker

        return HostedWorker(self._app(), queues, stop_timeout, wait)

    def clock(
        self,
        schedules: str | Sequence[str] | None = None,
        *,
        set: str | None = None,
        watch: bool | None = None,
        wait: str | timedelta | None = None,
    ) -> HostedClock:
        """A clock on threads of this process, to be started like `worker()`; one a host stands for election.

        `schedules` are schedule files and folders, `set` names what they make. Raises SettingsError.
        """
        from pqclock.hosting.clock import HostedClock

        return HostedClock(self._app(), schedules, set, watch, wait)

    def _app(self) -> App:
        return cast("App", self)
