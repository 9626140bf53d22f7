"""The options that say what a rule limits: for `rules put` and for what-ifs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from pqclock.cli.options import TEXT

Command = Callable[..., Any]

_OPTIONS = (
    click.option("--rate", type=TEXT, metavar="N/D", help="Most starts in any window of this length, such as 100/1m."),
    click.option(
        "--burst", type=int, metavar="N", help="Starts that may come at once.  [default: 1 + 4 % of the rate]"
    ),
    click.option("--concurrency", type=int, metavar="N", help="Jobs running at the same time."),
    click.option("--failures", type=int, metavar="N", help="The fuse blows at so many failures within the window."),
    click.option("--failure-rate", type=float, metavar="SHARE", help="Or at this share of failures, such as 0.5."),
    click.option("--minimum", type=int, metavar="N", help="Outcomes before --failure-rate counts."),
    click.option("--within", type=TEXT, metavar="D", help="The window in which a fuse counts."),
    click.option("--cool-down", type=TEXT, metavar="D", help="How long a fuse stays blown before the first probe."),
    click.option("--max-cool-down", type=TEXT, metavar="D", help="It doubles at each failed probe, up to this."),
    click.option("--probes", type=int, metavar="N", help="Jobs let through while half open.  [default: 1]"),
    click.option("--only", type=TEXT, multiple=True, metavar="CLASS", help="A class that counts as a failure."),
    click.option("--ignore", type=TEXT, multiple=True, metavar="CLASS", help="A class that counts neither way."),
)
_NAMES = (
    "rate", "burst", "concurrency", "failures", "failure_rate", "minimum", "within", "cool_down", "max_cool_down",
    "probes", "only", "ignore",
)  # fmt: skip


def defining(command: Command) -> Command:
    """Give a command the options of a rule's fields."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def definition(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were given, out of the parameters of a command."""
    values = {name: list(value) if isinstance(value := given[name], tuple) else value for name in _NAMES}
    return {name: value for name, value in values.items() if value is not None and value != []}
