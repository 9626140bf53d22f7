"""A long-running role tells how it is, from its beginning to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pqclock.health import Readings
    from pqclock.settings import Settings


@contextmanager
def told_of(
    settings: Settings,
    url: str,
    readings: Readings,
    stop: Callable[[], None],
    kill: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Serve health and tell systemd meanwhile; signals that ask for a stop are told too. Raises SettingsError."""
    from pqclock import signals
    from pqclock.metrics import opentelemetry
    from pqclock.systemd import Notifier

    notifier = Notifier.from_environment()
    if settings.health is None and not notifier.wanted and not opentelemetry.wanted():
        signals.on_stop(stop, kill)
        yield
        return
    from pqclock.health import Health

    health = Health(settings, url, readings, notifier)

    def stop_and_say_so() -> None:
        stop()
        health.stopping()

    signals.on_stop(stop_and_say_so, kill)
    health.start()
    try:
        yield
    finally:
        health.stop()
