"""Process signals: the first TERM or INT asks for an orderly end, the second one ends at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

ENDED_AT_ONCE = 1


def on_stop(stop: Callable[[], None], at_once: Callable[[], None] | None = None) -> None:
    """Call `stop` at the first TERM or INT; at the second one `at_once`, then end the process without more ado.

    Also where INT is ignored, as a script's shell has it for its background jobs: Ctrl-C must not leave a role behind.
    """
    # A plain bool: an Event has a lock, and the second signal may come while the first one holds it.
    asked = False

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            if at_once is not None:
                at_once()
            os._exit(ENDED_AT_ONCE)
        asked = True
        stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def on_hangup(reload: Callable[[], None]) -> None:
    """Call `reload` at HUP, where the system has it."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda _number, _frame: reload())


def stop_with_parent(stop: Callable[[], None]) -> None:
    """Call `stop` when the parent process is gone: it holds the other end of our stdin."""

    def watch() -> None:
        # Not sys.stdin: a thread that waits inside its buffer breaks the interpreter's end.
        while os.read(0, 4096):
            pass
        stop()

    threading.Thread(target=watch, name="pqclock-lifeline", daemon=True).start()
