"""`python -m pqclock.embedded`: run the embedded server of this folder until Ctrl-C.

`--erase FOLDER ...` deletes the data of the servers of these folders.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from pqclock import embedded
from pqclock.errors import EmbeddedServerError

FOLDER = Path(".pqclock")


def main(arguments: list[str]) -> int:
    """Start and wait, or erase; gives the exit code."""
    try:
        if arguments[:1] == ["--erase"]:
            for folder in arguments[1:]:
                embedded.erase(Path(folder) / FOLDER)
            return 0
        with embedded.start(FOLDER) as server:
            print(f"PostgreSQL {server.version} runs in {FOLDER}/ until Ctrl-C:\n{server.url}", flush=True)
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    except EmbeddedServerError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    # Blocked, so that sigwait gets them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    sys.exit(main(sys.argv[1:]))
