"""Write the pages of reference, and the picture of states, from the code: `python docs/generate.py`, or `make docs`.

A test holds them to what this writes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import pqclock
from pqclock.cli.root import root
from pqclock.rules.durations import format_duration
from pqclock.rules.files.reference import reference_page
from pqclock.rules.job import MOVES
from pqclock.settings import SPECS, Settings, flag, variable

FOLDER = Path(__file__).parent

# Where the verbs of an App are, and what stands beside it.
NOUNS = {
    "app.schedules": "pqclock.tasks.schedules:Schedules", "app.jobs": "pqclock.tasks.jobs:Jobs",
    "app.queues": "pqclock.tasks.pausing:Queues", "app.tasks": "pqclock.tasks.pausing:Tasks",
    "app.labels": "pqclock.tasks.pausing:Labels", "app.gates": "pqclock.tasks.gates:Gates",
    "app.rules": "pqclock.tasks.rules:Rules",
}  # fmt: skip
BESIDE = (
    "pqclock.integrations.django:connections_handed_back", "pqclock.integrations.sqlalchemy:sessions_handed_back",
    "pqclock.integrations.sentry:sentry", "pqclock.integrations.otel:otel",
    "pqclock.integrations.healthchecks:healthchecks", "pqclock.integrations.logging:JobFields",
    "pqclock.http:Statuses", "pqclock.web:create_app", "pqclock.web:Access",
)  # fmt: skip

# Public for the parts of pqclock, not for its users.
INNER = frozenset(("connections", "publication", "place", "add_around", "add_report"))

BOX_W, BOX_H = 120, 40
# state -> (x, y) of its box; live ones above, ends below.
PLACES = {
    "scheduled": (20, 40), "ready": (300, 40), "running": (580, 40),
    "cancelled": (60, 250), "discarded": (260, 250), "failed": (460, 250), "succeeded": (650, 250),
}  # fmt: skip


def pages() -> dict[str, str]:
    """Every generated file by its name."""
    return {
        "schedule-files.md": reference_page(),
        "commands.md": "".join(commands_page()),
        "settings.md": "".join(settings_page()),
        "python.md": "".join(python_page()),
        "states.md": "".join(states_page()),
        "states.svg": "".join(states_picture()),
    }


# Commands.


def commands_page() -> Iterator[str]:
    """The commands with their help and options."""
    yield "# Commands\n\nMade from the command itself: `--help` says the same.\n"
    for name, command in _commands(root, "pqclock"):
        options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
        arguments = [one.metavar or one.name or "" for one in command.params if isinstance(one, click.Argument)]
        usage = " ".join([name, *(["[OPTIONS]"] if options else []), *arguments])
        yield f"\n## {name}\n\n    {usage}\n\n{_prose(command.help or '')}\n"
        if options:
            yield "\n| option | what it does |\n| --- | --- |\n"
            for option in options:
                yield f"| `{_names(option)}` | {_cell(option.help or '')} |\n"


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for verb in command.list_commands(context):
            found = command.get_command(context, verb)
            if found is not None and not found.hidden:
                yield from _commands(found, f"{name} {verb}")


def _names(option: click.Option) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    if option.is_flag or option.count:
        return names
    choices = "|".join(map(str, option.type.choices)) if isinstance(option.type, click.Choice) else ""
    return f"{names} {option.metavar or choices or option.type.name.upper()}".replace("|", "\\|")


def _prose(text: str) -> str:
    """Help as Markdown: examples become a block, the rest is flowed."""
    found = []
    for block in inspect.cleandoc(text).split("\n\n"):
        if block.startswith("\b\n"):
            title, _, lines = block[2:].partition("\n")
            found.append(f"{title}\n\n" + "\n".join(f"    {line.strip()}" for line in lines.splitlines()))
        else:
            found.append(" ".join(block.split()))
    return "\n\n".join(found)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# Settings.


def settings_page() -> Iterator[str]:
    """The settings, from their one table."""
    yield (
        "# Settings\n\nA flag goes before a variable, a variable before the file, the file before the default. The file is "
        "`pqclock.toml` in\nthe current folder, or `[tool.pqclock]` of its `pyproject.toml`.\n"
    )
    for name, spec in SPECS.items():
        shown = "" if name.endswith("_token") else f"`{flag(name)}`, "
        yield f"\n## {name}\n\n{spec.help} {shown}`{variable(name)}`.\n\n- takes {spec.allowed}\n"
        default = _default(getattr(Settings(), name))
        yield f"- default: `{default}`\n" if default else "- default: not set\n"


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return format_duration(value)
    return " ".join(value) if isinstance(value, tuple) else str(value or "")


# Python.


def python_page() -> Iterator[str]:
    """The public names, from their docstrings."""
    yield "# Python\n\nMade from the docstrings. What stands here is public; everything else may change.\n"
    for name in pqclock.__all__:
        yield from _documented(name, getattr(pqclock, name))
    for name, place in NOUNS.items():
        yield from _documented(name, _found(place), called=False)
    for place in BESIDE:
        yield from _documented(place.replace(":", "."), _found(place))


def _found(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _documented(name: str, thing: Any, *, called: bool = True) -> Iterator[str]:
    yield f"\n## {name}\n\n"
    if called and not (inspect.isclass(thing) and issubclass(thing, BaseException)):
        yield f"    {name.rpartition('.')[2]}{_signature(thing)}\n\n"
    yield f"{_docstring(thing)}\n"
    if inspect.isclass(thing) and not issubclass(thing, BaseException):
        for member, value in sorted(_members(thing)):
            signature = "" if isinstance(value, property) else _signature(value, own=True)
            yield f"\n### {name if not called else name.rpartition('.')[2]}.{member}\n\n"
            yield f"    {member}{signature}\n\n{_docstring(value)}\n"


def _members(thing: type) -> Iterator[tuple[str, Any]]:
    for name in dir(thing):
        value = inspect.getattr_static(thing, name)
        value = getattr(value, "__func__", value)
        public = (
            not name.startswith("_")
            and name not in INNER
            and (inspect.isfunction(value) or isinstance(value, property))
        )
        if public and (value.__doc__ or "") and (getattr(value, "__module__", None) or "pqclock").startswith("pqclock"):
            yield name, value


def _signature(thing: Any, *, own: bool = False) -> str:
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return "()"
    parameters = list(signature.parameters.values())
    if own and parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    hidden = [one for one in parameters if not one.name.startswith("_")]
    written, starred = [], False
    for one in hidden:
        if one.kind is one.KEYWORD_ONLY and not starred:
            written.append("*")
        starred = starred or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        written.append(_parameter(one))
    back = _type(signature.return_annotation)
    return f"({', '.join(written)})" + (f" -> {back}" if back and back != "None" else "")


def _parameter(one: inspect.Parameter) -> str:
    """As it is written: versions of Python print types in different ways."""
    stars = "**" if one.kind is one.VAR_KEYWORD else "*" if one.kind is one.VAR_POSITIONAL else ""
    name = f"{stars}{one.name}"
    kind = _type(one.annotation)
    name = f"{name}: {kind}" if kind else name
    if one.default is one.empty:
        return name
    plain = isinstance(one.default, (str, int, float, bool, tuple, type(None)))
    return f"{name} = {one.default!r}" if plain else f"{name} = ..."


def _type(annotation: Any) -> str:
    if annotation is inspect.Signature.empty:
        return ""
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _docstring(thing: Any) -> str:
    return inspect.cleandoc(inspect.getdoc(thing) or "")


# States.


def states_page() -> Iterator[str]:
    """The moves with their reasons, and the picture."""
    yield (
        "# The states of a job\n\n![The states of a job, and the moves between them](states.svg)\n\n"
        "Live states are `scheduled`, `ready` and `running`; the others are ends. These are all the moves there are:\n\n"
        "| from | to | why |\n| --- | --- | --- |\n"
    )
    for state, moves in MOVES.items():
        for other, reason in moves.items():
            yield f"| {state} | {other} | {_cell(reason)} |\n"
    yield (
        '\nA job that `overlap = "wait"` holds back is `scheduled` until those of its schedule before it have ended; so is one\n'
        "that waits for other jobs (`after`), until they have. Finished jobs and their attempts stay in the history for a time\n"
        "that each outcome has of its own (`keep`); meanwhile `pqclock jobs retry` makes them live again, under the same id:\n"
        "ready now, with their first attempt to come, the gates and the unique key they had.\n"
    )


def states_picture() -> Iterator[str]:
    """One arrow for each move; it reads in light and in dark."""
    yield (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 310" role="img" font-family="system-ui, sans-serif" '
        'font-size="15">\n<title>The states of a job</title>\n'
        "<style>text{fill:#1b1f24}.box{fill:#e4ecfb;stroke:#1f52bd}.end{fill:#eceef1;stroke:#596270}.arrow{fill:none;"
        "stroke:#596270;stroke-width:1.4}.tip{fill:#596270}@media(prefers-color-scheme:dark){text{fill:#e3e6ea}"
        ".box{fill:#1b2a47;stroke:#8db4ff}.end{fill:#272c33;stroke:#9ba5b2}.arrow{stroke:#9ba5b2}.tip{fill:#9ba5b2}}</style>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>\n'
    )
    for state, moves in MOVES.items():
        for other, reason in moves.items():
            title = f"<title>{state} to {other}: {reason}</title>"
            yield f'<path class="arrow" d="{_arrow(state, other)}" marker-end="url(#tip)">{title}</path>\n'
    for state, (x, y) in PLACES.items():
        kind = "box" if state in MOVES else "end"
        yield (
            f'<rect class="{kind}" x="{x}" y="{y}" width="{BOX_W}" height="{BOX_H}" rx="6"/>'
            f'<text x="{x + BOX_W // 2}" y="{y + BOX_H // 2 + 5}" text-anchor="middle">{state}</text>\n'
        )
    yield "</svg>\n"


def _arrow(state: str, other: str) -> str:
    (x, y), (to_x, to_y) = PLACES[state], PLACES[other]
    if y == to_y and to_x > x:
        return f"M{x + BOX_W} {y + BOX_H // 2}H{to_x - 2}"
    if y == to_y:
        # Back, over the boxes: the farther, the higher.
        height = 34 if x - to_x > 300 else 16
        start, end = x + BOX_W // 2 + (15 if height > 20 else -15), to_x + BOX_W // 2 + 15
        return f"M{start} {y}C{start} {y - height} {end} {y - height} {end} {y - 2}"
    # Down: the arrows of a state leave it side by side, and come in by where they are from.
    ends = [end for end in PLACES if end in MOVES[state] and PLACES[end][1] > y]
    start = x + BOX_W * (ends.index(other) + 1) // (len(ends) + 1)
    sources = [one for one in MOVES if other in MOVES[one]]
    end = to_x + BOX_W * (sources.index(state) + 1) // (len(sources) + 1)
    middle = (y + BOX_H + to_y) // 2
    return f"M{start} {y + BOX_H}C{start} {middle} {end} {middle} {end} {to_y - 2}"


def main() -> None:
    """Write what has changed."""
    for name, text in pages().items():
        file = FOLDER / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            print(f"docs/{name}")


if __name__ == "__main__":
    main()
