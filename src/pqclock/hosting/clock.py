"""A clock on threads of this process: one a host stands for election, the others wait for its place."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from pqclock.address import Address
from pqclock.clock.service import ClockService
from pqclock.errors import DatabaseUnreachable
from pqclock.hosting.hosted import Hosted
from pqclock.hosting.options import settings_of
from pqclock.hosting.places import Place
from pqclock.loop import Stop
from pqclock.settings import Settings
from pqclock.store import leadership, migrate
from pqclock.store.waiting import within

if TYPE_CHECKING:
    from pqclock.tasks.app import App

log = logging.getLogger("pqclock.hosting")

# How soon another process of this host stands for election when the one that did is gone.
TRY_EVERY = 0.5
# A resignation takes a statement or two on a database that may be away.
ENDS_WITHIN = 10.0


class HostedClock(Hosted):
    """The clock that `app.clock(...)` gives; it applies the schedule files as `pqclock clock` does."""

    name = "clock"

    def __init__(
        self,
        app: App,
        schedules: str | Sequence[str] | None = None,
        set_name: str | None = None,
        watch: bool | None = None,
        wait: str | timedelta | None = None,
    ) -> None:
        super().__init__()
        self._app = app
        self._given = {"schedules": schedules, "set": set_name, "watch": watch, "wait": wait}
        settings_of("app.clock()", self._given)

    @property
    def state(self) -> str:
        """`stopped`, `waiting` while another process of this host stands, `starting`, `standby` or `leading`."""
        life = self._life
        if life is None or life.ended or not isinstance(life.service, _ClockService):
            return "stopped"
        return life.service.state

    def _prepare(self) -> _ClockService:
        settings = settings_of("app.clock()", self._given)
        place = self._app.place()
        settings = replace(settings, schema=place.schema)
        try:
            _check(settings, place.address)
            return _ClockService(settings, place.address)
        except BaseException:
            place.address.close()
            raise


def _check(settings: Settings, address: Address) -> None:
    url = settings.clock_database_url or address.url
    pooled = settings.allow_session_pooler
    session = within(
        settings.wait, lambda: leadership.connect_direct(url, settings.schema, "clock", allow_session_pooler=pooled)
    )
    assert session is not None, "nobody could ask for a stop"
    try:
        if address.server is not None:
            migrate.migrate(session)
        migrate.check_schema(session)
    finally:
        session.close()


class _ClockService:
    ends_within = ENDS_WITHIN

    def __init__(self, settings: Settings, address: Address) -> None:
        self._settings = settings
        self._address = address
        self._place = Place(settings.clock_database_url or address.url, settings.schema)
        self._stop = Stop()
        self._clock: ClockService | None = None

    @property
    def state(self) -> str:
        return "waiting" if self._clock is None else self._clock.state

    def run(self) -> bool:
        try:
            while not self._stop.asked:
                if self._place.take():
                    self._stand()
                else:
                    self._stop.wait(TRY_EVERY)
        finally:
            self._stop.close()
        return True

    def _stand(self) -> None:
        """Stand for election; a database that goes away just then is tried again for ever, as later on."""
        self._clock = ClockService(self._settings, self._address)
        self._stop.hand_over(self._clock.stop)
        try:
            self._clock.run()
        except DatabaseUnreachable as error:
            log.warning("the clock inside this process could not begin, and tries again: %s", error)

    def stop(self, timeout: timedelta | None) -> None:  # noqa: ARG002
        """A clock has nothing that would need time: it resigns."""
        self._stop.ask()

    def close(self) -> None:
        self._place.leave()
        self._address.close()
