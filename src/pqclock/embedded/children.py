"""Run PostgreSQL's programs as children that do not outlive the keeper."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from pqclock.embedded.accounts import Account

_PR_SET_PDEATHSIG = 1


def spawn_child(
    command: Sequence[str | Path], account: Account, *, at_my_death: signal.Signals, **options: Any
) -> subprocess.Popen[bytes]:
    """Start a program as `account`, its output in the keeper's log; on Linux the kernel ends it with us."""
    # The death signal is set by the child after its change of user, which would clear it. This process has
    # one thread, the one whose death counts, so running Python in the child is safe.
    return subprocess.Popen(
        command,
        stdout=options.pop("stdout", sys.stderr),
        stderr=sys.stderr,
        stdin=options.pop("stdin", subprocess.DEVNULL),
        cwd="/",
        env=clean_environment(),
        preexec_fn=_bind_to_parent(at_my_death),  # noqa: PLW1509
        **account.popen,
        **options,
    )


def clean_environment() -> dict[str, str]:
    """The environment without what would change the server's ways or language."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PYTHON", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}


class Lifeline:
    """A shell that waits on a pipe and sends SIGINT when it closes, for where the kernel does not."""

    def __init__(self, pid: int) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _; kill -INT "$1"', "sh", str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def cut(self) -> None:
        """End the shell without its signal: the process that it watched has ended in good order."""
        self._shell.kill()
        self._shell.wait()
        pipe: IO[bytes] | None = self._shell.stdin
        if pipe is not None:
            pipe.close()


def lifeline_if_needed(pid: int) -> Lifeline | None:
    """Watch over `pid` where the kernel does not."""
    return None if sys.platform == "linux" else Lifeline(pid)


def _bind_to_parent(sent: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, int(sent))
        if os.getppid() != parent:  # it died before it could be bound to
            os._exit(1)

    return bind
