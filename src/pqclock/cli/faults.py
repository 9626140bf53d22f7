"""Errors as people and scripts get them: one sentence on stderr, with `--json` an object on stdout, and a code."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from pqclock.errors import PqclockError
from pqclock.logs import printable, storable


class Fault(NamedTuple):
    """What is told of an error."""

    code: str
    message: str
    exit_code: int
    where: str | None = None


def report(error: Exception, args: Sequence[str]) -> int:
    """Tell of the error that ended the command called with `args`; gives the exit code."""
    if "--debug" in args:
        traceback.print_exception(error)
    fault = _fault(error)
    if "--json" in args:
        where = fault.where or " ".join(["pqclock", *_words(args)])
        body = {"code": fault.code, "message": fault.message, "where": where}
        print(json.dumps({"error": storable(body)}))
    first, *others = map(printable, fault.message.splitlines() or [""])
    print("\n".join([f"pqclock: error: {first}", *others]), file=sys.stderr)
    return fault.exit_code


def _fault(error: Exception) -> Fault:
    if isinstance(error, PqclockError):
        return Fault(error.code, str(error), error.exit_code)
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "pqclock"
        return Fault("usage", f"{error.format_message()}\nTry '{path} --help'.", error.exit_code, path)
    if isinstance(error, click.ClickException):
        return Fault("usage", error.format_message(), error.exit_code)
    driver = _driver_fault(error)
    if driver is not None:
        return driver
    if isinstance(error, OSError):
        about = f" {error.filename!r}" if error.filename else ""
        return Fault("system", f"the system refused{about}: {error.strerror or error}", 1)
    return Fault("internal", f"a fault of pqclock itself, {_in_a_line(error)}: see --debug, and please report it", 1)


def _driver_fault(error: Exception) -> Fault | None:
    # This floor does not speak to PostgreSQL; but if one of the driver's errors is here, then the driver is loaded.
    driver: Any = sys.modules.get("psycopg")
    if driver is None or not isinstance(error, driver.Error):
        return None
    if isinstance(error, driver.errors.LockNotAvailable):
        return Fault("locked", f"another session holds a lock that is needed ({_in_a_line(error)}): try again", 4)
    if isinstance(error, driver.OperationalError) and not isinstance(error, driver.errors.QueryCanceled):
        return Fault("database_unreachable", f"the database went away ({_in_a_line(error)}): try again", 3)
    return Fault("database", f"PostgreSQL refused: {_in_a_line(error)}", 1)


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _words(args: Sequence[str]) -> list[str]:
    """The command's own words at the beginning of its arguments: a noun, and a verb if one follows."""
    words: list[str] = []
    for arg in args[:2]:
        if not arg.isascii() or not arg.isalpha():
            break
        words.append(arg)
    return words
