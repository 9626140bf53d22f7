"""What README and docs say, against what there is: commands, settings, files, and every example in them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from conftest import ROOT, Database
from pqclock.cli.root import root
from pqclock.rules.durations import format_duration
from pqclock.rules.files import read_set
from pqclock.settings import SPECS, Settings, flag, load, variable

README = ROOT / "README.md"
DOCS = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def fences(page: str, *languages: str) -> Iterator[str]:
    """The fenced blocks of a text in these languages."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if language in languages:
            yield block


def section(title: str) -> str:
    """The text of a section of the README."""
    assert f"\n## {title}\n" in README.read_text()
    return README.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def commands(group: click.Group, path: str = "pqclock") -> Iterator[str]:
    """Every command that runs something, by its full name."""
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


def command_lines() -> list[tuple[str, str]]:
    """(page, arguments) of every `pqclock ...` in consoles, scripts and unit files of the pages, and in their text."""
    found = []
    for page in DOCS:
        for block in fences(page.read_text(), "console", "sh", "ini"):
            found += [
                (page.name, line) for line in re.findall(r"^(?:\$ |ExecStart=\S*/)pqclock\b(.*)$", block, re.MULTILINE)
            ]
        prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        found += [(page.name, line) for line in re.findall(r"`pqclock( [^`]*)?`", prose)]
    return sorted(set(found))


def parse(command: click.Command, name: str, args: list[str], parent: click.Context | None = None) -> click.Context:
    """Parse as a call would, down to the verb, and run nothing."""
    context = command.make_context(name, args, parent=parent)
    if not isinstance(command, click.Group):
        return context
    verb, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    assert verb is not None and found is not None
    return parse(found, verb, rest, context)


def test_every_command_is_in_the_readme() -> None:
    text = README.read_text()
    missing = [name for name in commands(root) if not re.search(rf"`{name}\b", text)]
    assert missing == []


def test_the_examples_name_only_what_there_is() -> None:
    assert len(command_lines()) > 20


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_command_lines_parse(page: str, line: str, tmp_path: Path) -> None:
    words = ["1" if word in ("KEY", "JOB", "EXPR") else word for word in shlex.split(line, comments=True)]
    context = parse(root, "pqclock", words)
    given = {name: value for name, value in context.params.items() if name in SPECS}
    load(given, environ={}, folder=tmp_path)


@pytest.mark.parametrize("name", SPECS)
def test_every_setting_is_in_the_readme(name: str) -> None:
    # A token that stands on a command line can be read by everybody.
    shown = "" if name.endswith("_token") else f"`{flag(name)}`"
    pattern = rf"^\| {shown} \| `{variable(name)}` \| `{name}` \| (.*?) \| (.+) \|$"
    row = re.search(pattern, section("Settings"), re.MULTILINE)
    assert row is not None
    default: Any = getattr(Settings(), name)
    if isinstance(default, bool):
        default = str(default).lower()
    elif isinstance(default, timedelta):
        default = format_duration(default)
    elif isinstance(default, tuple):
        default = " ".join(default)
    assert default in (None, "") or row[1] == f"`{default}`"


def test_every_setting_is_a_flag_of_some_command() -> None:
    context, flags = click.Context(root), set[str]()
    for name in commands(root):
        command: click.Command = root
        for word in name.split()[1:]:
            assert isinstance(command, click.Group)
            found = command.get_command(context, word)
            assert found is not None
            command = found
        flags |= {option for parameter in command.params for option in parameter.opts}
    # What starts all of it takes all of them; that is a command without a name.
    hidden = {flag("folder")}
    assert {flag(name) for name in SPECS if not name.endswith("_token")} - flags <= hidden


def test_every_file_of_the_map_exists() -> None:
    named = {path for path in re.findall(r"`([\w./-]+)`", section("The map")) if "/" in path or path.endswith(".py")}
    assert len(named) > 30
    missing = [path for path in named if not (ROOT / "src" / "pqclock" / path).exists() and not (ROOT / path).exists()]
    assert missing == []


def test_the_map_has_every_floor() -> None:
    layers = re.search(r"^layers = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert layers is not None
    floors = re.findall(r'"(.*?)"', layers[1])
    shown = re.findall(r"^([a-z_:| ]+?)(?:  .*)?$", next(fences(section("The map"), "text")), re.MULTILINE)
    assert shown == floors


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_schedules_in_the_pages_are_right(page: Path) -> None:
    for number, block in enumerate(fences(page.read_text(), "toml")):
        found = read_set([(f"{page.name}-{number}.toml", block.encode())])
        assert found.ok and found.schedules, [finding.render() for finding in found.findings]


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_json_in_the_pages_is_json(page: Path) -> None:
    for block in fences(page.read_text(), "json"):
        for line in block.splitlines():
            json.loads(line)


def test_sql_of_the_pages_runs(database: Database) -> None:
    for page in DOCS:
        for block in fences(page.read_text(), "sql"):
            database.session.conn.execute(block.encode())
