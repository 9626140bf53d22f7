"""Pages from templates, and the files that go with them. What is shown is escaped, whatever it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from pqclock import __version__
from pqclock.rules.durations import format_duration
from pqclock.rules.progress import progress_words
from pqclock.web import texts
from pqclock.web.schedule_pages import last_error

_MEDIA = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
MENU = (
    ("schedules", "Schedules"), ("calendar", "Calendar"), ("jobs", "Jobs"), ("gates", "Gates"), ("queues", "Queues"),
    ("processes", "Processes"), ("alarms", "Alarms"), ("database", "Database"), ("audit", "Audit"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class File:
    """A file of the package; its name carries its hash, so it may be kept for ever."""

    name: str
    media: str
    content: bytes


def _files() -> dict[str, File]:
    found = {}
    for entry in files(__package__).joinpath("static").iterdir():
        stem, _, ending = entry.name.rpartition(".")
        if ending in _MEDIA:
            content = entry.read_bytes()
            name = f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{ending}"
            found[entry.name] = File(name, _MEDIA[ending], content)
    return found


_BY_OWN_NAME = _files()
FILES: Mapping[str, File] = {file.name: file for file in _BY_OWN_NAME.values()}


def static(name: str) -> str:
    """The address of a file, relative to every page."""
    return f"static/{_BY_OWN_NAME[name].name}"


def link(page: str, **params: object) -> str:
    """The address of a page with its parameters, those that have a value."""
    given = {name.rstrip("_"): str(value) for name, value in params.items() if value not in (None, "")}
    return f"{page}?{urlencode(given)}" if given else page


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        version=__version__, menu_entries=MENU, link=link, static=static, instant=texts.instant, until=texts.until, ago=texts.ago,
        badge=texts.badge, shown_args=texts.shown_args, last_error=last_error,
        progress_words=progress_words,
    )  # fmt: skip
    environment.filters.update(
        length=texts.length, size=texts.size, bounded=texts.count, first_line=texts.first_line, cut=texts.cut,
        duration=format_duration,
    )  # fmt: skip
    return environment


def render(template: str, context: Mapping[str, Any]) -> str:
    """The page as HTML."""
    return _environment().get_template(f"{template}.html").render(context)
