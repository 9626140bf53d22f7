"""The health of a process and of its children, told to whoever asks by HTTP, and to systemd."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from pqclock.metrics import opentelemetry
from pqclock.metrics.prometheus import wanted
from pqclock.pulse import Reading
from pqclock.rules.listening import parse_endpoint
from pqclock.settings import Settings
from pqclock.systemd import Notifier

if TYPE_CHECKING:
    from pqclock.exporting import Exported
    from pqclock.probes import Page, Probes

log = logging.getLogger("pqclock.health")

LIVE, READY, METRICS = "/livez", "/readyz", "/metrics"
TELL_EVERY = 1.0
# systemd advises half of its time.
SIGNS_PER_WATCHDOG = 3

# Who there is, by name (`clock`, `worker 1`), and what each says of itself.
Readings = Callable[[], Mapping[str, Reading]]


class Health:
    """Tells how the loops are, from `start()` to `stop()`: those that turn are alive, those that reach the database ready."""

    def __init__(self, settings: Settings, url: str, readings: Readings, notifier: Notifier) -> None:
        self._readings = readings
        self._notifier = notifier
        self.probes: Probes | None = None
        if settings.health is not None:
            # Only where it is wanted: it takes its megabyte.
            from pqclock.probes import Probes

            pages = {LIVE: self._live_page, READY: self._ready_page}
            if wanted():
                from pqclock.scraping import Scraped

                pages[METRICS] = Scraped(url, settings.schema, readings).page
            endpoint = parse_endpoint(settings.health)
            self.probes = Probes(endpoint, pages, settings.origin("health"), settings.health_hosts)
        self._exported: Exported | None = None
        if opentelemetry.wanted():
            from pqclock.exporting import Exported

            self._exported = Exported(url, settings.schema, readings)
        self._ending = threading.Event()

    def start(self) -> None:
        """Begin to tell."""
        if self.probes is not None:
            self.probes.start()
            log.info("health: http://%s%s and %s", self.probes.endpoint, LIVE, READY)
        if self._notifier.wanted:
            threading.Thread(target=self._tell_systemd, name="pqclock-systemd", daemon=True).start()

    def stopping(self) -> None:
        """A stop was asked for: say so; whether the loops turn is told until the end."""
        self._notifier.stopping()

    def stop(self) -> None:
        """Tell no more."""
        self._ending.set()
        if self._exported is not None:
            self._exported.stop()
        if self.probes is not None:
            self.probes.stop()

    def _live_page(self) -> Page:
        return _page([f"{name} has not turned for too long" for name in unwell(self._readings())])

    def _ready_page(self) -> Page:
        return _page([f"no {kind} reaches the database" for kind in unready(self._readings())])

    def _tell_systemd(self) -> None:
        every = TELL_EVERY
        if self._notifier.watchdog:
            every = min(every, self._notifier.watchdog / SIGNS_PER_WATCHDOG)
        while not self._ending.wait(every):
            readings = self._readings()
            self._notifier.tell(alive=not unwell(readings), ready=not unready(readings), status=status(readings))


def unwell(readings: Mapping[str, Reading]) -> list[str]:
    """Whose loops do not turn."""
    return [name for name, reading in readings.items() if not reading.alive]


def unready(readings: Mapping[str, Reading]) -> list[str]:
    """The roles of which nobody reaches the database: one worker that is being replaced is no reason to send others away."""
    ready: dict[str, bool] = {}
    for name, reading in readings.items():
        role = name.partition(" ")[0]
        ready[role] = ready.get(role, False) or reading.ready
    return [role for role, is_ready in ready.items() if not is_ready]


def status(readings: Mapping[str, Reading]) -> str:
    """What everybody does, in a line."""
    return "; ".join(f"{name}: {reading.state}" for name, reading in readings.items())


def _page(faults: Sequence[str]) -> Page:
    if not faults:
        return HTTPStatus.OK, "text/plain", b"ok\n"
    return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", ("\n".join(faults) + "\n").encode()
