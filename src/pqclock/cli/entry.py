"""From arguments to an exit code; no exception leaves here, and no traceback is shown that was not asked for."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from pqclock.cli import faults

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; gives 0 done, 1 failed or findings, 2 wrong usage, 3 out of reach, 4 refused for safety."""
    args = list(sys.argv[1:] if argv is None else argv)
    _write_any_text()
    try:
        try:
            code = _run(args)
        except Exception as error:
            if isinstance(error, BrokenPipeError):
                raise
            code = faults.report(error, args)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has had enough, as `head` has: that is no failure.
        _forget_stdout()
        code = 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        _forget_stdout()
        code = faults.report(error, ["--debug"] if "--debug" in args else [])
    return code


def _run(args: list[str]) -> int:
    import click

    from pqclock.cli.root import root

    if "_PQCLOCK_COMPLETE" in os.environ:
        root.main(prog_name="pqclock")
    try:
        with root.make_context("pqclock", args) as context:
            result = root.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _write_any_text() -> None:
    """Have what the terminal's encoding lacks written as escapes, instead of failing in the middle."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _forget_stdout() -> None:
    """Keep the interpreter from flushing into the broken stdout once more when it ends."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
