"""`pqclock check` and `pqclock schema`: schedule files before anything runs."""

from __future__ import annotations

from collections.abc import Sequence

import click

from pqclock.cli.options import Asked, asking
from pqclock.cli.output import print_json, say
from pqclock.cli.root import EXIT_CODES


@click.command(epilog=EXIT_CODES)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@asking()
def check(asked: Asked, paths: tuple[str, ...], strict: bool) -> int:
    """Validate schedule files, and say everything that is wrong with them.

    PATHs are files, or folders whose *.toml files are taken; without one, those of the settings, else schedules/.
    Findings go to stdout, the summary goes to stderr. The code is 1 with errors, and 0 with warnings only.

    \b
    Examples:
      pqclock check
      pqclock check schedules/ extra.toml --strict
      pqclock check --json
    """
    from pqclock.schedule_files import find_sources

    sources = find_sources(paths or asked.settings.schedules)
    found = sources.read()
    if asked.json:
        print_json("findings", [finding.as_dict() for finding in found.findings])
    else:
        for finding in found.findings:
            click.echo(finding.render())
        severities = [finding.severity for finding in found.findings]
        say(_summary(len(found.schedules), len(sources.files), severities))
    return 0 if found.ok and not (strict and found.findings) else 1


def _summary(schedules: int, files: int, severities: Sequence[str]) -> str:
    errors = severities.count("error")
    warnings = len(severities) - errors
    counted = [count(number, word) for number, word in ((errors, "error"), (warnings, "warning")) if number]
    return f"{count(schedules, 'schedule')} in {count(files, 'file')}: {' and '.join(counted) or 'no findings'}"


def count(number: int, word: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


@click.command(epilog=EXIT_CODES)
@click.option("--json", is_flag=True, hidden=True, expose_value=False)
@click.option("--debug", is_flag=True, hidden=True, expose_value=False)
def schema() -> None:
    """Print the JSON Schema of schedule files, for completion and checks in editors.

    \b
    Example:
      pqclock schema > pqclock.schema.json
      then begin the schedule files with the line  #:schema ./pqclock.schema.json
    """
    from json import dumps

    from pqclock.rules.files import json_schema

    click.echo(dumps(json_schema(), indent=2))
