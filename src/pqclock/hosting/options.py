"""The arguments of `app.worker(...)` and `app.clock(...)`: settings that go before those of environment and file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pqclock.errors import PqclockError, SettingsError
from pqclock.settings import SPECS, Settings, load


def settings_of(call: str, given: Mapping[str, object]) -> Settings:
    """The settings with what the call gives; None is not given. Raises SettingsError with all faults."""
    settings = load()
    values: dict[str, Any] = {}
    faults: list[str] = []
    for name, value in given.items():
        if value is None:
            continue
        try:
            values[name] = SPECS[name].read(value)
        except ValueError as error:
            reason = str(error) if isinstance(error, PqclockError) else ""
            faults.append(f"{call}: {name}: {reason or f'{value!r:.60} is not allowed: use {SPECS[name].allowed}'}")
    if faults:
        raise SettingsError(faults)
    return replace(settings, **values, origins={**settings.origins, **dict.fromkeys(values, call)})
