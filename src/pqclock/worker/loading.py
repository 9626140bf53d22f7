"""Where the app of a worker is found: also by its child processes, which need nothing else of it."""

from __future__ import annotations

import sys
from importlib import import_module

from pqclock.errors import SettingsError
from pqclock.tasks.app import App


def refuse_no_app(place: str | None) -> str:
    """The place of the app; raises SettingsError where nobody named one."""
    if place is None:
        raise SettingsError(
            [
                "no app is named, so there are no tasks to run: "
                "give --app package.module:app, PQCLOCK_APP or `app` in the file"
            ]
        )
    return place


def load_app(place: str | None) -> App:
    """The App at `package.module:name`, looked up with the current folder first. Raises SettingsError."""
    place = refuse_no_app(place)
    module_name, _, attribute = place.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: object = import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise SettingsError(
            [f"app {place!r} cannot be loaded ({reason}): check the name, and run from its folder"]
        ) from error
    if not isinstance(found, App):
        raise SettingsError([f"app {place!r} is a {type(found).__name__}: name a pqclock.App"])
    return found
