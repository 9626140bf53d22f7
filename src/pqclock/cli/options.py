"""The options that commands share; those of settings come from the one table of settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any

import click

from pqclock.rules.durations import format_duration
from pqclock.settings import SPECS, Settings, flag, load, variable

Command = Callable[..., Any]

MAX_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """What every command was asked with: its settings, and whether for JSON."""

    settings: Settings
    json: bool


class FilterText(click.ParamType[str]):
    """A text that the database could hold: no NUL and no undecodable bytes."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, or a usage error."""
        text = str(value)
        if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
            self.fail(f"{text!r:.60} holds characters that the database cannot have: leave them out", param, ctx)
        return text


class JobId(click.ParamType[int]):
    """The id of a job; one that is too great for the database is told so by whoever looks for it."""

    name = "job"

    def __init__(self, most: int | None = None) -> None:
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, or a usage error."""
        text = str(value)
        if not (text.isascii() and text.isdecimal()) or len(text) > 100 or int(text) > (self.most or int(text)):
            self.fail(f"{text!r:.60} is none: a job id is a whole number, such as 4711", param, ctx)
        return int(text)


TEXT = FilterText()
JOB_ID = JobId()
STORED_JOB_ID = JobId(2**63 - 1)


def setting_option(name: str, *, multiple: bool = False) -> Callable[[Command], Command]:
    """The flag of a setting, with its variable and default in the help. The settings check its value, not click."""
    spec = SPECS[name]
    default = _shown(getattr(Settings(), name))
    text = f"{spec.help}  [env: {variable(name)}{default}]"
    if spec.switch:
        return click.option(f"{flag(name)}/--no-{flag(name)[2:]}", name, default=None, help=text)
    return click.option(flag(name), name, metavar=spec.metavar, help=text, multiple=multiple)


def asking(*names: str, multiple: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Give a command the flags of these settings, --json and --debug; it is called with `Asked` and its own options."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(*, json: bool, **given: Any) -> Any:
            flags = {name: given.pop(name) for name in names}
            return command(Asked(load(flags), json), **given)

        wrapped: Command = run
        for option in reversed([*(setting_option(name, multiple=name in multiple) for name in names), *_OUTPUT]):
            wrapped = option(wrapped)
        return wrapped

    return decorate


def paging(command: Command) -> Command:
    """--limit and --cursor."""
    limit = click.option(
        "--limit", type=click.IntRange(1, MAX_LIMIT), default=50, show_default=True, help="The most rows to show."
    )
    cursor = click.option("--cursor", type=TEXT, metavar="CURSOR", help="Go on from the `next` of an earlier page.")
    return limit(cursor(command))


_OUTPUT = (
    click.option("--json", "json", is_flag=True, help="One JSON object on stdout."),
    # Not passed on: whoever reports the error looks for it among the arguments, also when they cannot be parsed.
    click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."),
)


def _shown(default: object) -> str:
    if default is None or default == ():
        return ""
    if isinstance(default, bool):
        default = str(default).lower()
    elif isinstance(default, timedelta):
        default = format_duration(default)
    elif isinstance(default, tuple):
        default = " ".join(default)
    return f"; default: {default}"
