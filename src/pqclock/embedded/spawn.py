"""Begin the keeper of a folder as a process of its own, and hear from it how the start went."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

from pqclock.embedded.layout import Layout, late, log_tail
from pqclock.errors import EmbeddedServerError

#: The keeper's word that its server is ready; any other word is its reason why not.
READY = "ready"

#: A log longer than this is set aside when the next keeper begins.
LOG_LIMIT = 10_000_000

#: A keeper that ends without a word was killed, so another one is tried.
_TRIES = 3


def spawn_keeper(layout: Layout, lock: int, durable: bool, binaries: Path | None, deadline: float) -> None:
    """Start the keeper with the lock that was taken for it, and wait until its server is ready."""
    command = [sys.executable, "-P", "-m", "pqclock.embedded.keeper", str(layout.folder), "--lock", str(lock)]
    command += [] if durable else ["--not-durable"]
    command += [] if binaries is None else ["--binaries", str(binaries.absolute())]
    for _ in range(_TRIES):
        word = _first_word(command, layout, lock, deadline)
        if word == READY:
            return
        if word != "":
            break
    raise _fault(layout, word)


def _first_word(command: list[str], layout: Layout, lock: int, deadline: float) -> str | None:
    log = _open_log(layout.log)
    try:
        # The keeper forks once more, so that this process is not its parent and ends without it.
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, cwd="/",
            env=_environment(), pass_fds=[lock], start_new_session=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            return _listen(process.stdout.fileno(), deadline)
    finally:
        os.close(log)


def _open_log(path: Path) -> int:
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_suffix(".log.old"))
    return os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600)


def _environment() -> dict[str, str]:
    """The modules of this process are the keeper's too, however this process came to find them."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path}


def _listen(fd: int, deadline: float) -> str | None:
    word = b""
    while select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
        piece = os.read(fd, 65536)
        if not piece:
            return word.decode("utf-8", "replace")
        word += piece
    return None


def _fault(layout: Layout, word: str | None) -> EmbeddedServerError:
    if word is None:
        return late(layout)
    return EmbeddedServerError(
        word
        or f"The keeper of the embedded server in {layout.folder} ended without a word; "
        f"the end of {layout.log} says:\n{log_tail(layout.log)}"
    )
